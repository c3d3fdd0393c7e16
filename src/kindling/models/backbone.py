from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import LBFGS, Optimizer

from kindling.console import say
from kindling.errors import DataError, UsageError
from kindling.models import published
from kindling.models.base import SupervisedModule

BODY_SHARE = 0.1  # of the learning rate, for what was trained before
AUXILIARY = 0.3  # what an auxiliary output's loss counts beside the last one's (Szegedy et al., arXiv:1409.4842)
SIZES = (32, 48, 64, 96, 128, 160, 224, 299)  # pixels; tried where images are too small; any network takes the last


class Backbone(SupervisedModule):
    """Any of torchvision's networks for classes of images, to train from scratch or to fine-tune.

    The last layer is always new, of the size that the data needs. Colours should be normalised by ImageNet's mean and
    standard deviation; weights that were trained with others get those. Grey images are taken as three equal colours.
    The usual learning rate, 0.001 of Adam, is for new layers; with weights, all others get a tenth of it.

    Args:
        in_channels: Colour channels of the images, 1 or 3.
        image_size: Height and width of the images in pixels.
        num_outputs: As the loss needs: for most, one per class.
        name: resnet18, mobilenet_v3_small, convnext_tiny or any other of torchvision's networks for classification;
            timm/convnext_atto or any other of timm's.
        weights: None for random ones; torchvision's own name for them (DEFAULT, IMAGENET1K_V1), which are downloaded
            once; or a file (.pth, .safetensors, or a checkpoint of another training of the same network). Read when a
            training begins; its checkpoints hold all weights.
        freeze: Epochs at the beginning in which the last layer is trained alone, after the weights as they are.
        body_lr: Share of the learning rate that all layers but the last get; None for 0.1 with weights, 1 without.

    Raises:
        UsageError: There is no such network, or an option is out of its range.
        DataError: The network can't take images like these.
    """

    default_lr = 1e-3
    plateau: Mapping[str, Any] = {"factor": 0.3, "patience": 5}  # as the score of a few photos goes up and down
    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        in_channels: int = 3,
        image_size: int = 224,
        num_outputs: int = 10,
        name: str = "resnet18",
        weights: str | None = None,
        freeze: int = 0,
        body_lr: float | None = None,
    ) -> None:
        super().__init__()
        if in_channels not in (1, 3):
            raise DataError(f"Backbone takes grey or colour images, of 1 or 3 channels, not of {in_channels}")
        if freeze < 0:
            raise UsageError(f"--model.freeze {freeze}: should be 0 or above")
        if body_lr is not None and not 0 < body_lr <= 1:
            raise UsageError(f"--model.body_lr {body_lr}: should be above 0, and at most 1")
        weights = None if weights in ("none", "None") else weights
        self.name, self.image_size = name, image_size
        self.weights, self.freeze_epochs = weights, freeze
        self.body_lr = (BODY_SHARE if weights else 1.0) if body_lr is None else body_lr
        network = published.make(name, num_outputs, image_size)
        self.net = network.to(memory_format=torch.channels_last)
        self._last = {f"{layer}.{part}" for layer in published.last_layers(network) for part in ("weight", "bias")}
        # from ImageNet's mean and standard deviation to those that the weights were trained with
        self.register_buffer("scale", torch.ones(3, 1, 1))
        self.register_buffer("shift", torch.zeros(3, 1, 1))
        self.is_frozen = False
        self._auxiliary: list[Tensor] = []  # outputs in training that a network has beside the last one's
        self._has_begun = False
        self.register_load_state_dict_post_hook(_note_weights)

    @classmethod
    def usual_image_size(cls, options: Mapping[str, Any]) -> int | None:
        name, weights = options.get("name", "resnet18"), options.get("weights")
        return options.get("image_size") or published.usual_size(name, weights)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.addcmul(self.shift, x, self.scale)  # (B, 1 or 3, H, W) -> (B, 3, H, W)
        frozen = list(self._body()) if self.training and self.is_frozen else []
        try:
            for parameter in frozen:
                parameter.requires_grad_(False)  # so that nothing of it is kept, nor computed backwards
            outputs = self._run(x)
        finally:
            for parameter in frozen:
                parameter.requires_grad_(True)
        if isinstance(outputs, tuple):
            outputs, *self._auxiliary = outputs
        return outputs[: x.shape[0]]  # (B, num_outputs) logits

    def _run(self, x: Tensor) -> Any:
        try:
            return self.net(x)
        except ValueError:
            if len(x) != 1 or not self.training:
                raise
            return self.net(torch.cat([x, x]))  # batch normalisation takes no single value, and gets it twice

    def _compute_loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        loss = super()._compute_loss(outputs, y)
        auxiliary, self._auxiliary = self._auxiliary, []
        for other in auxiliary:
            loss = loss + AUXILIARY * super()._compute_loss(other[: len(y)], y)
        if self.training and self.is_frozen and self.trainer.world_size > 1:
            # processes wait for each other's gradients of all parameters; on_before_optimizer_step drops these zeros
            loss = loss + 0 * torch.stack([parameter.sum() for parameter in self._body()]).sum()
        return loss

    def begin(self) -> None:
        if self._has_begun:
            return
        self._has_begun = True
        if not self.weights and self.freeze_epochs:
            raise UsageError(f"--model.freeze {self.freeze_epochs} needs layers that are trained: add --model.weights")
        if self.image_size < SIZES[-1] and not _takes(self.net, self.image_size):
            least = next((size for size in SIZES if size > self.image_size and _takes(self.net, size)), SIZES[-1])
            raise DataError(
                f"--model.name {self.name}: images of {self.image_size}x{self.image_size} pixels are too small for it: "
                f"give larger ones, {least}x{least} or more, or choose another network"
            )
        if self.weights:
            found = published.read(self.name, self.weights, self.net)
            published.put(found, self.name, self.net)
            self.scale.copy_(found.scale)
            self.shift.copy_(found.shift)
            say(f"Weights of {found.source}, with a new last layer")

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "fit" and not self.trainer.ckpt_path:  # of a Trainer that is not Kindling's
            self.begin()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        then = checkpoint.get("hyper_parameters", {}).get("weights", self.weights)
        if self._trainer and self._trainer.state.fn == "fit" and then != self.hparams["weights"]:
            what = f"--model.weights {self.weights}: the checkpoint has the network's weights already"
            raise UsageError(f"{what}: leave the option out, or train anew")

    def on_train_start(self) -> None:  # also of a training that is resumed, even within an epoch
        self.is_frozen = self.trainer.current_epoch < self.freeze_epochs
        for module in self.net.modules() if self.freeze_epochs else ():
            if isinstance(module, _BatchNorm):
                module.train(not self.is_frozen)

    on_train_epoch_start = on_train_start

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        for parameter in self._body() if self.is_frozen else ():
            parameter.grad = None  # else an optimizer would count the step, decay the weights and so on
        for parameter in self.parameters() if isinstance(optimizer, LBFGS) else ():
            if parameter.grad is not None:
                parameter.grad = parameter.grad.contiguous()  # not channels last, of which it makes no vector

    def parameter_groups(self) -> Iterable[Any]:
        if self.body_lr == 1:
            return self.parameters()
        last = [parameter for name, parameter in self.net.named_parameters() if name in self._last]
        return [{"params": last}, {"params": list(self._body())}]

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        # during the step alone, as some schedulers set one rate for all groups
        groups = [] if self.body_lr == 1 else optimizer.param_groups[1:]
        rates = [group["lr"] for group in groups]
        try:
            for group, rate in zip(groups, rates, strict=True):
                group["lr"] = self.body_lr * rate
            super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        finally:
            for group, rate in zip(groups, rates, strict=True):
                group["lr"] = rate

    def _body(self) -> Iterator[nn.Parameter]:
        """All parameters but those of the last layers."""
        return (parameter for name, parameter in self.net.named_parameters() if name not in self._last)


def _note_weights(network: Backbone, keys: object) -> None:
    network._has_begun = True


def _takes(network: nn.Module, size: int) -> bool:
    """Whether a network can be trained on images of a size; tried on two, which leaves it as it was."""
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=()):
            functional_call(network, buffers, torch.zeros(2, 3, size, size))
    except (AssertionError, RuntimeError, ValueError):
        return False
    return True

"""Backbone: torchvision's networks, trained and fine-tuned as by hand in plain torchvision."""

import hashlib
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import processes
import pytest
import torch
from conftest import RUN, Kindling, equal, weights
from lightning.pytorch import seed_everything
from safetensors.torch import save_file
from test_interrupted import assert_same, next_second, same, signal_at
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchvision import models
from torchvision.transforms._presets import ImageClassification
from torchvision.transforms.functional import normalize

from kindling.data import FashionMNIST
from kindling.data.loading import seed_generators
from kindling.errors import UsageError
from kindling.models import Backbone, published

__all__ = ["signal_at"]  # a fixture
NAME = "shufflenet_v2_x0_5"  # the quickest that normalises over the batch
TINY = ("--model=Backbone", f"--model.name={NAME}", "--data=FashionMNIST", "--data.val_size=40", "--data.batch_size=20")
TUNED = (*TINY, "--model.weights=theirs.pth", "--model.freeze=1", "--model.body_lr=0.5")
CYCLE = ("--optimizer=AdamW", "--lr_scheduler=OneCycleLR", "--lr_scheduler.max_lr=0.01")
ONE, TWO = "--trainer.max_epochs=1", "--trainer.max_epochs=2"
QUICK = "--trainer.logger=false"  # TensorBoard's graph takes longer than all else
URL = models.ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1.value


@pytest.fixture
def theirs(fashion: Path) -> dict[str, Tensor]:
    """Weights that somebody trained on a thousand classes, also as the file theirs.pth."""
    torch.manual_seed(1)
    state = models.get_model(NAME).state_dict()
    torch.save(state, "theirs.pth")
    return state


def by_hand(theirs: dict[str, Tensor], epochs: int) -> dict[str, Tensor]:
    """What TUNED with CYCLE does, in plain torchvision."""
    seed_everything(42, verbose=False)
    net = models.get_model(NAME, num_classes=10)
    net.load_state_dict({k: v for k, v in theirs.items() if not k.startswith("fc.")}, strict=False)
    net.to(memory_format=torch.channels_last)
    body = [p for n, p in net.named_parameters() if not n.startswith("fc.")]
    optimizer = torch.optim.AdamW([{"params": net.fc.parameters()}, {"params": body}], lr=1e-3)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, [0.01, 0.005], total_steps=epochs * 8)
    data = FashionMNIST(val_size=40)
    data.prepare_data()
    data.setup("fit")
    images, labels = data.train_set.tensors
    for epoch in range(epochs):
        for parameter in body:
            parameter.requires_grad_(epoch > 0)
        for layer in net.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.train(epoch > 0)
        for rows in torch.randperm(160, generator=torch.Generator().manual_seed(42 + epoch)).split(20):
            x = ((images[rows] / 255 - 0.2860) / 0.3530).repeat(1, 3, 1, 1)
            optimizer.zero_grad()
            cross_entropy(net(x.contiguous(memory_format=torch.channels_last)), labels[rows]).backward()
            optimizer.step()
            cycle.step()
    return {f"net.{name}": value for name, value in net.state_dict().items()}


@pytest.mark.slow
def test_fine_tuning_is_what_it_is_by_hand(kindling: Kindling, theirs: dict[str, Tensor]) -> None:
    out = kindling("fit", *TUNED, *CYCLE, QUICK, TWO)
    assert out.startswith("Weights of theirs.pth, with a new last layer\n")
    Path("theirs.pth").unlink()
    kindling("test", "--ckpt_path=last")
    found = weights(RUN / "checkpoints/last.ckpt")
    expected = by_hand(theirs, epochs=2)
    assert equal({name: found[name] for name in expected}, expected)
    assert found.keys() - expected.keys() == {"scale", "shift"}
    assert (found["scale"] == 1).all()
    assert (found["shift"] == 0).all()


@pytest.mark.slow
def test_a_frozen_body_stays_as_it_is_and_the_file_is_needed_no_more(
    kindling: Kindling, theirs: dict[str, Tensor]
) -> None:
    fit = ("fit", *TUNED, "--optimizer=AdamW", "--optimizer.weight_decay=0.5", QUICK)
    kindling(*fit, "--trainer.max_epochs=1")
    Path("theirs.pth").unlink()
    found = weights(RUN / "checkpoints/last.ckpt")
    body = {name: value for name, value in theirs.items() if not name.startswith("fc.")}
    assert equal({name: found[f"net.{name}"] for name in body}, body)  # the sums of batch normalisation, too
    kindling("test", "--ckpt_path=best")
    kindling("predict", "--ckpt_path=best")
    kindling("export", "--ckpt_path=best")
    one_group = ("fit", *TINY, "--model.body_lr=0.5", "--optimizer=LBFGS")
    assert "for Backbone by --model.body_lr 1" in kindling.fails(*one_group)
    error = kindling.fails("fit", "--ckpt_path=last", TWO, "--model.weights=DEFAULT")
    assert "--model.weights DEFAULT: the checkpoint has the network's weights already: leave the option out" in error
    kindling("fit", "--ckpt_path=last", TWO)
    found = weights(RUN / "checkpoints/last.ckpt")
    assert not any(torch.equal(found[f"net.{name}"], value) for name, value in body.items() if "conv" in name)
    kindling("fit", *TINY, "--optimizer=LBFGS", "--trainer.limit_train_batches=1", ONE, QUICK)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "options"),
    [
        (3, ()),  # the body is frozen
        (12, ()),  # it was, for eight steps
        (12, (*CYCLE, "--trainer.callbacks+=EMAWeightAveraging", "--trainer.callbacks.decay=0.9")),
    ],
)
@pytest.mark.usefixtures("theirs")
def test_killed_while_frozen_or_after(
    kindling: Kindling, signal_at: Callable[..., None], step: int, options: tuple[str, ...]
) -> None:
    fit = ("fit", *TUNED, *options, TWO)
    signal_at(step, signal.SIGTERM, model=Backbone)
    kindling(*fit, code=143)
    next_second()
    kindling("fit", "--ckpt_path=last")
    kindling(*fit)
    assert_same(RUN, RUN.with_name("version_1"))


@pytest.mark.slow
def test_weights_of_any_kind(kindling: Kindling, theirs: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    """As torchvision's own, whose address leads to a file here, and as the files that people have."""
    checksum = hashlib.sha256(Path("theirs.pth").read_bytes()).hexdigest()[:8]
    Path("elsewhere").mkdir()
    published = Path("elsewhere", f"shufflenet-{checksum}.pth").absolute()
    Path("theirs.pth").rename(published)
    monkeypatch.setenv("TORCH_HOME", str(Path("home").absolute()))
    monkeypatch.setattr(URL, "url", published.as_uri())
    save_file(theirs, "a.safetensors")
    torch.save({"model": {f"module.{name}": value for name, value in theirs.items()}, "epoch": 9}, "b.pth")
    ours = Backbone(name=NAME, num_outputs=3)
    ours.net.load_state_dict({name: value for name, value in theirs.items() if name[:3] != "fc."}, strict=False)
    torch.save({"state_dict": ours.state_dict() | {"scale": torch.full((3, 1, 1), 2.0)}}, "c.ckpt")
    for source in ("DEFAULT", "a.safetensors", "b.pth", "c.ckpt"):
        net = Backbone(name=NAME, num_outputs=10, weights=source, image_size=32)
        before = net.net.fc.weight.clone()
        net.begin()
        body = {name: value for name, value in theirs.items() if not name.startswith("fc.")}
        assert equal({name: net.net.state_dict()[name] for name in body}, body)
        assert torch.equal(net.net.fc.weight, before)
        assert (net.scale == (2 if source == "c.ckpt" else 1)).all()
    monkeypatch.setattr(
        URL, "transforms", partial(ImageClassification, crop_size=224, mean=(0.5,) * 3, std=(0.25,) * 3)
    )
    net = Backbone(name=NAME, weights=str(published), image_size=32)  # known by its name to be torchvision's
    net.begin()
    pixels = torch.rand(3, 4, 4)
    usual = normalize(pixels, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    torch.testing.assert_close(usual * net.scale + net.shift, (pixels - 0.5) / 0.25)
    kept = Path("home/hub/checkpoints", published.name)
    assert kept.read_bytes() == published.read_bytes()
    kept.write_bytes(kept.read_bytes()[:-1])
    assert f"{kept} is damaged, as its checksum is not the one in its name" in kindling.fails(
        "fit", *TINY, "--model.weights=DEFAULT"
    )


@pytest.mark.slow
def test_two_processes_freeze_and_thaw(theirs: dict[str, Tensor]) -> None:
    FashionMNIST().prepare_data()  # unpacks the archives, which a process of its own would take for damaged ones
    cpus = ("--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp", QUICK)
    found = []
    for options in ((*TUNED, *cpus, ONE), ("--ckpt_path=last", TWO), (*TUNED, *cpus, TWO)):
        assert processes.finish(*processes.start_several(2, "fit", *options)) == [0, 0]
        newest = max(Path("lightning_logs").iterdir())
        found.append(torch.load(newest / "checkpoints/last.ckpt", weights_only=True))
    body = [name for name in theirs if not name.startswith("fc.") and "conv" in name]
    assert all(torch.equal(found[0]["state_dict"][f"net.{name}"], theirs[name]) for name in body)
    assert not any(torch.equal(found[1]["state_dict"][f"net.{name}"], theirs[name]) for name in body)
    assert all(same(found[1][part], found[2][part]) for part in ("state_dict", "optimizer_states"))


@pytest.mark.slow
@pytest.mark.usefixtures("fashion")
def test_auxiliary_outputs_are_trained_too(kindling: Kindling) -> None:
    small = (*TINY, "--trainer.limit_train_batches=1", ONE, QUICK)
    kindling("fit", *small, "--model.name=googlenet", "--optimizer=SGD", "--optimizer.lr=0.1")
    seed_everything(42, verbose=False)
    net = models.googlenet(num_classes=10, init_weights=True).to(memory_format=torch.channels_last)
    data = FashionMNIST(val_size=40)
    data.setup("fit")
    images, labels = data.train_set.tensors
    rows = torch.randperm(160, generator=torch.Generator().manual_seed(42))[:20]
    seed_generators(42, 0, 0)  # as each epoch begins
    outputs = net(data.normalize(images[rows]).expand(-1, 3, -1, -1))
    losses = [cross_entropy(logits, labels[rows]) for logits in outputs]
    (losses[0] + 0.3 * losses[1] + 0.3 * losses[2]).backward()
    torch.optim.SGD(net.parameters(), lr=0.1).step()
    found = weights(RUN / "checkpoints/last.ckpt")
    assert all(torch.allclose(found[f"net.{name}"], value, atol=1e-6) for name, value in net.state_dict().items())


def test_a_single_image_is_left_over() -> None:
    """At this size batch normalisation has one value for each image, and takes at least two."""
    net = Backbone(name=NAME, in_channels=1, image_size=28, num_outputs=4)
    assert net(torch.zeros(1, 1, 28, 28)).shape == (1, 4)


@pytest.mark.slow
def test_it_is_exported_for_any_number_of_images() -> None:
    """What ``export --format onnx`` and ``pt2`` need of it; they take 20 s more."""
    net = Backbone(name=NAME, image_size=32).eval()
    dynamic = ({0: torch.export.Dim("N")},)
    program = torch.export.export(net, (torch.zeros(2, 3, 32, 32),), dynamic_shapes=dynamic).module()
    x = torch.rand(5, 3, 32, 32)
    torch.testing.assert_close(program(x), net(x))


def test_timm_is_asked_for(kindling: Kindling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "find_spec", lambda name: None)
    error = kindling.fails("fit", *TINY, "--model.name=timm/convnext_atto")
    assert "--model.name timm/convnext_atto needs timm: pip install -e '.[timm]'" in error


@pytest.mark.slow
@pytest.mark.usefixtures("fashion")
def test_timms_networks(kindling: Kindling) -> None:
    fit = ("fit", *TINY, "--model.name=timm/test_resnet", ONE, QUICK)
    kindling(*fit)
    kindling(*fit, f"--model.weights={RUN}/checkpoints/best.ckpt", "--model.freeze=1")
    kindling("test", "--ckpt_path=best")
    tuned = weights(RUN.with_name("version_1") / "checkpoints/last.ckpt")
    source = weights(RUN / "checkpoints/best.ckpt")
    changed = [name for name, value in source.items() if not torch.equal(tuned[name], value)]
    assert changed == ["net.fc.weight", "net.fc.bias"]
    assert "did you mean timm/convnext_atto" in kindling.fails("fit", *TINY, "--model.name=timm/convnext_ato")
    start = time.perf_counter()
    error = kindling.fails(*fit, "--model.weights=DEFAULT")
    assert "https://huggingface.co/timm/test_resnet.r160_in1k/resolve/main/model.safetensors can't be download" in error
    assert "fetch that file elsewhere, and name it: --model.weights FILE" in error
    assert time.perf_counter() - start < 10  # timm's own client would take a minute
    assert Backbone.usual_image_size({"name": "timm/test_resnet"}) == 160
    with pytest.raises(UsageError, match=r"none of that name for botnet50ts_256: name a file$"):
        published.read("timm/botnet50ts_256", "DEFAULT", nn.Identity())


@pytest.mark.parametrize(
    ("name", "weights", "size"),
    [
        ("resnet18", None, 224),
        ("inception_v3", None, 299),
        ("vit_b_16", None, 224),
        ("vit_b_16", "IMAGENET1K_SWAG_E2E_V1", 384),
        ("vit_b_16", "vit_b_16_swag-9ac1b537.pth", 384),
    ],
)
def test_photos_get_the_size_that_a_network_is_made_for(name: str, weights: str | None, size: int) -> None:
    assert Backbone.usual_image_size({"name": name, "weights": weights}) == size

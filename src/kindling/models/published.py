"""Networks and weights that others have published: torchvision's, and timm's where it is installed."""

import hashlib
import importlib
import re
from collections import OrderedDict
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple

import torch
from filelock import FileLock
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision import models

from kindling.console import say
from kindling.errors import CheckpointError, DataError, UsageError
from kindling.registry import nearest

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's colours, in [0, 1], as torchvision has them
TIMM = "timm/"
FILES = {".pth", ".pt", ".bin", ".safetensors", ".ckpt"}
OTHER_KINDS = ("detection", "segmentation", "video", "optical_flow", "quantization")
LAST = {"fc", "classifier", "head", "heads", "AuxLogits", "aux1", "aux2"}  # torchvision's parts that end in an output
OLD_DENSENET = r"(denselayer\d+\.(?:norm|conv))\.([12]\.)"  # as torchvision's files for it still have the names
WRAPPERS = ("module.", "_orig_mod.")  # of DistributedDataParallel and torch.compile
LONGEST = 200  # characters about weights that don't fit


class Weights(NamedTuple):
    """
    Args:
        source: Where they are from.
        state: By the names that they have in the network; also those of the last layer that they had.
        scale: With ``shift`` it makes the colours (3, 1, 1) that they were trained with of ImageNet's.
        shift: Likewise.
    """

    source: str
    state: dict[str, Tensor]
    scale: Tensor
    shift: Tensor


def make(name: str, num_outputs: int, image_size: int) -> nn.Module:
    """A network with random weights.

    Raises:
        UsageError: There is none of that name, or timm is not installed.
        DataError: It is of a kind that is built for images of one size, and not for this one.
    """
    options: dict[str, Any] = {"num_classes": num_outputs}
    _check_name(name)
    if name.startswith(TIMM):
        timm, known = _timm(name), name.removeprefix(TIMM)
        build = partial(timm.create_model, known)
        options |= {"img_size": image_size} if timm.get_pretrained_cfg(known).fixed_input_size else {}
    else:
        build = partial(models.get_model, name)
        options |= {"image_size": image_size} if name.startswith("vit_") else {}
        options |= {"input_size": (image_size, image_size)} if name.startswith("maxvit_") else {}
        options |= {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    try:
        network: nn.Module = build(**options)
    except (AssertionError, RuntimeError, ValueError) as error:
        usual = usual_size(name, None)
        raise DataError(
            f"--model.name {name} can't be made for images of {image_size}x{image_size} pixels ({error}): give images "
            f"of {usual}x{usual}, or choose another network"
        ) from error
    return network


def usual_size(name: str, weights: str | None) -> int:
    """Height and width of the images that these weights, or the network's usual ones, were trained with.

    Raises:
        UsageError: There is no such network.
    """
    _check_name(name)
    if name.startswith(TIMM):
        timm, known = _timm(name), name.removeprefix(TIMM)
        full = f"{known.partition('.')[0]}.{weights}"
        config = timm.get_pretrained_cfg(full if timm.is_model_pretrained(full) else known)
        return int(config.input_size[-1])
    published = _of_torchvision(name, weights or "DEFAULT") or _of_torchvision(name, "DEFAULT")
    return int(published.transforms().crop_size[0])


def _of_torchvision(name: str, weights: str) -> Any:
    """torchvision's weights of that name, or of a file of that name; None if it has none."""
    known: Any = models.get_model_weights(name)
    files = {Path(each.url).name: each for each in known}
    return known.__members__.get(weights.removeprefix(f"{known.__name__}.")) or files.get(Path(weights).name)


def _check_name(name: str) -> None:
    if name.startswith(TIMM):
        of_timm = name.removeprefix(TIMM)
        listed = _timm(name).list_models(include_tags="." in of_timm)
        if of_timm not in listed:
            hint = nearest(of_timm, listed, TIMM) or ": timm.list_models() has them all"
            raise UsageError(f"--model.name {name}: timm has no such network{hint}")
        return
    known = models.list_models(module=models)
    if name in known:
        return
    for kind in OTHER_KINDS:
        if name in models.list_models(module=importlib.import_module(f"torchvision.models.{kind}")):
            what = f"is one of torchvision's for {kind.replace('_', ' ')}"
            raise UsageError(f"--model.name {name} {what}: choose one for classification, such as resnet18")
    hint = nearest(name, known) or f": there are {', '.join(known)}"
    raise UsageError(f"--model.name {name}: torchvision has no such network for classification{hint}")


def _timm(name: str) -> Any:
    if find_spec("timm") is None:
        raise UsageError(f"--model.name {name} needs timm: pip install -e '.[timm]'")
    return importlib.import_module("timm")


def last_layers(network: nn.Module) -> list[str]:
    """Names of the layers that give a network's outputs, one for each output."""
    if of_timm := getattr(network, "pretrained_cfg", None):
        names = of_timm["classifier"]
        return [names] if isinstance(names, str) else list(names)
    found = []
    for part in LAST & dict(network.named_children()).keys():
        layers = network.get_submodule(part).named_modules(prefix=part)
        found.append([name for name, layer in layers if isinstance(layer, nn.Linear | nn.Conv2d)][-1])
    return found


def read(name: str, weights: str, network: nn.Module) -> Weights:
    """
    Args:
        name: Of the network.
        weights: A file, or the name that torchvision or timm has for some.

    Raises:
        UsageError: There are none of that name, or they can't be downloaded.
        CheckpointError: The file can't be read, or is damaged.
    """
    file = Path(weights)
    is_file = file.suffix in FILES or file.exists()
    if name.startswith(TIMM):
        source: Any = network if is_file else _download_of_timm(name, weights)
        state = _load(file) if is_file else source.state_dict()
        return _adapted(weights, state, source.pretrained_cfg["mean"], source.pretrained_cfg["std"])
    published = _of_torchvision(name, weights)
    if not is_file and not published:
        names = [*models.get_model_weights(name).__members__]
        hint = nearest(weights, names) or f": there are {', '.join(names)}, or name a file"
        raise UsageError(f"--model.weights {weights}: torchvision has none of that name for {name}{hint}")
    file = file if is_file else _download(published.url, weights)
    preset: Any = published.transforms() if published else None
    mean, std = (preset.mean, preset.std) if preset else (MEAN, STD)
    if published and name in ("googlenet", "inception_v3"):  # which torchvision has change ImageNet's into these
        mean, std = [0.5] * 3, [0.5] * 3
    return _adapted(str(file), _load(file), mean, std)


def _adapted(source: str, state: dict[str, Tensor], mean: Any, std: Any) -> Weights:
    if {"scale", "shift"} <= state.keys():  # of a Backbone
        of_network = {key.removeprefix("net."): value for key, value in state.items() if key.startswith("net.")}
        return Weights(source, of_network, state["scale"], state["shift"])
    (usual_mean, usual_std, mean, std) = (torch.tensor(values)[:, None, None] for values in (MEAN, STD, mean, std))
    return Weights(source, state, usual_std / std, (usual_mean - mean) / std)


def _load(file: Path) -> dict[str, Tensor]:
    """The tensors in a file of weights, or in a checkpoint, on the CPU; never runs code that a file may carry."""
    content: Any
    try:
        if file.suffix == ".safetensors":
            content = load_file(file)
        else:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UsageError(f"--model.weights {file}: there is no such file: name one that is there") from error
    except OSError as error:
        raise CheckpointError(f"--model.weights {file} can't be read ({error.strerror}): name another") from error
    except Exception as error:  # both answer damaged files with whatever their readers stumble over
        code = re.search(r"GLOBAL (\S+)", str(error))
        what = f"holds code ({code[1]}), which is not run" if code else "is damaged, or holds no weights"
        raise CheckpointError(f"--model.weights {file} {what}: name another") from error
    for part in ("state_dict", "model"):  # where Lightning and torchvision's own training keep them
        content = content[part] if isinstance(content, dict) and isinstance(content.get(part), dict) else content
    state = {k: v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, dict) else {}
    for wrapper in WRAPPERS:
        if all(key.startswith(wrapper) for key in state):
            state = {key.removeprefix(wrapper): value for key, value in state.items()}
    bad = next((k for k, v in state.items() if v.is_floating_point() and not v.isfinite().all()), None)
    if not state or bad:
        what = f"has NaN or infinite numbers in {bad}" if bad else "holds no weights"
        raise CheckpointError(f"--model.weights {file} {what}: name another")
    return state


def _download(url: str, weights: str) -> Path:
    """The file at an address of torchvision's, where torch keeps such files; its name holds its checksum."""
    folder = Path(torch.hub.get_dir(), "checkpoints")
    file = folder / url.rpartition("/")[2]
    expected = re.findall(r"-([0-9a-f]{8,})\.", file.name)[-1]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):  # of two processes the second finds the work done
            if not file.exists():
                say(f"Downloading {url} -> {file}")
                torch.hub.download_url_to_file(url, str(file), expected)
            with file.open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
    except (OSError, RuntimeError) as error:
        raise UsageError(
            f"--model.weights {weights}: {url} can't be downloaded ({error}): put that file into {folder}, or name "
            "another one with --model.weights"
        ) from error
    if not found.startswith(expected):
        raise CheckpointError(f"{file} is damaged, as its checksum is not the one in its name: delete it")
    return file


def _download_of_timm(name: str, weights: str) -> nn.Module:
    timm, architecture = _timm(name), name.removeprefix(TIMM).partition(".")[0]
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{architecture}.*")]
    names = ["DEFAULT", *tags] if tags else []
    if weights not in names:
        hint = nearest(weights, names) or f": name a file{', or one of ' if names else ''}{', '.join(names)}"
        raise UsageError(f"--model.weights {weights}: timm has none of that name for {architecture}{hint}")
    full = name.removeprefix(TIMM) if weights == "DEFAULT" else f"{architecture}.{weights}"
    config = timm.get_pretrained_cfg(full)
    hub = importlib.import_module("huggingface_hub")
    url = hub.hf_hub_url(config.hf_hub_id, "model.safetensors") if config.hf_hub_id else config.url
    try:
        kept = Path(hub.constants.HF_HUB_CACHE, f"models--{config.hf_hub_id}".replace("/", "--"))
        if config.hf_hub_id and not kept.exists():
            with suppress(hub.errors.HfHubHTTPError):  # it answers
                hub.get_hf_file_metadata(url)  # asks once; timm tries again for a minute where there is no network
        network: nn.Module = timm.create_model(full, pretrained=True)
    except Exception as error:  # the hub's client has errors of many kinds
        why = str(error).strip().partition("\n")[0]
        raise UsageError(
            f"--model.weights {weights}: {url} can't be downloaded ({why}): fetch that file elsewhere, and name it: "
            "--model.weights FILE"
        ) from error
    return network


def put(weights: Weights, name: str, network: nn.Module) -> None:
    """Put weights into a network, but for those of its last layers, which stay as they are.

    Raises:
        CheckpointError: They don't fit.
    """
    last = tuple(f"{layer}." for layer in last_layers(network))
    body = {re.sub(OLD_DENSENET, r"\1\2", k): v for k, v in weights.state.items() if not k.startswith(last)}
    state = OrderedDict(body | {k: v for k, v in network.state_dict().items() if k.startswith(last)})
    state._metadata = {"": {"version": 2}}  # type: ignore[attr-defined]  # which MNASNet asks for; others take any
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        problems = shorten(str(error).partition(":")[2], LONGEST, placeholder=" ...")
        raise CheckpointError(
            f"--model.weights {weights.source} does not fit {name}: {problems}: give the --model.name, and "
            "images of the size, that it was trained with"
        ) from error

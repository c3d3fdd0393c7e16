"""Whether a training can be resumed from a checkpoint with the options that are given now."""

import json
from dataclasses import replace
from typing import Any

from kindling.errors import RunError, UsageError
from kindling.runs import checkpoints, find
from kindling.runs.find import Checkpoint
from kindling.runs.trust import Options

WHOLE_RUN = ("OneCycleLR", "CosineAnnealingLR", "PolynomialLR")  # schedulers that span a run from end to end


def check_resumable(checkpoint: Checkpoint, content: Options, options: Options) -> tuple[Checkpoint, Options]:
    """
    Args:
        checkpoint: To train on from.
        content: What is in it.
        options: All that hold now.

    Returns:
        The checkpoint to take and its content: the one before, where only what comes after the last step is left.

    Raises:
        CheckpointError: It holds weights alone.
        UsageError: Some options can't change within a run.
        RunError: There is nothing left to train, which Lightning would do in silence.
    """
    checkpoints.check_trainable(content, checkpoint.file)
    restored = content.get("config", {})
    if "mid_epoch" in content and differences({"data": restored.get("data")}, options):
        raise UsageError("--data: the checkpoint is from within an epoch, whose data and batches can't change")
    _check_optimizer(restored, options)
    _check_averaging(content, options)
    if _ended(checkpoint, content, options) and checkpoint.is_last and checkpoint.run.previous in checkpoint.others:
        # killed after its last step: what comes then is done after that step, once more
        content = checkpoints.read(checkpoint.run.previous)
        checkpoint = replace(checkpoint, file=checkpoint.run.previous, others=())
    if why := _ended(checkpoint, content, options):
        raise RunError(why)
    return checkpoint, content


def _check_optimizer(restored: Options, options: Options) -> None:
    for key in ("optimizer", "lr_scheduler"):
        then, now = restored.get(key) or {}, options[key] or {}
        changed = key == "lr_scheduler" and any(
            value != then.get("init_args", {}).get(name, value) for name, value in now.get("init_args", {}).items()
        )
        if key in restored and (then.get("class_path") != now.get("class_path") or changed):
            raise UsageError(f"--{key}: its state is in the checkpoint, so a resumed training can't change it")
    then, now = ((o.get("optimizer") or {}) for o in (restored, options))
    # what these options sum up since the first step is not in the checkpoint (SGD's momentum begins at any time)
    summed = ("amsgrad", "centered", *(["momentum"] if now and class_name(now) == "RMSprop" else []))
    for option in summed if then else ():
        if now["init_args"].get(option) and not then["init_args"].get(option):
            value = json.dumps(now["init_args"][option])
            raise UsageError(f"--optimizer.{option} {value}: the checkpoint lacks what it sums up: train anew with it")
    scheduler = class_name(restored["lr_scheduler"]) if restored.get("lr_scheduler") else ""
    for limit in ("max_epochs", "max_steps") if scheduler in WHOLE_RUN else ():
        if restored["trainer"][limit] != options["trainer"][limit]:
            raise UsageError(f"--trainer.{limit}: {scheduler} spans its run from end to end: start a new, longer one")


def _check_averaging(content: Options, options: Options) -> None:
    averages = "StochasticWeightAveraging" in str(options["trainer"]["callbacks"])
    if averages and content.get("callbacks", {}).get("StochasticWeightAveraging", {}).get("scheduler_state"):
        raise UsageError(
            "--trainer.callbacks: StochasticWeightAveraging has begun in this checkpoint, and Lightning can't resume "
            "it: train anew, or add --trainer.callbacks null"
        )


def _ended(checkpoint: Checkpoint, content: Options, options: Options) -> str:
    """Why there is nothing left to train; empty if there is."""
    epochs, steps = content["epoch"], content["global_step"]
    now, then = options["trainer"], content.get("config", {}).get("trainer", {})
    for unit, done in (("epochs", epochs), ("steps", steps)):
        limit = now[f"max_{unit}"]
        if limit is not None and -1 < limit <= done:
            return f"{checkpoint.file} has had its {done} {unit}: for more, add e.g. --trainer.max_{unit} {2 * done}"
    enough = epochs >= (now["min_epochs"] or 0) and steps >= (now["min_steps"] or 0)
    unchanged = all(now[limit] == then.get(limit) for limit in find.LIMITS)
    if not (content.get("trainer", {}).get("should_stop", False) and enough and unchanged):
        return ""
    timed, early = now["max_time"], "EarlyStopping" in str(now["callbacks"])
    by = " or ".join(["EarlyStopping"] * early + ["--trainer.max_time"] * bool(timed)) or "a callback"
    remedy = f"for more, add e.g. --trainer.min_epochs {2 * epochs}"
    return f"{checkpoint.file} was ended by {by} after {epochs} epochs: {remedy}"


def differences(restored: Options, options: Options) -> list[str]:
    """A line for each option that isn't what the checkpoint's run had; one that it did not know was null."""
    then, now = flat(restored), flat({key: options[key] for key in restored})
    return [
        f"--{key} {now.get(key, 'is gone')} (in the checkpoint's run: {then.get(key, 'not set')})"
        for key in [*now, *(k for k in then if k not in now)]
        if then.get(key, "null") != now.get(key, "null")
    ]


def flat(options: Any, prefix: str = "") -> Options:
    """Options with dotted keys; a class is its name, and its options follow its key directly. ``null`` is a string."""
    if not isinstance(options, dict):
        return {prefix: options if isinstance(options, int | float | str) else json.dumps(options)}
    if "class_path" in options:
        return {prefix: class_name(options)} | flat(options.get("init_args", {}), prefix)
    found: Options = {}
    for key, value in options.items():
        found |= flat(value, f"{prefix}.{key}".lstrip("."))
    return found


def class_name(spec: Options) -> str:
    return str(spec["class_path"]).rpartition(".")[2]

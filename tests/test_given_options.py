"""Options as they may be given: by the name of a class alone, with names of one's own, and in files."""

from pathlib import Path

import pytest
from conftest import Kindling

from kindling.runs.trust import check_form, unknown

PARTS = "trainer: {callbacks: [{class_path: EarlyStopping, init_args: {monitor: val/loss}}], "
PARTS += "logger: {class_path: CSVLogger, init_args: {save_dir: here}}}"


def test_lightnings_classes_go_by_their_names_alone(kindling: Kindling) -> None:
    typed: tuple[str, ...] = ("--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/loss")
    typed += ("--trainer.callbacks+=EMAWeightAveraging", "--trainer.logger=CSVLogger", "--trainer.logger.save_dir=here")
    out = kindling("fit", "--model=SimpleNet", *typed, "--print_config")
    for path in ("callbacks.EarlyStopping", "callbacks.EMAWeightAveraging", "loggers.CSVLogger"):
        assert f"class_path: lightning.pytorch.{path}\n" in out
    Path("parts.yaml").write_text(PARTS)
    out = kindling("fit", "--model=SimpleNet", "-c=parts.yaml", "--print_config")
    for path in ("callbacks.EarlyStopping", "loggers.CSVLogger"):
        assert f"class_path: lightning.pytorch.{path}\n" in out


def test_an_option_of_a_dataset_may_be_called_like_a_size(kindling: Kindling, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("sized.py").write_text(
        "from kindling.data import SyntheticTabular\n"
        "class Sized(SyntheticTabular):\n"
        "    def __init__(self, image_size: int = 4, batch_size: int = 32) -> None:\n"
        "        super().__init__(batch_size=batch_size)\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(Path.cwd()))
    out = kindling("fit", "--model=SimpleNet", "--data=sized.Sized", "--data.image_size=8", "--print_config")
    assert "image_size: 8\n" in out


def test_a_quoted_argument_type_is_not_taken_for_a_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("typed.py").write_text(
        "from typing import Literal\n"
        "class Typed:\n"
        "    def __init__(self, a: 'list[\"Encoder\"]' = (), b: list['Encoder'] = (), c: Literal['x.y'] = 'x.y',\n"
        "                 d: 'str | None' = None, **e: int) -> None: ...\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(Path.cwd()))
    arguments = {"a": ["os.path"], "b": ["os.path"], "c": "x.y", "d": "os.path", "f": "os.path"}
    spec = check_form({"model": {"class_path": "typed.Typed", "init_args": arguments}}, "odd.ckpt")
    assert [option for option, _ in unknown(spec)] == ["model", "model.a", "model.b", "model.f"]

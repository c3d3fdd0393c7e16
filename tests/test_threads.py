"""The number of threads follows from network and batch alone, unless the user chose one."""

from typing import Any

import pytest
import torch
from conftest import Kindling, needs
from lightning.pytorch import Callback, Trainer

from kindling.training import threads

SEEN: list[int] = []


class ThreadsSeen(Callback):
    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        SEEN.append(torch.get_num_threads())


@pytest.mark.parametrize(("worth", "chosen", "found"), [(1e12, None, 1), (1e3, None, 2), (1e12, "OMP_NUM_THREADS", 2)])
def test_a_small_batch_is_computed_by_one_thread(
    worth: float, chosen: str | None, found: int, kindling: Kindling, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("SimpleNet", "SyntheticTabular")
    for name in threads.CHOSEN_BY_USER:
        monkeypatch.delenv(name, raising=False)
    if chosen:
        monkeypatch.setenv(chosen, "2")
    monkeypatch.setattr(threads, "WORTH_A_THREAD", worth)
    monkeypatch.setattr(threads, "USUAL", 2)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        kindling("fit", "--model=SimpleNet", "--trainer.max_steps=2", "--trainer.callbacks+=test_threads.ThreadsSeen")
        assert [found] * 2 == SEEN
        assert torch.get_num_threads() == 2  # as it was
    finally:
        SEEN.clear()
        torch.set_num_threads(before)


def test_more_arithmetic_gets_more_threads_up_to_one_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "USUAL", 8)
    worth = threads.WORTH_A_THREAD
    assert [threads.count(share * worth) for share in (0, 0.9, 1.1, 5.5, 100)] == [1, 1, 2, 6, 8]

"""Requests that come at the same time are answered by one call of the network."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
SHORT = 1e-3  # seconds: a call of the network that takes less is made at once, where handing it to a thread costs more


class NetworkError(Exception):
    """The network can't take a sample, or answers NaN."""


@dataclass
class _Asked:
    x: Array
    answer: "asyncio.Future[Array]"


class Batcher:
    """Calls the network with samples of several requests at once. A sample that it can't take fails alone.

    While the network is busy, requests gather; where it is idle, one waits for others for ``max_wait`` at most.

    Args:
        network: Inputs (N, ...) to predictions (N, ...).
        max_batch: Most samples of one call.
        max_wait: Seconds.
        observe: Is told the size of each batch.
    """

    def __init__(
        self, network: Callable[[Array], Array], max_batch: int, max_wait: float, observe: Callable[[int], object]
    ) -> None:
        self._network, self.max_batch, self.max_wait, self._observe = network, max_batch, max_wait, observe
        self._waiting: list[_Asked] = []
        self._is_running = False
        self._thread = ThreadPoolExecutor(1, "network")
        self._is_short = False

    def warm_up(self, example: Array) -> None:
        """Call the network twice, and see how long a whole batch takes."""
        batch = np.repeat(example, self.max_batch, axis=0)
        self._network(batch)
        begun = perf_counter()
        self._network(batch)
        self._is_short = perf_counter() - begun < SHORT

    async def predict(self, x: Array) -> Array:
        """Inputs (N, ...) of one request to predictions (N, ...).

        Raises:
            NetworkError: It has no answer to one of them.
        """
        loop = asyncio.get_running_loop()
        parts = [
            _Asked(x[first : first + self.max_batch], loop.create_future())
            for first in range(0, len(x), self.max_batch)
        ]
        self._waiting += parts
        if not self._is_running:
            self._is_running = True
            self._task = loop.create_task(self._run())  # kept, as the loop has but a weak reference
        if len(parts) == 1:
            return await parts[0].answer
        return np.concatenate(await asyncio.gather(*(part.answer for part in parts)))

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            if self.max_wait:
                await asyncio.sleep(self.max_wait)
            while self._waiting:
                batch = self._next_batch()
                if self._is_short:
                    answers = self._call(batch)
                    await asyncio.sleep(0)  # lets others in
                else:
                    answers = await loop.run_in_executor(self._thread, self._call, batch)
                for asked, answer in zip(batch, answers, strict=True):
                    if asked.answer.done():
                        continue  # whoever asked has gone
                    if isinstance(answer, NetworkError):
                        asked.answer.set_exception(answer)
                    else:
                        asked.answer.set_result(answer)
        finally:
            self._is_running = False

    def _next_batch(self) -> list[_Asked]:
        batch, size = [], 0
        while self._waiting and size + len(self._waiting[0].x) <= self.max_batch:
            batch.append(self._waiting.pop(0))
            size += len(batch[-1].x)
        self._observe(size)
        return batch

    def _call(self, batch: list[_Asked]) -> list[Array | NetworkError]:
        """The answer to each, or why there is none."""
        try:
            answers = self._network(np.concatenate([asked.x for asked in batch]) if len(batch) > 1 else batch[0].x)
        except Exception as error:  # whatever the package raises
            if len(batch) > 1:
                return [answer for asked in batch for answer in self._call([asked])]
            return [NetworkError(f"the network can't take this ({' '.join(str(error).split())[:200]})")]
        ends = list(accumulate(len(asked.x) for asked in batch))
        parts = [answers[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
        are_finite = np.isfinite(answers).all()  # of all at once, which is usual
        unknown = NetworkError("the network's answer is NaN or infinite")
        return [part if are_finite or np.isfinite(part).all() else unknown for part in parts]

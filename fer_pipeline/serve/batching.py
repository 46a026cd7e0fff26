"""Crops of several requests, classified together.

A kept library for this, LitServe, brings a server of its own, whose upload limits and pages are not ours to settle.
"""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

Inputs = dict[str, NDArray[Any]]
Infer = Callable[[Inputs], NDArray[np.float32]]
Asked = tuple[Inputs, "asyncio.Future[NDArray[np.float32]]"]


class Batcher:
    """Gathers what comes within `wait` seconds, up to `batch` rows, and runs it in a thread of the executor."""

    def __init__(
        self, infer: Infer, executor: Executor, batch: int, wait: float, seen: Callable[[int], None] = lambda _: None
    ) -> None:
        self._infer, self._executor, self._seen = infer, executor, seen
        self._batch, self._wait = batch, wait
        self._queue: asyncio.Queue[Asked] = asyncio.Queue()
        self._left: Asked | None = None  # did not fit into the batch before
        self._coming = 0

    @contextmanager
    def announced(self) -> Iterator[None]:
        """Rows may come of what is done meanwhile; where none can, nobody waits for company."""
        self._coming += 1
        try:
            yield
        finally:
            self._coming -= 1

    async def infer(self, inputs: Inputs) -> NDArray[np.float32]:
        """Probabilities (n, classes) of n rows; more than `batch` of them are a batch of their own."""
        future: asyncio.Future[NDArray[np.float32]] = asyncio.get_running_loop().create_future()
        await self._queue.put((inputs, future))
        return await future

    async def run(self) -> None:
        """Serve until cancelled; an error goes to those whose rows were in the batch."""
        while True:
            asked = await self._gather()
            inputs = {name: np.concatenate([one[name] for one, _ in asked]) for name in asked[0][0]}
            self._seen(sum(map(_count, asked)))
            try:
                loop = asyncio.get_running_loop()
                rows = await loop.run_in_executor(self._executor, self._infer, inputs)
            except Exception as error:  # noqa: BLE001  whatever ONNX Runtime raises, the next batch must go on
                for _, future in asked:
                    if not future.done():
                        future.set_exception(error)
                continue
            _hand_out(asked, rows)

    async def _gather(self) -> list[Asked]:
        """The first that comes, and whoever follows it in time."""
        asked = [self._left or await self._queue.get()]
        self._left = None
        count, until = _count(asked[0]), asyncio.get_running_loop().time() + self._wait
        while count < self._batch and (self._coming or not self._queue.empty()):
            try:
                async with asyncio.timeout_at(until):
                    one = await self._queue.get()
            except TimeoutError:
                break
            if count + _count(one) > self._batch:
                self._left = one
                break
            asked.append(one)
            count += _count(one)
        return asked


def _count(asked: Asked) -> int:
    return len(next(iter(asked[0].values())))


def _hand_out(asked: list[Asked], rows: NDArray[np.float32]) -> None:
    start = 0
    for one in asked:
        part, future = rows[start : start + _count(one)], one[1]
        start += len(part)
        if not future.done():  # its client may have given up
            future.set_result(part)

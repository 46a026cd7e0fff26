"""Dynamic batching: classify the crops of several requests together.

The library for this, LitServe, is a server of its own, without the upload limits and the pages of this one.
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
Request = tuple[Inputs, "asyncio.Future[NDArray[np.float32]]"]


class Batcher:
    """Collects requests for at most `wait` seconds, up to `batch` rows, and runs them in a thread of the executor."""

    def __init__(
        self,
        infer: Infer,
        executor: Executor,
        batch: int,
        wait: float,
        on_batch: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._infer, self._executor, self._on_batch = infer, executor, on_batch
        self._batch, self._wait = batch, wait
        self._queue: asyncio.Queue[Request] = asyncio.Queue()
        self._postponed: Request | None = None  # did not fit into the batch before
        self._announced = 0

    @contextmanager
    def announced(self) -> Iterator[None]:
        """Announce that rows may follow; without any announced, a batch does not wait for more."""
        self._announced += 1
        try:
            yield
        finally:
            self._announced -= 1

    async def infer(self, inputs: Inputs) -> NDArray[np.float32]:
        """Probabilities (n, classes) of n rows; more than `batch` rows are a batch of their own."""
        future: asyncio.Future[NDArray[np.float32]] = asyncio.get_running_loop().create_future()
        await self._queue.put((inputs, future))
        return await future

    async def run(self) -> None:
        """Run batches until cancelled; an error goes to the requests of its batch."""
        while True:
            requests = await self._gather()
            inputs = {name: np.concatenate([one[name] for one, _ in requests]) for name in requests[0][0]}
            self._on_batch(sum(map(_count, requests)))
            try:
                loop = asyncio.get_running_loop()
                rows = await loop.run_in_executor(self._executor, self._infer, inputs)
            except Exception as error:  # noqa: BLE001  whatever ONNX Runtime raises, the next batch must go on
                for _, future in requests:
                    if not future.done():
                        future.set_exception(error)
                continue
            _distribute(requests, rows)

    async def _gather(self) -> list[Request]:
        """The first request, and those that follow it in time."""
        requests = [self._postponed or await self._queue.get()]
        self._postponed = None
        count, until = _count(requests[0]), asyncio.get_running_loop().time() + self._wait
        while count < self._batch and (self._announced or not self._queue.empty()):
            try:
                async with asyncio.timeout_at(until):
                    one = await self._queue.get()
            except TimeoutError:
                break
            if count + _count(one) > self._batch:
                self._postponed = one
                break
            requests.append(one)
            count += _count(one)
        return requests


def _count(request: Request) -> int:
    return len(next(iter(request[0].values())))


def _distribute(requests: list[Request], rows: NDArray[np.float32]) -> None:
    start = 0
    for one in requests:
        part, future = rows[start : start + _count(one)], one[1]
        start += len(part)
        if not future.done():  # its client may have left
            future.set_result(part)

"""The frames of a live page: only the newest waits, and reading goes on while a frame is answered."""

import asyncio
from collections.abc import Coroutine


class Newest:
    """A queue of one frame, which a newer one replaces."""

    def __init__(self) -> None:
        self._there = asyncio.Event()
        self._frame: tuple[int, bytes] | None = None
        self.overtaken = 0

    def put(self, number: int, data: bytes) -> None:
        self.overtaken += self._frame is not None
        self._frame = (number, data)
        self._there.set()

    async def get(self) -> tuple[int, bytes]:
        await self._there.wait()
        self._there.clear()
        frame, self._frame = self._frame, None
        assert frame is not None, "set without a frame"
        return frame


async def until_one_ends(*bodies: Coroutine[None, None, None]) -> None:
    """Run all side by side until the first one ends, end the others, and raise what the first one raised."""
    tasks = [asyncio.create_task(body) for body in bodies]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

"""From the bytes of a picture to crops, in processes of their own: a decoder that crashes costs that picture only."""

import asyncio
import os
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.boxes import Box
from fer_pipeline.config import Recipe
from fer_pipeline.crops import as_crop, measure_crops, prepare
from fer_pipeline.images import BadImage, Image, read_image
from fer_pipeline.stages.workers import new_pool


@dataclass(frozen=True)
class Need:
    """What a model wants of a photo: how it is cut, the side of a crop in pixels, and measures of the mouth by name."""

    recipe: Recipe
    size: int
    measures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prepared:
    """A photo's faces: boxes in pixels of the upright photo, crops (n, size, size, 3), measures (n, names)."""

    outcome: Literal["ok", "no_face", "bad_image", "too_large"]
    width: int = 0
    height: int = 0
    boxes: tuple[Box, ...] = ()
    crops: NDArray[np.uint8] | None = None
    measures: NDArray[np.float32] | None = None


def prepare_bytes(data: bytes, need: Need, max_pixels: int) -> Prepared:
    """What a worker does with a picture: as `fer predict`, from its bytes."""
    try:
        photo = read_image(data, max_pixels=max_pixels)
    except BadImage as error:
        return Prepared("too_large" if error.reason == "too_many_pixels" else "bad_image")
    return prepare_photo(photo, need)


def prepare_photo(photo: Image, need: Need) -> Prepared:
    """The crops of an upright RGB photo as a model wants them."""
    height, width = photo.shape[:2]
    found = prepare(photo, need.recipe)
    if not found:
        return Prepared("no_face", width, height)
    crops = np.stack([as_crop(crop.image, need.size) for crop in found])
    measures = measure_crops(crops, need.measures, need.recipe.cut) if need.measures else None
    return Prepared("ok", width, height, tuple(crop.face.box for crop in found), crops, measures)


class Pool:
    """Worker processes; one that dies is replaced, and the pictures that were in work are tried again one by one."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._executor = new_pool(workers)
        self._alone: ProcessPoolExecutor | None = None
        self._one_suspect = asyncio.Lock()

    async def warm(self, needs: list[Need]) -> None:
        """Start the processes and load their models: a blank picture has no face, but has been through all of it."""
        loop = asyncio.get_running_loop()
        tasks = [loop.run_in_executor(self._executor, _load, need) for need in needs for _ in range(self.workers)]
        await asyncio.gather(*tasks)

    async def prepare(self, data: bytes, need: Need, max_pixels: int) -> Prepared:
        """The faces of a picture; one whose process dies is a bad image."""
        executor = self._executor
        try:
            return await asyncio.get_running_loop().run_in_executor(executor, prepare_bytes, data, need, max_pixels)
        except BrokenProcessPool:
            if executor is self._executor:
                self._executor = new_pool(self.workers)
            return await self._prepare_alone(data, need, max_pixels)

    async def _prepare_alone(self, data: bytes, need: Need, max_pixels: int) -> Prepared:
        """In a process that no other picture shares, so that it is known which one kills."""
        async with self._one_suspect:
            self._alone = self._alone or new_pool(1)
            loop = asyncio.get_running_loop()
            try:
                return await loop.run_in_executor(self._alone, prepare_bytes, data, need, max_pixels)
            except BrokenProcessPool:
                self._alone = None
                return Prepared("bad_image")

    def close(self) -> None:
        """Let the processes go."""
        for executor in filter(None, (self._executor, self._alone)):
            executor.shutdown(wait=True, cancel_futures=True)


def _load(need: Need) -> int:
    """Load the detector and the landmarks in a worker, by the way a photo takes."""
    from fer_pipeline.faces import find_landmarks, load_detector

    load_detector(need.recipe.detector)
    blank = np.zeros((96, 96, 3), np.uint8)
    if need.recipe.cut.region != "whole":
        find_landmarks(blank, Box(8, 8, 88, 88), need.recipe.cut.landmarks)
    return os.getpid()

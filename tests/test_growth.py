"""Whatever came, went, was decided, forgotten, recorded or killed: the folders are those of a clean start."""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np
import pytest
from support.pictures import draw_noise, list_files
from support.sequences import seeds
from support.webcam import to_jpeg

from fer_pipeline.config.loader import load_config
from fer_pipeline.config.schema import Config
from fer_pipeline.dataset.decisions import DECISIONS, HEADER
from fer_pipeline.dataset.experiment import of_config
from fer_pipeline.dataset.rows import MANIFEST, Status, read_rows
from fer_pipeline.errors import FerError
from fer_pipeline.lineage.forget import forget, plan_forget
from fer_pipeline.sources.camera.capture_store import CaptureStore
from fer_pipeline.sources.folders import find_in_folder
from fer_pipeline.sources.importers import import_images
from fer_pipeline.stages.refresh import STAGES
from fer_pipeline.stages.runner import run_stage
from fer_pipeline.vision.image_io import write_image

SETTINGS = "name: x\nworkers: 1\nfilter: {detector: none}\ncrop: {region: whole, size: 32}\nsplit: {test_share: 0.3}\n"
SEEDS = seeds()
P = ParamSpec("P")
R = TypeVar("R")


class Killed(BaseException):
    """The process ended here."""


@contextmanager
def killed_at(step: int) -> Iterator[None]:
    """End the process at the n-th change of a file; what stands in `finally` is done all the same."""
    left = step

    def counted(function: Callable[P, R]) -> Callable[P, R]:
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return function(*args, **kwargs)

        return call

    with pytest.MonkeyPatch.context() as patched:
        for name in ("replace", "link", "fsync"):
            patched.setattr(os, name, counted(getattr(os, name)))
        patched.setattr(Path, "unlink", counted(Path.unlink))
        with suppress(Killed):
            yield


class Experiment:
    """A home with photos, and what may happen to it."""

    def __init__(self, home: Path, seed: int) -> None:
        self.home, self.rng = home, random.Random(seed)
        self.overrides: dict[str, object] = {}
        self.drawn = 1000 * seed
        self.add(4)

    def config(self, home: Path | None = None) -> Config:
        home = home or self.home
        home.mkdir(parents=True, exist_ok=True)
        path = home / "fer.yaml"
        path.write_text(f"{SETTINGS}data: {home / 'data'}\nruns: {home / 'runs'}\n")
        return load_config(path, [f"{key}={value}" for key, value in self.overrides.items()])

    @property
    def raw(self) -> Path:
        return self.config().crawl.output

    def add(self, count: int = 2) -> None:
        """Import more photos, one of them nearly a copy."""
        folder = self.home / f"photos{self.drawn}"
        for _ in range(count):
            for label in ("a", "b"):
                write_image(folder / label / f"p{self.drawn}.png", draw_noise(self.drawn, 40, 40))
                self.drawn += 1
        copy = draw_noise(self.drawn - 1, 40, 40)
        write_image(folder / "b" / "copy.png", np.asarray(np.clip(copy * 0.9 + 8, 0, 255), np.uint8))
        import_images(find_in_folder(folder, self.rng.choice([None, r"p(\d)"])), self.raw, folder.name)

    def add_again(self) -> None:
        """Import a folder once more, with persons this time."""
        folder = self.rng.choice(sorted(self.home.glob("photos*")))
        import_images(find_in_folder(folder, r"p(\d)"), self.raw, folder.name)

    def forget(self) -> None:
        rows = [row for row in read_rows(self.raw) if row.status is Status.KEPT]
        if len(rows) > 8:
            row = self.rng.choice(rows)
            (plan,) = plan_forget(row.path, of_config(self.config()), copies=False)
            forget(plan)

    def record(self) -> None:
        """A session before a camera."""
        with CaptureStore(self.raw) as store:
            for label in ("a", "b"):
                store.keep(label, to_jpeg(draw_noise(self.drawn, 40, 40)))
                self.drawn += 1
            store.end()

    def decide(self) -> None:
        """A line of decisions.csv about some image of the crops or about a copy."""
        folders = [folder for folder in ("crops", "unique") if (self.raw.parent / folder / MANIFEST).is_file()]
        rows = [row for folder in folders for row in read_rows(self.raw.parent / folder)]
        if rows:
            row, action = self.rng.choice(rows), self.rng.choice(["drop", "move", "restore", "undo", "keep"])
            label = self.rng.choice(["a", "b"]) if action == "move" else ""
            path = self.raw.parent / DECISIONS
            if not path.is_file():
                path.write_text(",".join(HEADER) + "\n")
            with path.open("a") as file:
                file.write(f"2026-01-01T00:00:00,{row.path},{action},{label},,me\n")

    def change(self) -> None:
        """Another setting."""
        key, values = self.rng.choice(
            [("crop.size", [32, 24]), ("dedupe.distance", [4, 0]), ("unify.quality", [95, 80]), ("split.seed", [0, 1])]
        )
        self.overrides[key] = self.rng.choice(values)

    def kill(self) -> None:
        """A run that ends somewhere."""
        with killed_at(self.rng.randrange(60)), suppress(FerError):
            self.run()

    def run(self, home: Path | None = None) -> None:
        config = self.config(home)
        for stage in STAGES.values():
            run_stage(stage, getattr(config, stage.name))

    def files(self, home: Path | None = None) -> dict[str, dict[str, bytes]]:
        config = self.config(home)
        return {name: list_files(getattr(config, name).output) for name in STAGES}


@pytest.mark.parametrize("seed", SEEDS)
def test_the_folders_are_those_of_a_clean_start(seed: int, tmp_path: Path) -> None:
    one = Experiment(tmp_path / "one", seed)
    happened = []
    for turn in range(3):
        for _ in range(one.rng.randrange(1, 4)):
            what = one.rng.choice([one.add, one.add_again, one.forget, one.record, one.decide, one.change, one.kill])
            happened.append(what.__name__)
            what()
        clean = tmp_path / f"clean{turn}"
        shutil.copytree(one.raw.parent.parent / "x" / "raw", one.config(clean).crawl.output)
        if (one.raw.parent / DECISIONS).is_file():
            shutil.copyfile(one.raw.parent / DECISIONS, one.config(clean).crawl.output.parent / DECISIONS)
        try:
            one.run(clean)
        except FerError as error:  # a class that is too small to be parted, say
            with pytest.raises(type(error)):
                one.run()
            continue
        one.run()
        assert one.files() == one.files(clean), happened

"""What many tests share: a drawn gallery, plain photos in class folders, and a trained run."""

import gc
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from support.drawn import tiny_training, write_split
from support.pictures import draw_portrait

from fer_pipeline import console
from fer_pipeline.sources.sample import LABELS, draw_gallery
from fer_pipeline.vision.image_io import write_image

# Commands that a shell starts in the background ignore Ctrl-C, and so would those the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


# Begun first, since each is long and lies in one process: the short ones then fill up the others to the end.
LONGEST = ("distributed", "train", "ray_cluster", "serve_page", "review_page", "serve", "picture_pool", "cli")


# What is imported stays, and is large: looking through it for garbage would take a tenth of the tests' time.
gc.disable()


def pytest_collection_finish() -> None:
    """Look for garbage again, but no longer among what was imported."""
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    """At the end libraries complain of what was not taken away."""
    gc.unfreeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    places = {f"test_{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


@pytest.fixture(autouse=True)
def _plain_speech() -> None:
    """A test that ran `fer --quiet` silences no other."""
    console.set_level(quiet=False, verbose=False)


def make_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that the first process of the tests to want it makes for all of them. Not to be changed."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared" / name
    folder.parent.mkdir(exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not (done := folder.with_suffix(".done")).exists():
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample gallery at its smallest: four photos a label, and the junk."""
    return make_once(tmp_path_factory, "gallery", lambda folder: draw_gallery(folder, per_label=4))


@pytest.fixture(scope="session")
def drawn_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders with three portraits each; see `photos`."""

    def draw(folder: Path) -> None:
        for place, label in enumerate(LABELS):
            for number in range(3):
                write_image(folder / label / f"{number}.jpg", draw_portrait(10 * place + number, label, side=240)[0])

    return make_once(tmp_path_factory, "photos", draw)


@pytest.fixture
def photos(drawn_photos: Path, tmp_path: Path) -> Path:
    """A copy of the class folders for one test."""
    return Path(shutil.copytree(drawn_photos, tmp_path / "photos"))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `split`, drawn mouths, and `run`, a small network of them; see `trained_copy`."""

    def train_one(home: Path) -> None:
        import torch

        from fer_pipeline.training.train import train

        torch.set_num_threads(1)
        train(tiny_training(write_split(home / "split"), home / "run", network="simpleconv3"))

    return make_once(tmp_path_factory, "trained", train_one)


@pytest.fixture(scope="module")
def trained_copy(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of it for one file of tests, which may add to the run; its record names the split of the first."""
    return Path(shutil.copytree(trained, tmp_path_factory.mktemp("copy") / "home"))

"""Stages whose judges behave badly; light and importable, since worker processes import them by name."""

import ctypes
import os
import signal
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from fer_pipeline.config.schema import StageConfig, UnifyConfig
from fer_pipeline.dataset.rows import Row
from fer_pipeline.errors import SetupError
from fer_pipeline.stages.stage import Drop, Keep, Stage, Verdict
from fer_pipeline.vision.image_io import Image


def invert(image: Image, row: Row, config: UnifyConfig) -> Keep:
    """Keep every picture, inverted."""
    return Keep(image=np.asarray(255 - image, np.uint8), attributes={"mean": round(float(image.mean()), 3)})


def invert_or_die(image: Image, row: Row, config: UnifyConfig) -> Keep:
    """Die as by `kill -9` at the image that DIE_AT names."""
    if row.path == os.environ.get("DIE_AT"):
        os.kill(os.getpid(), signal.SIGKILL)
    return invert(image, row, config)


def invert_or_end(image: Image, row: Row, config: UnifyConfig) -> Keep:
    """Get the signal END_BY at the image that DIE_AT names."""
    if row.path == os.environ.get("DIE_AT"):
        os.kill(os.getpid(), int(os.environ["END_BY"]))
    return invert(image, row, config)


def invert_or_wait(image: Image, row: Row, config: UnifyConfig) -> Keep:
    """Say in the pipe WAIT_IN that the image DIE_AT names has come, and wait there for ever."""
    if row.path == os.environ.get("DIE_AT"):
        Path(os.environ["WAIT_IN"]).write_text("here")
        signal.pause()
    return invert(image, row, config)


def measure_or_die(image: Image, row: Row, config: UnifyConfig) -> Verdict:
    """Keep the file untouched; what becomes of it is settled later."""
    return replace(invert_or_die(image, row, config), image=None)


def behave_badly(image: Image, row: Row, config: UnifyConfig) -> Verdict:
    """Do what the name of the file says."""
    name = row.path.rpartition("/")[2].partition(".")[0]
    if name == "raise":
        raise ZeroDivisionError("an image of bad luck")
    if name == "disk":
        raise OSError(5, "the image cannot be read")
    if name == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "exit":
        os._exit(3)
    if name == "setup":
        raise SetupError("the model went away: install it")
    if name == "twice":
        return [Keep(image=image), Keep(image=np.asarray(255 - image, np.uint8))]
    if name == "drop":
        return Drop("not_wanted", {"why": 1})
    return invert(image, row, config)


def crash(image: Image, row: Row, config: UnifyConfig) -> Keep:
    """Crash in a native library at an image named so; be killed, as for memory, at another, but once only."""
    name = row.path.rpartition("/")[2].partition(".")[0]
    if name == "segfault":
        ctypes.string_at(0)
    if name == "once" and not (killed := config.output.with_name("killed")).exists():
        killed.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return invert(image, row, config)


def lose_a_share(share: Path, image: Image, row: Row, config: UnifyConfig) -> Keep:
    """A folder goes away after the first image, as where a network drive is no longer mounted."""
    if share.exists():
        share.rename(share.with_name("unmounted"))
    return invert(image, row, config)


def get_no_model(config: UnifyConfig) -> None:
    raise SetupError("model.dat is missing: install it")


def tie_all(kept: Iterable[Row], config: StageConfig) -> list[Row]:
    """Settle: put all into one group and drop the last."""
    rows = list(kept)
    return [row.replace(group="g") for row in rows[:-1]] + [rows[-1].dropped("last")]


def locate_or_die(row: Row) -> str:
    """Die while the files of settled rows are put in place."""
    if row.path == os.environ.get("DIE_LINKING"):
        os.kill(os.getpid(), signal.SIGKILL)
    return row.path


INVERT = Stage("unify", process_image=invert)
OR_END = replace(INVERT, process_image=invert_or_end)
OR_WAIT = replace(INVERT, process_image=invert_or_wait)
OR_DIE = replace(INVERT, process_image=invert_or_die)
BAD = replace(INVERT, process_image=behave_badly)
CRASH = replace(INVERT, process_image=crash)
BROKEN = replace(INVERT, get_ready=get_no_model)
SETTLED = Stage("unify", process_image=measure_or_die, finalize_rows=tie_all)
LINKED = replace(SETTLED, locate=locate_or_die)

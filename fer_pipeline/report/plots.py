"""Plots of a run and of a data set: curves, confusion matrix, reliability, funnel, contact sheet."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fer_pipeline.console import counted, note
from fer_pipeline.dataset.experiment import file_below
from fer_pipeline.dataset.rows import kept_rows
from fer_pipeline.errors import SetupError, UsageError
from fer_pipeline.files import MARK, check_target
from fer_pipeline.vision.crop import as_crop
from fer_pipeline.vision.image_io import BadImage, Image, read_image, write_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fer_pipeline.evaluation.scores import Calibration, Scores

# Fonts with Chinese, Japanese or Korean characters that systems bring; those that are not installed are passed over.
CJK_FONTS = [
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC", "PingFang SC", "Hiragino Sans GB"),
    *("Microsoft YaHei", "SimHei", "SimSun", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Droid Sans Fallback"),
    *("Arial Unicode MS", "DejaVu Sans"),
]


@contextmanager
def new_figure(width: float, height: float) -> "Iterator[Figure]":
    """Open a figure of so many inches, without a window; draw and save it inside.

    Labels may be Chinese where a font has them. matplotlib's settings and logging are those of the host afterwards.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise SetupError("pictures need matplotlib: install it with `pip install 'fer-pipeline[train]'`") from None
    logger = logging.getLogger("matplotlib.font_manager")  # it warns of every font that is not installed
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with matplotlib.rc_context({"font.family": CJK_FONTS}):
            yield Figure(figsize=(width, height), dpi=120, layout="constrained")
    finally:
        logger.setLevel(level)


def check_picture(path: Path, kinds: Sequence[str] = (".png", ".svg", ".pdf"), *, force: bool = False) -> None:
    """Refuse a file that cannot be written as a picture, or that fer did not write."""
    if path.suffix.lower() not in kinds:
        raise UsageError(f"{path}: no picture of that kind: name a file that ends in {', '.join(kinds)}")
    check_target(path, force=force)


def save(figure: "Figure", path: Path) -> None:
    """Write a figure aside and rename it; says so where no font of this machine has all its characters."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.part")
    kind = path.suffix[1:].lower() or "png"
    named = {"Software": MARK} if kind == "png" else {"Creator": MARK} if kind in {"svg", "pdf"} else None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure.savefig(aside, format=kind, metadata=named)
    for one in caught:
        if not str(one.message).startswith("Glyph"):
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    if any(str(one.message).startswith("Glyph") for one in caught):
        note(f"{path}: no font here has all of its characters: install Noto Sans CJK; report.html shows them as text")
    aside.replace(path)


def plot_curves(history: Sequence[dict[str, float]], path: Path) -> None:
    """Loss and accuracy per epoch, of training and validation."""
    with new_figure(9, 3.6) as figure:
        epochs = [row["epoch"] for row in history]
        for axis, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
            axis.plot(epochs, [row[f"train_{name}"] for row in history], label="training, augmented")
            axis.plot(epochs, [row[f"val_{name}"] for row in history], label="validation")
            axis.set(xlabel="epoch", ylabel=name)
            axis.grid(alpha=0.3)
            axis.legend(frameon=False)
        save(figure, path)


def plot_confusion(scores: "Scores", path: Path) -> None:
    """Counts of true (rows) against predicted labels (columns), shaded by the share of the row."""
    counts, labels = np.array(scores.confusion), scores.labels
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 2.2 + 0.75 * len(labels)
    with new_figure(side, side) as figure:
        axis = figure.subplots()
        axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axis.set_xticks(range(len(labels)), labels, rotation=30 if len(labels) > 4 else 0)
        axis.set_yticks(range(len(labels)), labels)
        low, high = scores.accuracy_ci95
        title = f"accuracy {scores.accuracy:.1%} (95 %: {low:.1%} to {high:.1%}), {counted(scores.count, 'image')}"
        axis.set(xlabel="predicted", ylabel="true")
        axis.set_title(title, fontsize=9)
        for (row, column), count in np.ndenumerate(counts):
            shade = "white" if shares[row, column] > 0.5 else "black"
            axis.text(
                column, row, f"{count}\n{shares[row, column]:.0%}", ha="center", va="center", color=shade, fontsize=8
            )
        save(figure, path)


def plot_reliability(calibration: "Calibration", path: Path) -> None:
    """Reliability diagram: accuracy per bin of confidence, and the number of images per bin."""
    with new_figure(4.6, 5.4) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        bins = calibration.bins
        filled = [one for one in bins if one.count]
        width, middles = 1 / len(bins), [(one.low + one.high) / 2 for one in filled]
        accuracies, means = [one.accuracy or 0 for one in filled], [one.confidence or 0 for one in filled]
        upper.bar(middles, accuracies, width * 0.94, color="#3b7dd8", label="accuracy")
        upper.plot([0, 1], [0, 1], color="black", linestyle="--", linewidth=1, label="calibrated")
        upper.scatter(means, accuracies, s=14, color="#d8663b", zorder=3, label="mean confidence")
        upper.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
        upper.set_title(
            f"calibration error {calibration.ece:.3f}, {counted(sum(one.count for one in bins), 'image')}", fontsize=9
        )
        upper.legend(frameon=False, loc="upper left", fontsize=8)
        counts = lower.bar(middles, [one.count for one in filled], width * 0.94, color="#b0b0b0")
        lower.bar_label(counts, fontsize=7)
        lower.margins(y=0.2)
        lower.set(xlabel="confidence", ylabel="images")
        save(figure, path)


def plot_funnel(stages: Sequence[tuple[str, int, dict[str, int]]], path: Path) -> None:
    """How many images each stage kept (bar) and dropped, by reason (text)."""
    with new_figure(9, 0.8 + 0.5 * len(stages)) as figure:
        axis = figure.subplots()
        names = [name for name, _, _ in stages]
        kept = np.array([count for _, count, _ in stages])
        lost = np.array([sum(reasons.values()) for _, _, reasons in stages])
        axis.barh(names, kept, color="#3b7dd8", label="kept")
        axis.barh(names, lost, left=kept, color="#d8d8d8", label="dropped")
        widest = max(int((kept + lost).max()), 1)
        for index, (_, count, reasons) in enumerate(stages):
            shown = ", ".join(f"{reason} {number:,}" for reason, number in list(reasons.items())[:5])
            axis.text(widest * 0.01, index, f"{count:,}", va="center", color="white", fontsize=9, fontweight="bold")
            axis.text(count + lost[index] + widest * 0.01, index, shown, va="center", fontsize=8)
        axis.set_xlim(0, widest * 1.75)
        axis.invert_yaxis()
        axis.set_xlabel("images")
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
        save(figure, path)


def contact_sheet(folder: Path, path: Path, columns: int = 12, tile: int = 96) -> int:
    """Write a sheet with a row of pictures per class of a finished stage; returns the number of classes."""
    by_label: dict[str, list[Path]] = {}
    for row in kept_rows(folder):
        by_label.setdefault(str(row.label), []).append(file_below(folder, row))
    strips = [np.hstack([_name(label, tile), _strip(by_label[label], columns, tile)]) for label in sorted(by_label)]
    path.parent.mkdir(parents=True, exist_ok=True)
    if strips:
        write_image(path, np.concatenate(strips), made_by=MARK)
    return len(strips)


def _tile(file: Path, side: int) -> Image:
    """The picture, or a grey tile if the file cannot be read: raw folders hold any file."""
    try:
        return as_crop(read_image(file), side)
    except (BadImage, OSError):
        return np.full((side, side, 3), 128, np.uint8)


def _name(label: str, height: int) -> Image:
    """The label in black on white, as high as a row."""
    from PIL import Image as Canvas
    from PIL import ImageDraw

    canvas = Canvas.new("RGB", (88, height), "white")
    ImageDraw.Draw(canvas).text((6, height // 2 - 7), label[:14], fill="black", font_size=13)
    return np.asarray(canvas)


def _strip(files: list[Path], columns: int, tile: int) -> Image:
    chosen = [files[index * len(files) // columns] for index in range(min(columns, len(files)))]
    tiles = [_tile(file, tile) for file in chosen]
    blank = np.full((tile, tile, 3), 255, np.uint8)
    return np.concatenate([*tiles, *[blank] * (columns - len(tiles))], axis=1)

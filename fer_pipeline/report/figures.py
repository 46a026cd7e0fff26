"""Figures of a page: small enough for a phone, drawn as SVG, told in words beside the picture."""

from collections.abc import Mapping, Sequence

import numpy as np

from fer_pipeline.evaluation.scores import ReliabilityBin
from fer_pipeline.report.pictures import Picture, embed_figure
from fer_pipeline.report.plots import new_figure

WIDTH, HEIGHT = 4.4, 2.9  # inches: text of 10 points stays readable on a screen of 360 px
COLOURS = ("#3b7dd8", "#d97706", "#2f9e63", "#c2408c", "#7a5fd0", "#0891a3", "#b45309", "#64748b")
STYLES = ("-", "--", ":", "-.")


def draw_curves(history: Sequence[dict[str, float]]) -> list[Picture]:
    """Loss and accuracy per epoch, of training and validation."""
    pictures = []
    epochs = [row["epoch"] for row in history]
    for name in ("loss", "accuracy"):
        with new_figure(WIDTH, HEIGHT) as figure:
            axis = figure.subplots()
            mark = "o" if len(epochs) == 1 else None
            axis.plot(
                epochs, [row[f"train_{name}"] for row in history], marker=mark, color=COLOURS[1], label="training"
            )
            axis.plot(
                epochs, [row[f"val_{name}"] for row in history], marker=mark, color=COLOURS[0], label="validation"
            )
            axis.set(xlabel="epoch", ylabel=name)
            axis.grid(alpha=0.3)
            axis.legend(frameon=False)
            last = history[-1]
            told = f"{name} over {len(epochs)} epochs: training ends at {last[f'train_{name}']:.3f}, "
            pictures.append(embed_figure(figure, f"{told}validation at {last[f'val_{name}']:.3f}", name))
    return pictures


def draw_reliability(bins: Sequence[ReliabilityBin]) -> Picture:
    """Reliability diagram of the bins that hold images: accuracy against mean confidence."""
    with new_figure(WIDTH, HEIGHT) as figure:
        axis = figure.subplots()
        axis.plot([0, 1], [0, 1], color="#000000", linewidth=1, linestyle="--", label="calibrated")
        filled = [(one.confidence or 0, one.accuracy or 0, one.count) for one in bins if one.count]
        total = sum(count for *_, count in filled)
        confidences, accuracies = [one for one, *_ in filled], [one for _, one, _ in filled]
        axis.plot(confidences, accuracies, color=COLOURS[0], linewidth=1)
        sizes = [12 + 220 * count / total for *_, count in filled]
        axis.scatter(confidences, accuracies, s=sizes, color=COLOURS[0], zorder=3)
        axis.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1.02), ylim=(0, 1.04))
        axis.grid(alpha=0.3)
        axis.legend(frameon=False, loc="lower right")
        parts = (f"{count} images of {one:.0%} confidence, {right:.0%} right" for one, right, count in filled)
        return embed_figure(figure, f"Reliability: {'; '.join(parts)}", "reliability")


def draw_sizes(values: Mapping[str, Sequence[float]], name: str) -> Picture:
    """Histogram of lengths in pixels, one line a class, on a logarithmic axis."""
    with new_figure(WIDTH, HEIGHT) as figure:
        axis = figure.subplots()
        everything = np.concatenate([np.asarray(one, dtype=float) for one in values.values()])
        low, high = max(1.0, float(everything.min()) / 1.05), float(everything.max()) * 1.05
        count = min(25, max(8, round(1.5 * np.sqrt(len(everything) / len(values)))))  # few images make a jagged line
        edges = np.geomspace(low, max(high, low * 1.2), count)
        for place, (label, lengths) in enumerate(values.items()):
            shares = np.histogram(lengths, edges)[0] / max(1, len(lengths))
            colour, style = COLOURS[place % len(COLOURS)], STYLES[place // len(COLOURS) % len(STYLES)]
            axis.stairs(shares, edges, label=_plain(label), color=colour, linestyle=style, linewidth=1.5)
        axis.set_xscale("log")
        ticks = [
            tick for tick in (10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 750, 1000, 1500, 2500) if low < tick < high
        ]
        chosen = ticks[:: max(1, -(-len(ticks) // 6))]
        axis.set_xticks(chosen, [str(tick) for tick in chosen])
        axis.minorticks_off()
        axis.set(xlabel=f"{name}, pixels", ylabel="share of the class")
        axis.grid(alpha=0.3)
        if len(values) <= len(COLOURS):
            axis.legend(frameon=False, fontsize=9)
        return embed_figure(figure, f"{name} in pixels, from {low * 1.05:.0f} to {high / 1.05:.0f}, by class", name)


def _plain(label: str) -> str:
    """A label as matplotlib takes it: short, and with a dollar sign that opens no formula."""
    return (label if len(label) <= 16 else f"{label[:15]}…").replace("$", r"\$").lstrip("_") or "?"

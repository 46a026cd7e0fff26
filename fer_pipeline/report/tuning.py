"""Plot a search: the accuracy of each trial, against its number and every setting."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_pipeline.report.plots import new_figure, save

if TYPE_CHECKING:
    from fer_pipeline.training.tune import Trial

COLOURS = {"complete": "#3b7dd8", "pruned": "#c8c8c8"}
LOGARITHMIC = {"learning_rate", "weight_decay"}


def plot_trials(trials: "Sequence[Trial]", best: int, given: dict[str, Any], path: Path) -> None:
    """Validation accuracy by number and by every setting; grey: pruned, star: best, ring: the given settings."""
    names = ["trial", *given]
    columns = 4
    lines = -(-len(names) // columns)
    with new_figure(11, 2.3 * lines + 0.3) as figure:
        axes = figure.subplots(lines, columns, sharey=True, squeeze=False).ravel()
        for place, (axis, name) in enumerate(zip(axes, names, strict=False)):
            values = [one.number + 1 if name == "trial" else (one.settings or given)[name] for one in trials]
            shown = [str(value) for value in values] if _is_choice(name, values) else values
            order = [
                index for _, index in sorted(zip(values, range(len(values)), strict=True))
            ]  # choices in their order
            _scatter(axis, trials, shown, order, best)
            axis.set_xlabel(name)
            axis.grid(alpha=0.3)
            if name in LOGARITHMIC:
                axis.set_xscale("log")
                axis.minorticks_off()
            if name == "trial":
                axis.locator_params(axis="x", integer=True)
            if place % columns == 0:
                axis.set_ylabel("validation accuracy")
        for axis in axes[len(names) :]:
            axis.set_axis_off()
        said = "ring: as given\nstar: the best\ngrey: pruned"
        axes[-1].text(0.1, 0.5, said, va="center", transform=axes[-1].transAxes)
        save(figure, path)


def _is_choice(name: str, values: list[Any]) -> bool:
    return name in {"size", "mixup"} or isinstance(values[0], str)


def _scatter(axis: Any, trials: "Sequence[Trial]", values: Sequence[Any], order: list[int], best: int) -> None:
    accuracies = [trials[index].accuracy for index in order]
    colours = [COLOURS[trials[index].state] for index in order]
    axis.scatter([values[index] for index in order], accuracies, c=colours, s=22)
    axis.scatter([values[0]], [trials[0].accuracy], facecolors="none", edgecolors="black", s=70)
    place = next(index for index, one in enumerate(trials) if one.number == best)
    axis.scatter([values[place]], [trials[place].accuracy], marker="*", c="#d8543b", s=110)

"""Warnings about data and scores, as sentences, each from something that was counted."""

from collections import Counter
from collections.abc import Mapping

from fer_pipeline.console import counted
from fer_pipeline.evaluation.scores import Leakage, Metrics, SourceScore

FEW_IMAGES = 50  # of a class, in all
FEW_TESTED = 30  # of a class, in the part measured on
WIDE = 0.10  # width of an interval that is too uncertain
LOPSIDED = 5


def warn_of_sources(counts: Mapping[str, Counter[str]]) -> list[str]:
    """Classes that come from one source alone; `counts` holds the images of each source by class."""
    sources = sorted({source for one in counts.values() for source in one})
    if len(sources) == 1 and counts:
        return [f"Every image comes from one source ({sources[0]}): this data cannot show how a model does on another."]
    alone = {label: next(iter(one)) for label, one in counts.items() if len(one) == 1}
    return [
        f"Every image of {label} comes from {source}: a model may learn the source in place of the expression."
        for label, source in alone.items()
    ]


def warn_of_counts(counts: Mapping[str, int]) -> list[str]:
    """Small classes, and classes of very different sizes."""
    few = [f"{label} ({count})" for label, count in counts.items() if count < FEW_IMAGES]
    warnings = [f"Few images, training and test together: {', '.join(few)}."] if few else []
    if counts and max(counts.values()) >= LOPSIDED * max(1, min(counts.values())):
        most, least = max(counts, key=lambda label: counts[label]), min(counts, key=lambda label: counts[label])
        warnings.append(f"{most} has {counts[most] / max(1, counts[least]):.0f} times as many images as {least}.")
    return warnings


def warn_of_metrics(metrics: Metrics) -> list[str]:
    """Warnings about a measurement, the most serious first."""
    leakage = [] if metrics.leakage is None else _warn_of_leakage(metrics.leakage)
    return [*leakage, *warn_of_guessing(metrics), *_warn_of_size(metrics), *_warn_of_sources(metrics.per_source)]


def warn_of_guessing(metrics: Metrics) -> list[str]:
    """An accuracy that is not significantly above that of always predicting the most frequent class."""
    label = max(metrics.per_class, key=lambda name: metrics.per_class[name].support)
    share = metrics.per_class[label].support / max(1, metrics.count)
    if share == 1 and len(metrics.per_class) > 1:
        return [f"Only {label} was measured: this is its recall, and says nothing about what else is called {label}."]
    if metrics.accuracy_ci95[0] > share:
        return []
    if metrics.accuracy > share:
        return [
            f"Perhaps no better than guessing: always predicting {label} is right for {share:.1%}, "
            f"within the interval. Measure on more images, or train longer."
        ]
    return [
        f"No better than guessing: always predicting {label} is right for {share:.1%}. Train longer, or on more data."
    ]


def _warn_of_leakage(leakage: Leakage) -> list[str]:
    if not leakage.checked:
        return [f"The test part was not checked for copies of training images: {leakage.reason}."]
    if not leakage.images:
        return []
    copies = f"{leakage.images} of the images measured on ({leakage.share:.1%}) are copies of training images"
    without = leakage.without
    return [f"{copies}; without them accuracy is {without.accuracy:.1%}." if without else f"{copies}."]


def _warn_of_size(metrics: Metrics) -> list[str]:
    low, high = metrics.accuracy_ci95
    warnings = []
    if high - low > WIDE:
        wide = f"the true accuracy may lie anywhere in {100 * (high - low):.0f} points"
        warnings.append(f"Measured on {counted(metrics.count, 'image')}: {wide}, from {low:.1%} to {high:.1%}.")
    few = [f"{label} ({one.support})" for label, one in metrics.per_class.items() if one.support < FEW_TESTED]
    if few:
        unreliable = f"scores of a class are unreliable below about {FEW_TESTED}"
        warnings.append(f"Few test images of {', '.join(few)}: {unreliable}.")
    return warnings


def _warn_of_sources(sources: Mapping[str, SourceScore]) -> list[str]:
    """A source on which the model is significantly worse than on another."""
    if len(sources) < 2:
        return []
    worst = min(sources, key=lambda name: sources[name].accuracy_ci95[1])
    best = max(sources, key=lambda name: sources[name].accuracy_ci95[0])
    if sources[worst].accuracy_ci95[1] >= sources[best].accuracy_ci95[0]:
        return []
    figures = f"{sources[worst].accuracy:.1%} on {worst}, {sources[best].accuracy:.1%} on {best}"
    return [f"Accuracy depends on the source by more than chance: {figures}."]

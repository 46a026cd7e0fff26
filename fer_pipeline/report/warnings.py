"""What a reader must know before believing a figure: sentences, each from something that was counted."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

FEW_IMAGES = 50  # of a class, in all
FEW_TESTED = 30  # of a class, in the part measured on
WIDE = 0.10  # width of an interval that leaves little to say
LOPSIDED = 5


def caution_sources(counts: Mapping[str, Counter[str]]) -> list[str]:
    """Classes that come from one source alone; `counts` holds the images of each source by class."""
    sources = sorted({source for one in counts.values() for source in one})
    if len(sources) == 1 and counts:
        return [f"Every image comes from one source ({sources[0]}): nothing here tells how a model does on another."]
    alone = {label: next(iter(one)) for label, one in counts.items() if len(one) == 1}
    return [
        f"Every image of {label} comes from {source}: a model may learn the source in place of the expression."
        for label, source in alone.items()
    ]


def caution_counts(counts: Mapping[str, int]) -> list[str]:
    """Small classes, and classes of very different sizes."""
    few = [f"{label} ({count})" for label, count in counts.items() if count < FEW_IMAGES]
    said = [f"Few images, training and test together: {', '.join(few)}."] if few else []
    if counts and max(counts.values()) >= LOPSIDED * max(1, min(counts.values())):
        most, least = max(counts, key=lambda label: counts[label]), min(counts, key=lambda label: counts[label])
        said.append(f"{most} has {counts[most] / max(1, counts[least]):.0f} times as many images as {least}.")
    return said


def caution_run(metrics: Mapping[str, Any]) -> list[str]:
    """What `metrics.json` says against its own figures, the gravest first."""
    return [*_leakage(metrics.get("leakage")), *warn_of_guessing(metrics), *_size(metrics), *_spread(metrics)]


def warn_of_guessing(metrics: Mapping[str, Any]) -> list[str]:
    """An accuracy that whoever always says the commonest class may have too."""
    common = max(metrics["per_class"], key=lambda label: metrics["per_class"][label]["support"])
    share = metrics["per_class"][common]["support"] / max(1, metrics["count"])
    if metrics["accuracy_ci95"][0] > share:
        return []
    return [
        f"No better than guessing: whoever always says {common} is right for {share:.1%}. Train longer, or on more."
    ]


def _leakage(leakage: Any) -> list[str]:
    if not isinstance(leakage, dict):
        return []
    if not leakage.get("checked"):
        return [f"Nobody looked for copies of training images in the test part: {leakage.get('reason', 'unknown')}."]
    if not leakage.get("images"):
        return []
    said = (
        f"{leakage['images']} of the images measured on ({leakage.get('share', 0):.1%}) are copies of training images"
    )
    without = leakage.get("without")
    return [f"{said}; without them accuracy is {without['accuracy']:.1%}." if without else f"{said}."]


def _size(metrics: Mapping[str, Any]) -> list[str]:
    low, high = metrics["accuracy_ci95"]
    said = []
    if high - low > WIDE:
        wide = f"the true accuracy may lie anywhere in {100 * (high - low):.0f} points"
        said.append(f"Measured on {metrics['count']} images: {wide}, from {low:.1%} to {high:.1%}.")
    few = [f"{label} ({one['support']})" for label, one in metrics["per_class"].items() if one["support"] < FEW_TESTED]
    if few:
        said.append(f"Few test images of {', '.join(few)}: the figures of a class are luck below {FEW_TESTED} or so.")
    return said


def _spread(metrics: Mapping[str, Any]) -> list[str]:
    """A source on which the model is worse than on another by more than chance."""
    sources = metrics.get("per_source", {})
    if len(sources) < 2:
        return []
    worst = min(sources, key=lambda name: sources[name]["accuracy_ci95"][1])
    best = max(sources, key=lambda name: sources[name]["accuracy_ci95"][0])
    if sources[worst]["accuracy_ci95"][1] >= sources[best]["accuracy_ci95"][0]:
        return []
    figures = f"{sources[worst]['accuracy']:.1%} on {worst}, {sources[best]['accuracy']:.1%} on {best}"
    return [f"Accuracy depends on the source by more than chance: {figures}."]

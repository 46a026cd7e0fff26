"""The findings of an audit in sentences."""

from fer_pipeline.evaluation.bias import CLOSE, AttributeBias, Bias
from fer_pipeline.evaluation.image_attributes import FILE_ATTRIBUTES, LIGHT_ATTRIBUTES

NAMES = FILE_ATTRIBUTES | LIGHT_ATTRIBUTES
RISK = "A network can learn that in place of the expression"
COLLECT = "or record every class before one camera with `fer collect`"
TRUST = "Trust only scores on a source it was not trained on."


def format_bias(bias: Bias) -> list[str]:
    """The alarms, or a sentence that there are none, then hints."""
    alarms = [
        f"Class {label} comes from one source only ({source}): a model may learn the source in place of the expression."
        for label, source in bias.single.items()
    ]
    alarms += _format_classes(_by_class(bias, of_file=True))
    alarms += [_format_together(bias)] if _is_joint_alarm(bias) and not alarms else []
    hints = _format_classes(_by_class(bias, of_file=False))
    hints = [f"Hint, since the expression may do it: {' '.join(hints)}"] if hints else []
    return [
        *([*alarms, _format_remedy(list(bias.single))] if alarms else [_format_quiet(bias)]),
        *hints,
        *_format_sources(bias),
    ]


def _format_remedy(single: list[str]) -> str:
    """What works: without new photos no training can part a class from its only source."""
    if not single:
        return f"{RISK}: bring photos of every class from the same sources, {COLLECT}. {TRUST}"
    named = " and ".join(filter(None, (", ".join(single[:-1]), single[-1])))
    return (
        f"{RISK}, and no setting cures it: bring photos of {named} from the other classes' sources, {COLLECT}. {TRUST}"
    )


def _by_class(bias: Bias, of_file: bool) -> list[list[AttributeBias]]:
    """The attributes above the limit by class, the best predicted class first."""
    clear = [one for one in bias.attributes if one.of_file == of_file and one.is_clear(bias.limit)]
    return [[one for one in clear if one.label == label] for label in dict.fromkeys(one.label for one in clear)]


def _format_classes(classes: list[list[AttributeBias]]) -> list[str]:
    """A full sentence for the best predicted class, and one for the others, which are often its complement."""
    others = ", ".join(
        f"{found[0].label} by {NAMES[found[0].attribute]} ({found[0].balanced:.1%})" for found in classes[1:]
    )
    return [_format_class(found) for found in classes[:1]] + ([f"With less certainty: {others}."] if others else [])


def _format_class(found: list[AttributeBias]) -> str:
    """A sentence for the attribute that predicts a class best, and the others that predict it too."""
    close = [one for one in found if one.balanced > found[0].balanced - CLOSE]
    best = min(close, key=lambda one: list(NAMES).index(one.attribute))
    others = [NAMES[one.attribute] for one in found if one is not best]
    low, high = best.ci95
    also = f" {_sentence(others)} it too." if others else ""
    return (
        f"{best.label} is predicted by {NAMES[best.attribute]} alone: right for {best.accuracy:.1%} of the images "
        f"(majority class: {best.majority:.1%}), balanced accuracy {best.balanced:.1%} "
        f"(95 %: {low:.1%} to {high:.1%}, chance 50 %).{also}"
    )


def _sentence(names: list[str]) -> str:
    """Names and the verb after them, `Image height and pixel count predict`."""
    row = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{row[0].upper()}{row[1:]} {'predicts' if len(names) == 1 else 'predict'}"


def _is_joint_alarm(bias: Bias) -> bool:
    return any(part.of_file and part.is_clear(bias.limit) for part in bias.together)


def _format_together(bias: Bias) -> str:
    part = next(part for part in bias.together if part.of_file)
    return (
        f"The label is predicted by all attributes of the files together, though by none alone: balanced accuracy "
        f"{part.balanced:.1%} (95 %: {part.ci95[0]:.1%} to {part.ci95[1]:.1%}, chance {part.chance:.1%})."
    )


def _format_quiet(bias: Bias) -> str:
    best = next((one for one in bias.attributes if one.of_file), None)
    if best is None:
        return "The files are alike in size, format and compression: nothing in them can predict the label."
    return (
        f"Nothing in the files predicts the label: {NAMES[best.attribute]} comes closest, with a balanced accuracy of "
        f"{best.balanced:.1%} for {best.label} (95 %: {best.ci95[0]:.1%} to {best.ci95[1]:.1%}, chance 50 %)."
    )


def _format_sources(bias: Bias) -> list[str]:
    if bias.sources > 1:
        return []
    return ["All images come from one source: they cannot show how a model does on another."]

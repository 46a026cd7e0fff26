"""What an audit found, in plain sentences."""

from fer_pipeline.evaluation.bias import CLOSE, Bias, Clue
from fer_pipeline.evaluation.image_attributes import FILE_ATTRIBUTES, LIGHT_ATTRIBUTES

NAMES = FILE_ATTRIBUTES | LIGHT_ATTRIBUTES
REMEDY = (
    "A network can learn that in place of the expression: gather every class from the same sources, "
    "and believe only what is measured on a source it was not trained on."
)


def format_bias(bias: Bias) -> list[str]:
    """The alarms, or that there are none; then hints."""
    alarms = [
        f"Class {label} comes from one source only ({source}): no model can be told from its camera."
        for label, source in bias.single.items()
    ]
    alarms += _format_classes(_by_class(bias, of_file=True))
    alarms += [_format_together(bias)] if _is_joint_alarm(bias) and not alarms else []
    hints = _format_classes(_by_class(bias, of_file=False))
    hints = [f"Hint, since the expression may do it: {' '.join(hints)}"] if hints else []
    return [*([*alarms, REMEDY] if alarms else [_format_quiet(bias)]), *hints, *_format_sources(bias)]


def _by_class(bias: Bias, of_file: bool) -> list[list[Clue]]:
    """The clear clues of each class that has some, the class that is told best first."""
    clear = [clue for clue in bias.clues if clue.of_file == of_file and clue.is_clear(bias.limit)]
    return [[clue for clue in clear if clue.label == label] for label in dict.fromkeys(clue.label for clue in clear)]


def _format_classes(classes: list[list[Clue]]) -> list[str]:
    """A full sentence for the class that is told best, and one for all others: they are often its other side."""
    others = ", ".join(
        f"{clues[0].label} by {NAMES[clues[0].attribute]} ({clues[0].balanced:.1%})" for clues in classes[1:]
    )
    return [_format_class(clues) for clues in classes[:1]] + ([f"With less certainty: {others}."] if others else [])


def _format_class(clues: list[Clue]) -> str:
    """The plainest of the attributes that tell a class best, and which others tell it too."""
    close = [clue for clue in clues if clue.balanced > clues[0].balanced - CLOSE]
    best = min(close, key=lambda clue: list(NAMES).index(clue.attribute))
    others = [NAMES[clue.attribute] for clue in clues if clue is not best]
    low, high = best.ci95
    also = f" {_sentence(others)} it too." if others else ""
    return (
        f"{best.label} is told by {NAMES[best.attribute]} alone: right for {best.accuracy:.1%} of the images "
        f"(always the commoner answer: {best.commoner:.1%}), balanced accuracy {best.balanced:.1%} "
        f"(95 %: {low:.1%} to {high:.1%}, chance 50 %).{also}"
    )


def _sentence(names: list[str]) -> str:
    """Names in a row and the verb after them, `Image height and pixel count tell`."""
    row = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{row[0].upper()}{row[1:]} {'tells' if len(names) == 1 else 'tell'}"


def _is_joint_alarm(bias: Bias) -> bool:
    return any(part.of_file and part.is_clear(bias.limit) for part in bias.together)


def _format_together(bias: Bias) -> str:
    part = next(part for part in bias.together if part.of_file)
    return (
        f"The label is told by attributes of the files together, if by none alone: balanced accuracy "
        f"{part.balanced:.1%} (95 %: {part.ci95[0]:.1%} to {part.ci95[1]:.1%}, chance {part.chance:.1%})."
    )


def _format_quiet(bias: Bias) -> str:
    best = next((clue for clue in bias.clues if clue.of_file), None)
    if best is None:
        return "The files are alike in size, format and compression: nothing in them can tell the label."
    return (
        f"Nothing in the files tells the label: {NAMES[best.attribute]} comes closest, with a balanced accuracy of "
        f"{best.balanced:.1%} for {best.label} (95 %: {best.ci95[0]:.1%} to {best.ci95[1]:.1%}, chance 50 %)."
    )


def _format_sources(bias: Bias) -> list[str]:
    if bias.sources > 1:
        return []
    return ["All images are marked as one source: how a model does on another cannot be told from them."]

"""The page of an audit: what tells the label, the suspect images beside the label they might have, the figures."""

from pathlib import Path
from typing import Any

from fer_pipeline.evaluation.audit import Audit, Suspect, photo_of
from fer_pipeline.evaluation.bias import Clue
from fer_pipeline.evaluation.image_attributes import FILE_ATTRIBUTES, LIGHT_ATTRIBUTES
from fer_pipeline.report.pages import write_page
from fer_pipeline.report.pictures import Picture, embed_file

PAGE = "audit.html"
SECTIONS = (("attributes", "What tells the label"), ("suspects", "Suspect labels"), ("figures", "Figures"))


def write_audit_page(audit: Audit, shown: int) -> Path:
    """Write `audit.html`, one self-contained file with `shown` suspects a class."""
    labels = audit.figures["labels"]
    path = audit.folder / PAGE
    write_page(
        path,
        "audit.html",
        title=f"Audit of {audit.data}",
        sections=SECTIONS,
        audit=audit,
        alarm=audit.bias.is_alarming,
        bars=[_bar(clue, audit.bias.limit) for clue in audit.bias.clues],
        limit=audit.bias.limit,
        classes=[(label, _pictures(audit, label, shown)) for label in labels],
        issues={label: _count_issues(audit, label) for label in labels},
    )
    return path


def _bar(clue: Clue, limit: float) -> dict[str, Any]:
    """A line of the table; the bar starts at chance."""
    return {
        "attribute": (FILE_ATTRIBUTES | LIGHT_ATTRIBUTES)[clue.attribute],
        "kind": "file" if clue.of_file else "light",
        "label": clue.label,
        "balanced": clue.balanced,
        "ci95": clue.ci95,
        "width": round(max(0.0, 2 * clue.balanced - 1) * 100),
        "verdict": ("alarm" if clue.of_file else "hint") if clue.is_clear(limit) else "",
    }


def _pictures(audit: Audit, label: str, shown: int) -> list[Picture]:
    """The images of a class that the judges would call something else, the most suspect first."""
    wrong = [one for one in audit.suspects if one.row.label == label and one.suggested != label]
    return [_picture(audit.data, one) for one in wrong[:shown]]


def _picture(data: Path, one: Suspect) -> Picture:
    lines = (f"{one.row.label} → {one.suggested}", f"{one.quality:.0%} sure of its label", photo_of(one.row))
    return embed_file(data / one.row.path, one.row.path, lines, side=112)


def _count_issues(audit: Audit, label: str) -> int:
    return sum(one.is_issue for one in audit.suspects if one.row.label == label)

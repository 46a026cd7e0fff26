"""The page of an audit: what predicts the label, suspect labels, scores of the label models."""

from pathlib import Path
from typing import Any

from fer_pipeline.evaluation.audit import Audit, Suspect, photo_of
from fer_pipeline.evaluation.bias import AttributeBias
from fer_pipeline.evaluation.image_attributes import FILE_ATTRIBUTES, LIGHT_ATTRIBUTES
from fer_pipeline.report.pages import write_page
from fer_pipeline.report.pictures import Picture, embed_file

PAGE = "audit.html"
SECTIONS = (("attributes", "What predicts the label"), ("suspects", "Suspect labels"), ("scores", "Scores"))


def write_audit_page(audit: Audit, shown: int) -> Path:
    """Write `audit.html`, one self-contained file with `shown` suspects a class."""
    labels = audit.scores.labels
    path = audit.folder / PAGE
    write_page(
        path,
        "audit.html",
        title=f"Audit of {audit.data}",
        sections=SECTIONS,
        audit=audit,
        alarm=audit.bias.is_alarming,
        bars=[_bar(one, audit.bias.limit) for one in audit.bias.attributes],
        limit=audit.bias.limit,
        classes=[(label, _pictures(audit, label, shown)) for label in labels],
        issues={label: _count_issues(audit, label) for label in labels},
    )
    return path


def _bar(one: AttributeBias, limit: float) -> dict[str, Any]:
    """A line of the table, whose bar starts at chance."""
    return {
        "attribute": (FILE_ATTRIBUTES | LIGHT_ATTRIBUTES)[one.attribute],
        "kind": "file" if one.of_file else "light",
        "label": one.label,
        "balanced": one.balanced,
        "ci95": one.ci95,
        "width": round(max(0.0, 2 * one.balanced - 1) * 100),
        "verdict": ("alarm" if one.of_file else "hint") if one.is_clear(limit) else "",
    }


def _pictures(audit: Audit, label: str, shown: int) -> list[Picture]:
    """The images of a class for which another label is suggested, the most suspect first."""
    wrong = [one for one in audit.suspects if one.row.label == label and one.suggested != label]
    return [_picture(audit.data, one) for one in wrong[:shown]]


def _picture(data: Path, one: Suspect) -> Picture:
    lines = (f"{one.row.label} → {one.suggested}", f"probability of its label {one.quality:.0%}", photo_of(one.row))
    return embed_file(data / one.row.path, one.row.path, lines, side=112)


def _count_issues(audit: Audit, label: str) -> int:
    return sum(one.is_issue for one in audit.suspects if one.row.label == label)

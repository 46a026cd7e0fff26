"""What people decided by eye (`fer review`), put into effect when the crops are parted."""

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from fer_pipeline.config.schema import FOLDERS, CropConfig, Detector, FilterConfig, SplitConfig
from fer_pipeline.console import progress
from fer_pipeline.dataset.decisions import BROUGHT, Decision, image_of, read_decisions
from fer_pipeline.dataset.provenance import read_provenance, settings_of, stages_before
from fer_pipeline.dataset.rows import MANIFEST, Row, Status, iter_rows, kept_rows
from fer_pipeline.errors import InputError
from fer_pipeline.stages.crop import crop_faces, find_models
from fer_pipeline.stages.runner import apply_outcome, process_one
from fer_pipeline.stages.stage import Drop, Stage, Verdict
from fer_pipeline.vision.detectors import to_list
from fer_pipeline.vision.image_io import Image
from fer_pipeline.vision.landmarks import detect_faces, load_detector
from fer_pipeline.vision.mouth_check import MISSING

REASON = "by_hand"
LOSERS = ("dedupe", "filter", "crop")  # the stages that drop photos which can be brought back


def correct(rows: Iterable[Row], decisions: dict[str, Decision]) -> list[Row]:
    """Drop and relabel as was decided; a moved row tells where it came from in `attributes.moved_from`."""
    return [_correct(row, decisions.get(image_of(row.path))) for row in rows]


def _correct(row: Row, decision: Decision | None) -> Row:
    if decision is None or row.status is not Status.KEPT:
        return row
    if decision.action == "drop":
        return row.dropped(REASON)
    if decision.action == "move" and decision.label != row.label:
        return row.replace(label=decision.label, attributes={**row.attributes, "moved_from": row.path})
    return row


def rename_moved(rows: list[Row]) -> list[Row]:
    """Move kept rows into the folder of their new class, where the same picture may lie already: then it is a copy."""
    taken = {row.path for row in rows if row.status is Status.KEPT and "moved_from" not in row.attributes}
    renamed = []
    for row in rows:
        if row.status is Status.KEPT and "moved_from" in row.attributes:
            path = f"{row.label}/{PurePosixPath(row.path).name}"
            row = row.dropped("copy", copy_of=path).replace(split=None) if path in taken else row.replace(path=path)  # noqa: PLW2901
            taken.add(path)
        renamed.append(row)
    return renamed


def origin_of(row: Row, config: SplitConfig, place: Path) -> Path:
    """Where the file of a split's row lies before it is there; `place` holds what was brought back."""
    folder = place if "brought_back" in row.attributes else config.input
    return folder / str(row.attributes.get("moved_from", row.path))


def bring_back(config: SplitConfig, place: Path) -> list[Row]:
    """Cut photos that stages dropped and people want, as the crop stage would have; the files go to `place`."""
    home = config.input.parent
    wanted = {image: one for image, one in read_decisions(home).items() if one.action in BROUGHT}
    if not wanted:
        return []
    missing = wanted.keys() - {image_of(row.path) for row in kept_rows(config.input)}
    folders = find_folders(config.input)
    lost = [row for row in _lost(folders) if image_of(row.path) in missing]
    if not lost:
        return []
    stage, cut = _cutter(config, folders, place)
    rows = []
    with progress("restore", len(lost)) as advance:
        for row in lost:
            decision = wanted[image_of(row.path)]  # of the photo, and so of every face in it
            revived = _revive(row, decision)
            crops = [apply_outcome(revived, outcome) for outcome in process_one(stage, cut, revived)]
            rows += [_correct(crop, decision) for crop in crops]
            advance(1)
    return rows


def find_folders(crops: Path) -> dict[str, Path]:
    """The finished stages beside some crops: of several that one stage made, the one these crops came through."""
    way = {str(provenance.get("stage")): provenance for provenance in stages_before(read_provenance(crops))}
    found: dict[str, tuple[tuple[bool, ...], Path]] = {}
    for folder in sorted(path for path in crops.parent.iterdir() if (path / MANIFEST).is_file()):
        provenance = read_provenance(folder)
        if provenance and "stage" in provenance:
            stage = str(provenance["stage"])
            told, usual = way.get(stage, {}), FOLDERS.get(stage, ("", ""))[1]
            same = provenance == told, provenance.get("settings") == told.get("settings"), folder.name == usual
            found[stage] = max(found.get(stage, (same, folder)), (same, folder))
    return {stage: folder for stage, (_, folder) in found.items()}


def _lost(folders: dict[str, Path]) -> Iterator[Row]:
    for stage in LOSERS:
        if stage in folders:
            yield from (row for row in iter_rows(folders[stage]) if row.status is Status.DROPPED)


def _revive(row: Row, decision: Decision) -> Row:
    """A dropped row as if it had come through, with the face that was drawn by hand if there is one."""
    attributes = {key: value for key, value in row.attributes.items() if key not in {"copy_of", "labels"}}
    attributes["brought_back"] = row.reason
    if decision.box is not None:
        attributes["faces"] = [[*decision.box, 1.0]]
    return row.replace(status=Status.KEPT, reason="", attributes=attributes)


def _cutter(config: SplitConfig, folders: dict[str, Path], place: Path) -> tuple[Stage[CropConfig], CropConfig]:
    """How the crops were cut, to cut more."""
    if "unify" not in folders:
        raise InputError(
            f"{config.input.parent} has no finished `unify`, from which to bring photos back: run it again"
        )
    places = {"input": folders["unify"], "output": place}
    detector = FilterConfig.model_validate((settings_of(config.input, "filter") or {}) | places)
    cut = find_cut(config.input, place).model_copy(update=places)
    find_models(cut)
    load_detector(detector)
    return Stage("crop", process_image=partial(_judge, detector), suffix=".png"), cut


def find_cut(crops: Path, output: Path) -> CropConfig:
    """The settings that the provenance of some crops tells."""
    settings = settings_of(crops, "crop") or {}
    try:
        return CropConfig.model_validate(settings | {"input": crops, "output": output})
    except ValidationError:
        raise InputError(
            f"{crops} was made by another version: pass --force to `fer crop`, which rebuilds it"
        ) from None


def _judge(detector: Detector, photo: Image, row: Row, config: CropConfig) -> Verdict:
    attributes: dict[str, Any] = {}
    if "faces" not in row.attributes:
        found = detect_faces(photo, detector)
        if not found:
            return Drop("no_face")
        attributes["faces"] = [to_list(face) for face in found]
    known = row.replace(attributes=row.attributes | attributes)
    reason = row.attributes.get("brought_back")
    changes: dict[str, Any] = {"faces": "largest"} if config.faces == "single" or reason in MISSING else {}
    if reason in {"no_face", *MISSING}:  # somebody has looked
        changes["mouth_check"] = False
    return crop_faces(photo, known, config.model_copy(update=changes))


def format_decisions(config: SplitConfig) -> str:
    """What people's decisions changed in a split, and how many could not, as one line; empty if nothing."""
    dropped, back, moved = 0, 0, Counter[str]()
    wanted = {image for image, one in read_decisions(config.input.parent).items() if one.action in BROUGHT}
    vain = Counter[str]()
    for row in iter_rows(config.output):
        dropped += row.reason == REASON
        image = image_of(str(row.attributes.get("moved_from", row.path)))
        if row.status is Status.KEPT:
            back += "brought_back" in row.attributes
            moved[str(row.label)] += "moved_from" in row.attributes
        elif image in wanted and "brought_back" in row.attributes:
            vain[row.reason] += 1
        wanted.discard(image)
    vain += Counter({"no such image": len(wanted)})
    told = [f"{dropped:,} dropped"] if dropped else []
    told += [f"{count:,} moved to {label}" for label, count in sorted(moved.items()) if count]
    told += [f"{back:,} brought back"] if back else []
    why = ", ".join(f"{reason} {count:,}" for reason, count in vain.most_common())
    return ", ".join([*told, *([f"{vain.total():,} without effect ({why})"] if vain else [])])

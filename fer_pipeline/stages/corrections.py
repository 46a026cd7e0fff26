"""What people decided by eye (`fer review`), put into effect when the crops are parted."""

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from fer_pipeline.config import FOLDERS, CropConfig, Detector, FilterConfig, SplitConfig
from fer_pipeline.console import progress
from fer_pipeline.decisions import BROUGHT, Decision, image_of, read_decisions
from fer_pipeline.errors import InputError
from fer_pipeline.faces import detect_faces, load_detector
from fer_pipeline.images import Image
from fer_pipeline.manifest import MANIFEST, Row, Status, iter_rows, kept_rows
from fer_pipeline.recipe import read_recipe, settings_of
from fer_pipeline.stages.crop import find_models, judge_crop
from fer_pipeline.stages.runner import judge_one
from fer_pipeline.stages.stage import JOINED, Drop, Stage, Verdict

REASON = "by_hand"
LOSERS = ("dedupe", "filter", "crop")  # the stages that drop photos which can be brought back


def correct(rows: Iterable[Row], decisions: dict[str, Decision]) -> list[Row]:
    """Drop and relabel as was decided; a moved row tells where it came from in `facts.moved_from`."""
    return [_correct(row, decisions.get(image_of(row.path))) for row in rows]


def _correct(row: Row, decision: Decision | None) -> Row:
    if decision is None or row.status is not Status.KEPT:
        return row
    if decision.action == "drop":
        return row.dropped(REASON)
    if decision.action == "move" and decision.label != row.label:
        return row.but(label=decision.label, facts={**row.facts, "moved_from": row.path})
    return row


def rename_moved(rows: list[Row]) -> list[Row]:
    """Move kept rows into the folder of their new class, where the same picture may lie already: then it is a copy."""
    taken = {row.path for row in rows if row.status is Status.KEPT and "moved_from" not in row.facts}
    renamed = []
    for row in rows:
        if row.status is Status.KEPT and "moved_from" in row.facts:
            path = f"{row.label}/{PurePosixPath(row.path).name}"
            row = row.dropped("copy", copy_of=path).but(split=None) if path in taken else row.but(path=path)  # noqa: PLW2901
            taken.add(path)
        renamed.append(row)
    return renamed


def origin_of(row: Row, config: SplitConfig) -> Path:
    """Where the file of a split's row lies before it is there."""
    folder = config.output / JOINED if "brought_back" in row.facts else config.input
    return folder / str(row.facts.get("moved_from", row.path))


def bring_back(config: SplitConfig) -> list[Row]:
    """Crops of the photos that stages dropped and people want: cut now, as the crop stage would have cut them."""
    home = config.input.parent
    wanted = {image: one for image, one in read_decisions(home).items() if one.action in BROUGHT}
    if not wanted:
        return []
    missing = wanted.keys() - {image_of(row.path) for row in kept_rows(config.input)}
    folders = find_folders(config.input)
    lost = [row for row in _lost(folders) if image_of(row.path) in missing]
    if not lost:
        return []
    stage, cut = _cutter(config, folders)
    rows = []
    with progress("restore", len(lost)) as advance:
        for row in lost:
            decision = wanted[image_of(row.path)]  # of the photo, and so of every face in it
            rows += [_correct(one, decision) for one in judge_one(stage, cut, _revive(row, decision))]
            advance(1)
    return rows


def find_folders(crops: Path) -> dict[str, Path]:
    """The finished stages beside some crops: of several that one stage made, the one these crops came through."""
    way = {str(recipe["stage"]): recipe for recipe in _way(read_recipe(crops))}
    found: dict[str, tuple[tuple[bool, ...], Path]] = {}
    for folder in sorted(path for path in crops.parent.iterdir() if (path / MANIFEST).is_file()):
        recipe = read_recipe(folder)
        if recipe and "stage" in recipe:
            stage = str(recipe["stage"])
            told, usual = way.get(stage, {}), FOLDERS.get(stage, ("", ""))[1]
            same = recipe == told, recipe.get("settings") == told.get("settings"), folder.name == usual
            found[stage] = max(found.get(stage, (same, folder)), (same, folder))
    return {stage: folder for stage, (_, folder) in found.items()}


def _way(recipe: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    while isinstance(recipe, dict):
        if "stage" in recipe:
            yield recipe
        recipe = recipe.get("upstream")


def _lost(folders: dict[str, Path]) -> Iterator[Row]:
    for stage in LOSERS:
        if stage in folders:
            yield from (row for row in iter_rows(folders[stage]) if row.status is Status.DROPPED)


def _revive(row: Row, decision: Decision) -> Row:
    """A dropped row as if it had come through, with the face that was drawn by hand if there is one."""
    facts = {key: value for key, value in row.facts.items() if key not in {"copy_of", "labels"}}
    facts["brought_back"] = row.reason
    if decision.box is not None:
        facts["faces"] = [[*decision.box, 1.0]]
    return row.but(status=Status.KEPT, reason="", facts=facts)


def _cutter(config: SplitConfig, folders: dict[str, Path]) -> tuple[Stage[CropConfig], CropConfig]:
    """How the crops were cut, to cut more."""
    if "unify" not in folders:
        raise InputError(
            f"{config.input.parent} has no finished `unify`, from which to bring photos back: run it again"
        )
    places = {"input": folders["unify"], "output": config.output / JOINED}
    detector = FilterConfig.model_validate((settings_of(config.input, "filter") or {}) | places)
    cut = find_cut(config.input, config.output / JOINED).model_copy(update=places)
    find_models(cut)
    load_detector(detector)
    return Stage("crop", judge=partial(_judge, detector), suffix=".png"), cut


def find_cut(crops: Path, output: Path) -> CropConfig:
    """The settings that the recipe of some crops tells."""
    settings = settings_of(crops, "crop") or {}
    try:
        return CropConfig.model_validate(settings | {"input": crops, "output": output})
    except ValidationError:
        raise InputError(f"{crops} was made by another version: `fer run` with --force makes it anew") from None


def _judge(detector: Detector, photo: Image, row: Row, config: CropConfig) -> Verdict:
    facts: dict[str, Any] = {}
    if "faces" not in row.facts:
        found = detect_faces(photo, detector)
        if not found:
            return Drop("no_face")
        facts["faces"] = [[*face.box, face.score] for face in found]
    known = row.but(facts=row.facts | facts)
    return judge_crop(photo, known, config.model_copy(update={"faces": "largest"} if config.faces == "single" else {}))


def tell_decisions(config: SplitConfig) -> str:
    """What people's decisions changed in a split, and how many could not, as one line; empty if nothing."""
    dropped, back, moved = 0, 0, Counter[str]()
    wanted = {image for image, one in read_decisions(config.input.parent).items() if one.action in BROUGHT}
    vain = Counter[str]()
    for row in iter_rows(config.output):
        dropped += row.reason == REASON
        image = image_of(str(row.facts.get("moved_from", row.path)))
        if row.status is Status.KEPT:
            back += "brought_back" in row.facts
            moved[str(row.label)] += "moved_from" in row.facts
        elif image in wanted and "brought_back" in row.facts:
            vain[row.reason] += 1
        wanted.discard(image)
    vain += Counter({"no such image": len(wanted)})
    told = [f"{dropped:,} dropped"] if dropped else []
    told += [f"{count:,} moved to {label}" for label, count in sorted(moved.items()) if count]
    told += [f"{back:,} brought back"] if back else []
    why = ", ".join(f"{reason} {count:,}" for reason, count in vain.most_common())
    return ", ".join([*told, *([f"{vain.total():,} without effect ({why})"] if vain else [])])

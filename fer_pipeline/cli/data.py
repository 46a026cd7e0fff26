"""The commands of the data: bring images in, clean them, part them, look at them by eye, follow one, take one out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fer_pipeline import console
from fer_pipeline.cli.app import (
    AllowHost,
    ConfigFile,
    Force,
    Host,
    Open,
    Overrides,
    Port,
    Workers,
    app,
    command,
    format_options,
    panel_of,
    print_event,
    read_config,
    read_config_instead,
    to_json,
)
from fer_pipeline.cli.completion import complete_run
from fer_pipeline.pipeline import available_cores, crawl_photos, make_stage, require_extra

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable, Sequence

    from fer_pipeline.config.schema import Config, Preprocessing
    from fer_pipeline.dataset.experiment import Experiment
    from fer_pipeline.sources.camera.capture_store import CaptureStore
    from fer_pipeline.sources.importers import Found

imports = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Bring existing images into the raw folder.\n\nExample: fer import folder photos",
)
app.add_typer(imports, name="import", rich_help_panel=panel_of("import"))

Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Raw folder to fill, as in data/mine/raw; default: the configuration's."),
]
What = Annotated[str, typer.Argument(metavar="PATH", help="Path as in predictions.csv, a file, a name, or a URL.")]
Of = Annotated[
    Path | None,
    typer.Option("--run", autocompletion=complete_run, help="Run whose tables name PATH, as in runs/sample."),
]

Link = Annotated[bool, typer.Option("--link", help="Hard-link files in place of copying, where the disk allows it.")]
Dry = Annotated[bool, typer.Option("--dry", "--dry-run", help="Only say what would be done.")]

# --- bring images in


@command("sample")
def sample(
    folder: Annotated[Path, typer.Argument(help="Where to draw it.")] = Path("data/sample/gallery"),
    per_label: Annotated[int, typer.Option(min=4, help="Photos per expression.")] = 48,
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws other faces.")] = 0,
) -> None:
    """Draw a gallery of faces with known mouths and landmarks.

    Example: fer sample faces --per-label 12
    """
    from fer_pipeline.sources.sample import draw_gallery

    drawn = draw_gallery(folder, per_label, seed)
    console.note(f"sample: {folder} is {'drawn' if drawn else 'there already, nothing to do'}")


@command("crawl")
def crawl(config: ConfigFile = None, set_: Overrides = None, force: Force = False) -> None:
    """Fetch photos for every class; a second run adds only what is new.

    Example: fer crawl --set crawl.limit=100
    """
    crawl_photos(read_config(config, set_), force=force, tell=print_event)


@imports.command("folder")
def import_folder(
    source: Annotated[Path, typer.Argument(help="Class folders at any depth, a flat folder, or one with a list.")],
    output: Output = None,
    config: ConfigFile = None,
    set_: Overrides = None,
    name: Annotated[str, typer.Option("--source", help="Name of the source; default: the folder's.")] = "",
    labels: Annotated[Path | None, typer.Option(help="List of files and labels: csv, tsv or blanks.")] = None,
    columns: Annotated[
        str | None, typer.Option(help="Columns of the list, by number or name: path=1,label=2,split=3,group=4.")
    ] = None,
    names: Annotated[str | None, typer.Option(help="What codes stand for: 1=surprise,2=fear, or a file.")] = None,
    match: Annotated[
        str | None, typer.Option(help="What a listed name is called on disk: '{stem}_aligned.jpg'.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Regular expression whose parenthesis, in a relative path, names the class.")
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="Regular expression whose parenthesis, in a file name, names the person.")
    ] = None,
    link: Link = False,
    dry: Dry = False,
) -> None:
    """Copy a folder of images, as people have them.

    Folders called train, test, val and the like are official parts. What was taken for what is said before anything is
    copied.

    Example: fer import folder photos --group '(.+)_[0-9]+'
    """
    from fer_pipeline.cli.tables import print_selection
    from fer_pipeline.sources.folders import Reading, select
    from fer_pipeline.sources.importers import check_apart

    raw = _choose_raw(output, config, set_)
    check_apart(source, raw)
    chosen = select(source, Reading(labels, columns, names, match, label, group))
    print_selection(chosen)
    if not dry:
        _bring(chosen.found, raw, name or source.resolve().name, link=link)


@imports.command("fer2013")
def import_fer2013(
    source: Annotated[Path, typer.Argument(help="fer2013.csv, icml_face_data.csv, a folder, or an archive of either.")],
    output: Output = None,
    config: ConfigFile = None,
    set_: Overrides = None,
    votes: Annotated[
        Path | None, typer.Option(help="Votes of FERPlus; default: fer2013new.csv beside the list, if there.")
    ] = None,
    dry: Dry = False,
) -> None:
    """Read FER2013 with its official parts.

    Example: fer import fer2013 fer2013.csv --config fer2013
    """
    from fer_pipeline.sources.fer2013 import find_fer2013

    _bring(find_fer2013(source, votes), _choose_raw(output, config, set_), "fer2013", dry=dry)


@imports.command("celeba")
def import_celeba(
    images: Annotated[Path, typer.Argument(help="Folder with 000001.jpg and so on.")],
    attributes: Annotated[Path, typer.Argument(help="list_attr_celeba.txt or .csv")],
    output: Output = None,
    config: ConfigFile = None,
    set_: Overrides = None,
    attribute: Annotated[str, typer.Option(help="Attribute that makes the two classes.")] = "Smiling",
    per_class: Annotated[int, typer.Option(min=2, help="Images per class.")] = 1000,
    partition: Annotated[
        Path | None, typer.Option(help="List of the official parts; default: list_eval_partition beside the list.")
    ] = None,
    dry: Dry = False,
) -> None:
    """Take images with and without an attribute.

    Example: fer import celeba img_align_celeba list_attr_celeba.txt --output data/smiles/raw
    """
    from fer_pipeline.sources.celeba import find_celeba

    raw = _choose_raw(output, config, set_)
    _bring(find_celeba(images, attributes, attribute, per_class, partition), raw, "celeba", dry=dry)


@imports.command("video")
def import_video(
    films: Annotated[list[Path], typer.Argument(help="Films, each in the folder of its class, or folders of films.")],
    output: Output = None,
    config: ConfigFile = None,
    set_: Overrides = None,
    every: Annotated[float, typer.Option(min=0.05, help="Seconds between frames.")] = 1.0,
    label: Annotated[str | None, typer.Option(help="Class of all films; default: the folder each lies in.")] = None,
) -> None:
    """Take frames out of films: sharp ones that differ; a split never parts a film.

    Example: fer import video films/smile/ann.mp4 films/neutral/ann.mp4 --every 0.5
    """
    from fer_pipeline.errors import InputError
    from fer_pipeline.sources.films import find_frames, list_films
    from fer_pipeline.sources.importers import import_images

    raw = _choose_raw(output, config, set_)
    found = False
    for name, frames in find_frames(list_films(films), every, label):
        found = True
        console.note(f"import: {name}: {_format_counts(import_images(frames, raw, name))}")
    if not found:
        raise InputError("import: no film could be read: convert them to .mp4")
    _print_classes(raw)


def _choose_raw(output: Path | None, config: str | None, overrides: list[str] | None) -> Path:
    """The raw folder that is named, else that of the configuration."""
    return output or read_config(config, overrides).crawl.output


def _bring(found: Iterable[Found], output: Path, name: str, *, link: bool = False, dry: bool = False) -> None:
    """Copy what was found into a raw folder; with `dry` only say what it is."""
    from fer_pipeline.sources.importers import import_images

    if dry:
        from fer_pipeline.cli.tables import print_selection
        from fer_pipeline.sources.folders import Selection

        print_selection(Selection(list(found)))
        return
    counts = import_images(found, output, name, link=link)
    console.note(f"import: {_format_counts(counts)} -> {output}")
    _print_classes(output)


def _format_counts(counts: Counter[str]) -> str:
    return ", ".join(f"{reason} {count:,}" for reason, count in counts.most_common() if count) or "nothing new"


def _print_classes(output: Path) -> None:
    """What the raw folder holds now, class by class: a wrong folder shows here, before a class is lost."""
    from collections import Counter

    from fer_pipeline.dataset.rows import UNLABELLED, kept_rows
    from fer_pipeline.errors import InputError

    labels = Counter(row.label or UNLABELLED for row in kept_rows(output))
    if not labels:
        raise InputError(f"{output}: holds no image yet: import a folder that has some (films: `fer import video`)")
    console.note(f"import: {output} holds {', '.join(f'{label} {count:,}' for label, count in sorted(labels.items()))}")
    if labels[UNLABELLED]:
        remedy = "name the folder above the class folders, or say where they stand by --labels or --label; then again"
        console.note(f"import: without a class: {console.counted(labels[UNLABELLED], 'image')}: {remedy}")


@command("collect")
def collect(
    data: Annotated[Path | None, typer.Argument(help="Data folder, as in data/mine; default: the config's.")] = None,
    config: ConfigFile = None,
    set_: Overrides = None,
    label: Annotated[
        list[str] | None, typer.Option(help="A class to collect; default: those the data have, else the config's.")
    ] = None,
    target: Annotated[int, typer.Option(min=1, max=10_000, help="Photos of each class a session.")] = 40,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    open_: Open = False,
    allow_host: AllowHost = None,
) -> None:
    """Collect photos with your own camera: hold a class's key.

    Example: fer collect --label smile --label neutral --open
    """
    require_extra("serve", "uvicorn", "websockets", "starlette")
    from fer_pipeline.config.loader import locate_file
    from fer_pipeline.sources.camera.app import make_app
    from fer_pipeline.sources.camera.capture_store import CaptureStore
    from fer_pipeline.sources.camera.session import SessionOptions, check_labels
    from fer_pipeline.sources.camera.target import find_labels, find_target
    from fer_pipeline.web.guard import new_key
    from fer_pipeline.web.server import listen, serve

    # A data folder that is named stands for itself; without one the configuration says where, if there is one.
    settings = read_config(config, set_) if config or (data is None and locate_file()) else None
    place = find_target(data, settings)
    labels = check_labels(label or find_labels(place))
    _check_models(place.preprocessing)
    bound = listen(host, port)
    with CaptureStore(place.raw) as store:
        options = SessionOptions(labels, target, place.preprocessing)
        serve(
            make_app(options, store, min(2, available_cores()), host, allow_host or (), new_key()),
            bound,
            "collect",
            open_page=open_,
        )
    _print_sessions(store)
    if sum(store.before.values()) + len(store.kept):
        _bring_along(place.experiment(), place.config, config, set_ or ())


def _check_models(preprocessing: Preprocessing) -> None:
    """Say what is missing before the page is up."""
    from fer_pipeline.vision.crop import load_models
    from fer_pipeline.vision.weights import LICENCE_NOTE

    load_models(preprocessing)
    if preprocessing.cut.needs_landmarks and preprocessing.cut.landmarks is None:
        console.note(f"collect: {LICENCE_NOTE}")


def _print_sessions(store: CaptureStore) -> None:
    """What is there now of the last session and of all."""
    if store.kept:
        told = ", ".join(f"{name} {count:,}" for name, count in sorted(store.counts.items()))
        console.note(f"collect: {store.session}: {told} -> {store.raw}")
    total = sum(store.before.values()) + len(store.kept)
    console.note(f"collect: photos of all sessions in {store.raw}: {total:,}")


def _bring_along(
    experiment: Experiment, settings: Config | None, path: str | None, overrides: Sequence[str] = ()
) -> None:
    """Bring the finished stages up to date with the new photos, and say what to do next."""
    from fer_pipeline.errors import FerError
    from fer_pipeline.pipeline import format_summary
    from fer_pipeline.stages.refresh import refresh

    name = experiment.raw.parent.name if experiment.raw else "NAME"
    told = format_options(path, overrides) if settings else f" --config YOUR.yaml --set name={name}"
    try:
        for summary in refresh(experiment):
            for text in format_summary(summary):
                console.note(text)
    except FerError as error:
        console.note(f"collect: {error}")
    if "split" not in experiment.folders:
        console.note(f"collect: next: fer run{told} --until split")
    run = str(settings.train.output) if settings else f"runs/{name}"
    console.note(f"collect: then fer train{told} --from {run}, or without --from where there is no model yet")


# --- clean them and part them


@command("unify")
def unify(config: ConfigFile = None, set_: Overrides = None, workers: Workers = None, force: Force = False) -> None:
    """Turn everything readable into upright RGB JPEG.

    Example: fer unify --workers 4
    """
    make_stage("unify", read_config(config, set_, workers), force=force, tell=print_event)


@command("dedupe")
def dedupe(config: ConfigFile = None, set_: Overrides = None, workers: Workers = None, force: Force = False) -> None:
    """Drop near-copies.

    Example: fer dedupe --set dedupe.distance=6
    """
    make_stage("dedupe", read_config(config, set_, workers), force=force, tell=print_event)


@command("filter")
def filter_(config: ConfigFile = None, set_: Overrides = None, workers: Workers = None, force: Force = False) -> None:
    """Drop photos without a face.

    Example: fer filter --set filter.detector=haar
    """
    make_stage("filter", read_config(config, set_, workers), force=force, tell=print_event)


@command("clean")
def clean(config: ConfigFile = None, set_: Overrides = None, workers: Workers = None, force: Force = False) -> None:
    """Unify, dedupe and filter in one go.

    Example: fer clean --config lips
    """
    settings = read_config(config, set_, workers)
    for name in ("unify", "dedupe", "filter"):
        make_stage(name, settings, force=force, tell=print_event)


@command("crop")
def crop(config: ConfigFile = None, set_: Overrides = None, workers: Workers = None, force: Force = False) -> None:
    """Cut out the lips or the face.

    Example: fer crop --set crop.margin=1.4
    """
    make_stage("crop", read_config(config, set_, workers), force=force, tell=print_event)


@command("split")
def split(config: ConfigFile = None, set_: Overrides = None, workers: Workers = None, force: Force = False) -> None:
    """Part the crops into train and test.

    Example: fer split --set split.test_share=0.2
    """
    make_stage("split", read_config(config, set_, workers), force=force, tell=print_event)


# --- look at them by eye, follow one, take one out


@command("review")
def review(
    path: Annotated[
        Path | None,
        typer.Argument(metavar="DATA", help="A data folder, as in data/lips; default: the configuration's."),
    ] = None,
    config: ConfigFile = None,
    set_: Overrides = None,
    run: Annotated[
        Path | None,
        typer.Option(
            "--run",
            autocompletion=complete_run,
            help="Run whose opinions are shown; default: runs/NAME, its audit, folds.",
        ),
    ] = None,
    host: Host = "127.0.0.1",
    port: Port = 8001,
    open_: Open = False,
    allow_host: AllowHost = None,
    by: Annotated[str, typer.Option(help="Name written beside each decision.")] = "",
) -> None:
    """Look through the images in the browser and correct them.

    Keep, drop, move to another class, bring back: decisions are kept in decisions.csv, and the next split heeds them.

    Example: fer review data/lips --open
    """
    from fer_pipeline.errors import UsageError

    if path is not None and config is not None:
        raise UsageError(f"{path}: --config names a data folder too: leave one of them out")
    require_extra("serve", "fastapi", "uvicorn")
    from fer_pipeline.review.app import make_app
    from fer_pipeline.review.session import ReviewSession
    from fer_pipeline.web.guard import new_key
    from fer_pipeline.web.server import listen, serve

    find, usual = _find(path) if path is not None else _named(config, set_)
    session = ReviewSession(find, run or usual, by)
    serve(make_app(session, host, allow_host or (), new_key()), listen(host, port), "review", open_page=open_)


def _find(path: Path) -> tuple[Callable[[], Experiment], Path]:
    """What finds the experiment of a data folder or of a stage's folder in it, and where its run would lie."""
    from fer_pipeline.dataset.experiment import find_stage_folder, of_home
    from fer_pipeline.errors import InputError

    if not path.is_dir():
        raise InputError(f"{path}: no such folder: name a data folder, as in data/lips")
    stage = find_stage_folder(path / "any")
    home = path if stage is None else stage.resolve().parent
    runs = [root / home.resolve().name for root in of_home(home).roots]
    return lambda: of_home(home), next((run for run in runs if run.is_dir()), Path("runs") / home.resolve().name)


def _named(config: str | None, set_: list[str] | None) -> tuple[Callable[[], Experiment], Path]:
    from fer_pipeline.dataset.experiment import of_config

    settings = read_config_instead(config, set_, "a data folder")
    return lambda: of_config(settings), settings.train.output


def _find_experiment(path: str, config: str | None, overrides: list[str] | None) -> Experiment | None:
    """The experiment of the configuration, unless the path itself leads to one."""
    from fer_pipeline.config.loader import locate_file
    from fer_pipeline.dataset.experiment import find_stage_folder, of_config

    if config is None and (locate_file() is None or find_stage_folder(Path(path) / "any") is not None):
        return None
    return of_config(read_config(config, overrides))


@command("trace")
def trace(
    path: What,
    run: Of = None,
    config: ConfigFile = None,
    set_: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object for each photo found.")] = False,
) -> None:
    """Follow a prediction, crop or photo back to its source.

    Example: fer trace test/smile/0123456789ab.png --run runs/sample
    """
    from fer_pipeline.cli.tables import draw_tree
    from fer_pipeline.lineage.find import find_photos
    from fer_pipeline.lineage.trace import trace as follow

    for photo in find_photos(path, _find_experiment(path, config, set_), run):
        found = follow(photo, run)
        if as_json:
            typer.echo(console.visible(to_json(found.as_dict())))
        else:
            for line in draw_tree(found):
                console.out.print(line)


@command("forget")
def forget(
    path: What,
    run: Of = None,
    config: ConfigFile = None,
    set_: Overrides = None,
    copies: Annotated[bool, typer.Option("--copies", help="Also the photos that look almost the same.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="All images that PATH means, if several; do not ask.")] = False,
    dry_run: Dry = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, for one image.")] = False,
) -> None:
    """Take an image out of every folder for good.

    Says which runs saw it. A folder means the images in it: then pass --all, or type their number when asked.

    Example: fer forget https://example.org/photo.jpg --dry-run
    """
    from fer_pipeline.lineage.forget import forget as take_out
    from fer_pipeline.lineage.forget import plan_forget

    plans = plan_forget(path, _find_experiment(path, config, set_), run, copies=copies)
    for plan in plans:
        for line in plan.describe(copies=copies):
            console.out.print(line)
    if dry_run:
        return
    count = sum(plan.images for plan in plans)
    if not all_ and (count > 1 or not yes):
        _ask(path, count, can_answer=not yes)
    for plan in plans:
        for line in take_out(plan):
            console.note(f"forget: {line}")
        console.note(f"forget: done; {plan.raw}/blocklist.jsonl keeps it from coming back")


def _ask(path: str, count: int, *, can_answer: bool) -> None:
    """Go on if the answer is yes, or the count of several images; where none can be given, the remedy is named."""
    from fer_pipeline.errors import UsageError

    if count > 1 and not can_answer:
        raise UsageError(f"forget: {path} means {count:,} images: pass --all for all of them, or name one")
    remedy = "--all" if count > 1 else "--yes"
    question = f"forget {count:,} images? Type {count} to go on" if count > 1 else "forget? [y/N]"
    try:
        answer = typer.prompt(question, default="", show_default=False).strip().lower()
    except typer.Abort:  # the end of a file, as in a script, or Ctrl-C
        raise UsageError(f"forget: no answer, nothing was removed: pass {remedy}, or --dry-run to look only") from None
    if answer != str(count) if count > 1 else answer not in {"y", "yes"}:
        console.note("forget: nothing was removed")
        raise typer.Exit(1)

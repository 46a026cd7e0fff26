"""The commands that bring in images from elsewhere than the web: drawn, a folder, a published data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fer_pipeline import console
from fer_pipeline.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fer_pipeline.sources.importers import Found

imports = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Bring existing images into a raw folder.\n\nExample: fer import folder photos --output data/mine/raw",
)
app.add_typer(imports, name="import")

Output = Annotated[Path, typer.Option("--output", "-o", help="Raw folder to fill, as in data/mine/raw.")]


@app.command()
def sample(
    folder: Annotated[Path, typer.Argument(help="Where to draw it.")] = Path("data/sample/gallery"),
    per_label: Annotated[int, typer.Option(min=4, help="Photos per expression.")] = 48,
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws other faces.")] = 0,
) -> None:
    """Draw a gallery of faces with known mouths and landmarks.  Example: fer sample faces --per-label 12"""
    from fer_pipeline.sources.sample import draw_gallery

    draw_gallery(folder, per_label, seed)
    console.note(f"sample: drawn in {folder}")


@imports.command("folder")
def import_folder(
    source: Annotated[Path, typer.Argument(help="Class folders, or a flat folder for unlabelled images.")],
    output: Output,
    name: Annotated[str, typer.Option("--source", help="Name of the source; default: the folder's.")] = "",
    group: Annotated[
        str | None, typer.Option(help="Regular expression whose parenthesis, in a file name, names the person.")
    ] = None,
) -> None:
    """Copy a folder of images.  Example: fer import folder photos --output data/mine/raw --group '(.+)_[0-9]+'"""
    from fer_pipeline.sources.importers import check_apart, find_in_folder

    check_apart(source, output)
    _bring(find_in_folder(source, group), output, name or source.resolve().name)


@imports.command("fer2013")
def import_fer2013(
    source: Annotated[Path, typer.Argument(help="fer2013.csv, a folder USAGE/CLASS, or its .tar.gz.")],
    output: Output,
) -> None:
    """Read FER2013 with its official parts.  Example: fer import fer2013 fer2013.csv --output data/fer2013/raw"""
    from fer_pipeline.sources.published import find_fer2013

    _bring(find_fer2013(source), output, "fer2013")


@imports.command("celeba")
def import_celeba(
    images: Annotated[Path, typer.Argument(help="Folder with 000001.jpg and so on.")],
    attributes: Annotated[Path, typer.Argument(help="list_attr_celeba.txt")],
    output: Output,
    attribute: Annotated[str, typer.Option(help="Attribute that makes the two classes.")] = "Smiling",
    per_class: Annotated[int, typer.Option(min=1, help="Images per class.")] = 1000,
) -> None:
    """Take images with and without an attribute.

    Example: fer import celeba img_align_celeba list_attr_celeba.txt --output data/smiles/raw
    """
    from fer_pipeline.sources.published import find_celeba

    _bring(find_celeba(images, attributes, attribute, per_class), output, "celeba")


def _bring(found: Iterable[Found], output: Path, name: str) -> None:
    from fer_pipeline.sources.importers import import_images

    counts = import_images(found, output, name)
    told = ", ".join(f"{reason} {count:,}" for reason, count in counts.most_common()) or "nothing new"
    console.note(f"import: {told} -> {output}")
    _format_classes(output)


def _format_classes(output: Path) -> None:
    """What the raw folder holds now, class by class: a wrong folder shows here, before a class is lost."""
    from collections import Counter

    from fer_pipeline.dataset.rows import UNLABELLED, kept_rows
    from fer_pipeline.errors import InputError

    labels = Counter(row.label or UNLABELLED for row in kept_rows(output))
    if not labels:
        raise InputError(f"{output}: holds no image yet: import a folder that has some")
    console.note(f"import: {output} holds {', '.join(f'{label} {count:,}' for label, count in sorted(labels.items()))}")
    if labels[UNLABELLED]:
        remedy = "name the folder above the class folders; a raw folder filled by mistake may be deleted"
        console.note(f"import: {labels[UNLABELLED]:,} images have no class: {remedy}")

"""Which page is written for what: a run's, a data folder's, or both of an experiment."""

from pathlib import Path

from fer_pipeline.config.schema import Config
from fer_pipeline.dataset.rows import MANIFEST
from fer_pipeline.errors import InputError
from fer_pipeline.report.data_page import write_data_page
from fer_pipeline.report.funnel import places_below, places_of
from fer_pipeline.report.run_page import write_run_page


def write_folder_page(path: Path) -> Path:
    """The page of a run or of a data folder, told apart by what lies in it; a stage's folder means the data around."""
    if path.is_file() or (path / "model.onnx").is_file():
        return write_run_page(path)
    for home in (path, path.resolve().parent) if (path / MANIFEST).is_file() else (path,):
        if any(place.finished for place in places_below(home)):
            return write_data_page(home, places_below(home))
    raise InputError(f"{path} is neither a run (no model.onnx) nor a data folder (no finished raw, unified, …)")


def write_experiment_pages(config: Config) -> list[Path]:
    """The page of the data, and that of the run if there is one."""
    pages = [write_data_page(config.data / config.name, places_of(config))]
    return [*pages, write_run_page(config.train.output)] if (config.train.output / "model.onnx").is_file() else pages

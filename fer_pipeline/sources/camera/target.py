"""Where the photos of a camera go, for which classes, and how faces are found and cut there."""

from dataclasses import dataclass
from pathlib import Path

from fer_pipeline.config.schema import Config, CropSettings, Detector, Preprocessing
from fer_pipeline.dataset.experiment import Experiment, of_config, of_home
from fer_pipeline.dataset.journal import JOURNAL, Journal, existing_rows
from fer_pipeline.dataset.provenance import preprocessing_of, settings_of
from fer_pipeline.dataset.rows import Row, Status
from fer_pipeline.errors import UsageError


@dataclass(frozen=True)
class Target:
    """A raw folder, the way from its photos to crops, and the configuration if one was given."""

    raw: Path
    preprocessing: Preprocessing
    config: Config | None

    def experiment(self) -> Experiment:
        """The folders of the stages, as they are now."""
        return of_config(self.config) if self.config else of_home(self.raw.parent)


def find_target(data: Path | None, config: Config | None) -> Target:
    """The place that a data folder, a configuration or both name; UsageError if they name two or none."""
    if config is not None:
        home = config.crawl.output.parent
        if data is not None and data.resolve() != home.resolve():
            raise UsageError(f"{data} is not the data folder of the configuration, which is {home}: name one of them")
        own = {name: getattr(config.crop, name) for name in CropSettings.model_fields}
        detector = {name: getattr(config.filter, name) for name in Detector.model_fields}
        return Target(config.crawl.output, Preprocessing.model_validate({"detector": detector, "cut": own}), config)
    if data is None:
        raise UsageError("where to? Name a data folder, as in `fer collect data/mine`, or --config")
    if data.exists() and not data.is_dir():
        raise UsageError(f"{data}: a file: name a data folder, as in data/mine")
    return Target(data / "raw", _preprocessing_of(data), None)


def _preprocessing_of(home: Path) -> Preprocessing:
    """How the photos of a data folder were cut, or how they would be by default."""
    crops = of_home(home).folders.get("crop") if home.is_dir() else None
    if crops is None or settings_of(crops, "crop") is None:
        return Preprocessing(detector=Detector(), cut=CropSettings())
    return preprocessing_of(crops)


def find_labels(place: Target) -> list[str]:
    """The classes that `split.labels` names, else those the folder holds already, else those of the crawl."""
    config = place.config
    if config is not None and config.split.labels:
        return list(config.split.labels)
    known = {row.label for row in _list_rows(place.raw) if row.label and row.status is Status.KEPT}
    if not known and config is not None:
        known = {*config.crawl.keywords, *config.crawl.urls, *config.crawl.sites}
    return sorted(known)


def _list_rows(raw: Path) -> list[Row]:
    """Also those that a killed server noted last."""
    rows = existing_rows(raw)
    if (raw / JOURNAL).is_file():
        with Journal(raw) as journal:
            rows += journal.rows()
    return rows

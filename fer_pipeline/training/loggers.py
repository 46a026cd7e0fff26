"""Show losses and accuracies of every epoch in TensorBoard or trackio, where `train.logger` asks for it."""

from argparse import Namespace
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from fer_pipeline.config.schema import TrainConfig
from fer_pipeline.errors import SetupError

FOLDER = "tensorboard"  # in the run


def check_logger(config: TrainConfig) -> None:
    """Raise SetupError if the package of the logger is missing."""
    if config.logger != "none" and find_spec(config.logger) is None:
        raise SetupError(f"train.logger: {config.logger} is not installed: `pip install {config.logger}`")


def make_logger(config: TrainConfig, run: Path) -> Logger | None:
    """Make the logger of the settings for a run; None without one. Raises SetupError if its package is missing."""
    check_logger(config)
    if config.logger == "none":
        return None
    if config.logger == "trackio":
        return TrackioLogger(run, config.model_dump(mode="json"))
    return TensorBoardLogger(run, name=FOLDER, version="")


class TrackioLogger(Logger):
    """Write into trackio's local database, as the run's name in the project of the folder above it."""

    def __init__(self, run: Path, settings: dict[str, Any]) -> None:
        super().__init__()
        self.run, self.settings = run.resolve(), settings
        self.is_open = False

    @property
    def name(self) -> str:
        return self.run.parent.name

    @property
    def version(self) -> str:
        return self.run.name

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing to do: trackio takes the settings when a run begins."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        import trackio

        if not self.is_open:
            trackio.init(project=self.name, name=self.version, config=self.settings, resume="allow", embed=False)
            self.is_open = True
        trackio.log(dict(metrics), step=step)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        import trackio

        del status
        if self.is_open:
            trackio.finish()
            self.is_open = False

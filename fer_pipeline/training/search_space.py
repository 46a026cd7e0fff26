"""The search space of `fer tune`: settings with their ranges, and the Optuna study that draws from them."""

import warnings
from collections.abc import Iterable
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from fer_pipeline.config.schema import TrainConfig
from fer_pipeline.models.augment import choose_strength
from fer_pipeline.models.networks import default_size

STRENGTHS = {"degrees": 30.0, "zoom": 0.4, "erase_chance": 0.5}  # the most that is tried of each
UNPRUNED = 4  # trials before any is broken off
Settings = dict[str, Any]


def list_ranges(config: TrainConfig) -> dict[str, BaseDistribution]:
    """List the range of each setting, around its value in the configuration."""
    rate = config.learning_rate
    ranges: dict[str, BaseDistribution] = {
        "learning_rate": FloatDistribution(rate / 10, min(1.0, rate * 3), log=True),
        "size": CategoricalDistribution(_sizes(config)),
        "augment": CategoricalDistribution(("none", "light", "strong")),
        "label_smoothing": FloatDistribution(0.0, 0.2),
        "mixup": CategoricalDistribution(sorted({0.0, 0.1, 0.2, 0.4, float(config.mixup)})),
        "weight_decay": FloatDistribution(1e-4, 0.3, log=True),
    }
    return ranges | {name: FloatDistribution(0.0, most) for name, most in STRENGTHS.items()}


def _sizes(config: TrainConfig) -> list[int]:
    """List the size as given, a smaller and a larger one; a `center_crop` of fixed side allows no other."""
    side = config.size or default_size(config.network)
    others = () if config.center_crop else (side * 3 // 4, side * 3 // 2)
    return sorted({side, *(min(512, max(16, other // 8 * 8)) for other in others)})


def given_settings(config: TrainConfig) -> Settings:
    """Read the searched settings out of a configuration, clipped to their ranges."""
    strength = choose_strength(config)
    given = {name: getattr(strength, name) for name in STRENGTHS}
    given |= {name: getattr(config, name) for name in list_ranges(config) if name not in STRENGTHS}
    given |= {"size": config.size or default_size(config.network), "mixup": float(config.mixup)}
    return {name: _clip(given[name], values) for name, values in list_ranges(config).items()}


def _clip(value: Any, values: BaseDistribution) -> Any:
    return min(max(float(value), values.low), values.high) if isinstance(values, FloatDistribution) else value


def draw_settings(trial: optuna.Trial) -> Settings:
    """Read the settings Optuna drew for a trial, rounded to four digits."""
    return {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in trial.params.items()}


def apply_settings(config: TrainConfig, settings: Settings) -> TrainConfig:
    """Return the configuration with the settings of a trial; its other augmentation strengths are kept."""
    strength = {name: value for name, value in settings.items() if name in STRENGTHS}
    plain = {name: value for name, value in settings.items() if name not in STRENGTHS}
    if strength:
        plain["strength"] = config.strength.model_copy(update=strength)
    return config.model_copy(update=plain)


def make_study(config: TrainConfig, before: Iterable[tuple[Settings, str, float, dict[str, float]]]) -> optuna.Study:
    """A study that knows the finished trials: settings, state, accuracy and curve (epoch: accuracy) of each."""
    finished = [_freeze(config, *one) for one in before]
    with warnings.catch_warnings():  # what is marked experimental in Optuna
        warnings.simplefilter("ignore")
        sampler = optuna.samplers.TPESampler(seed=config.seed * 100_003 + len(finished), n_startup_trials=6)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED, n_warmup_steps=2)
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
        study.add_trials(finished)
    finally:
        optuna.logging.set_verbosity(level)
    return study


def _freeze(
    config: TrainConfig, settings: Settings, state: str, accuracy: float, curve: dict[str, float]
) -> FrozenTrial:
    ranges = list_ranges(config)
    values = {name: _clip(value, ranges[name]) for name, value in (settings or given_settings(config)).items()}
    return create_trial(
        state=TrialState.COMPLETE if state == "complete" else TrialState.PRUNED,
        value=accuracy,
        params=values,
        distributions=ranges,
        intermediate_values={int(epoch): value for epoch, value in curve.items()},
    )

"""Models that are no networks, by the name `train.network` gives them."""

from fer_pipeline.config.schema import TrainConfig
from fer_pipeline.models.data import Crops
from fer_pipeline.models.model_module import Scorer
from fer_pipeline.vision.mouth import OUTLINE

# name: side in pixels of the crops it is meant for
CLASSICAL = {"hog_svm": 64, "geometry": 96}


def measured(config: TrainConfig) -> tuple[str, ...]:
    """The measures of the mouth that the model wants of every crop: none for pixels alone."""
    return OUTLINE if config.geometry or config.network == "geometry" else ()


def fit_classical(config: TrainConfig, training: Crops, validation: Crops) -> Scorer:
    """Fit one of `CLASSICAL`; there are no epochs and so no checkpoints or curves."""
    if config.network == "geometry":
        from fer_pipeline.models.trees import fit_trees

        return fit_trees(training, config.seed)
    from fer_pipeline.models.svm import fit_hog_svm

    return fit_hog_svm(training, validation, flip=config.flip, seed=config.seed)

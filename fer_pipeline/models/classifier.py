"""A network with everything around it that must be the same in training, evaluation and the model file."""

import torch
from torch import Tensor, nn

from fer_pipeline.config.schema import TrainConfig
from fer_pipeline.errors import UsageError
from fer_pipeline.models.augment import LUMA
from fer_pipeline.models.model_module import Scorer
from fer_pipeline.models.networks import build_network, default_normalisation


class Classifier(Scorer):
    """Crops uint8 (B, size, size, 3) RGB to probabilities (B, classes), averaged over windows and mirror images.

    `inner` is the side of the window the network sees, by default the whole crop; of `views` windows (one in the
    middle, or five with the corners) the probabilities are averaged, and again over the mirrored ones if `flip`.
    """

    mean: Tensor
    deviation: Tensor
    luma: Tensor

    def __init__(  # noqa: PLR0913  every one is a setting of its own
        self,
        network: nn.Module,
        mean: tuple[float, ...],
        deviation: tuple[float, ...],
        *,
        grey: bool = False,
        flip: bool = False,
        standardise: bool = False,
        inner: int | None = None,
        views: int = 1,
    ) -> None:
        super().__init__()
        self.network = network
        self.grey, self.flip, self.standardise = grey, flip, standardise
        self.inner, self.views = inner, views
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation).view(3, 1, 1), persistent=False)
        self.register_buffer("luma", torch.tensor(LUMA).view(3, 1, 1), persistent=False)

    def view_logits(self, *inputs: Tensor) -> Tensor:
        """Logits (views, B, classes) of every window and mirror image that is averaged over."""
        (images,) = inputs
        windows = self._windows(images.permute(0, 3, 1, 2).float() / 255)
        if self.flip:
            windows = [*windows, *[window.flip(3) for window in windows]]
        return torch.stack([self.logits(window).float() for window in windows])

    def predict_center(self, images: Tensor) -> Tensor:
        """Probabilities from the middle window alone: a tenth of the work, enough to compare epochs."""
        middle = self._windows(images.permute(0, 3, 1, 2).float() / 255)[0]
        return (self.logits(middle).float() / self.temperature).softmax(dim=1)

    def _windows(self, pictures: Tensor) -> list[Tensor]:
        """What the network looks at: the whole crop, its middle, or its middle and corners (B, 3, inner, inner)."""
        if self.inner is None:
            return [pictures]
        far = pictures.shape[-1] - self.inner
        starts = [(far // 2, far // 2), (0, 0), (0, far), (far, 0), (far, far)][: self.views]
        return [pictures[:, :, y : y + self.inner, x : x + self.inner] for y, x in starts]

    def logits(self, pictures: Tensor) -> Tensor:
        """From windows float (B, 3, inner, inner) in 0..1, as augmentation gives them, to logits (B, classes)."""
        if self.grey:
            pictures = (pictures * self.luma).sum(dim=1, keepdim=True).expand(-1, 3, -1, -1)
        normalised = (pictures - self.mean) / self.deviation
        if self.standardise:
            centred = normalised - normalised.mean(dim=(1, 2, 3), keepdim=True)
            # A blank crop has no deviation to divide by.
            normalised = centred / (centred.square().mean(dim=(1, 2, 3), keepdim=True) + 1e-4).sqrt()
        logits: Tensor = self.network(normalised.contiguous(memory_format=torch.channels_last))
        return logits


def build_classifier(config: TrainConfig, labels: list[str], size: int) -> Classifier:
    """The network of the configuration with its normalisation; raises UsageError for a name or weights unknown."""
    _check_window(config, size)
    window = config.inner or size
    try:
        network = build_network(config.network, len(labels), window, dropout=config.dropout, weights=config.weights)
    except ValueError as error:
        raise UsageError(f"train.network: {error}") from None
    except OSError as error:
        remedy = "go online once, or set train.weights to a file"
        raise UsageError(f"train.weights: {config.weights} cannot be fetched ({error}): {remedy}") from None
    mean, deviation = default_normalisation(config.network)
    return Classifier(
        network.to(memory_format=torch.channels_last),  # as its inputs: in bf16 `fer_cnn` trains twice as fast
        mean,
        deviation,
        grey=config.grey,
        flip=config.flip,
        standardise=config.standardise,
        inner=config.inner,
        views=config.views,
    )


def _check_window(config: TrainConfig, size: int) -> None:
    if config.inner is not None and config.inner > size:
        raise UsageError(f"train.inner: {config.inner} px is more than the crop's {size}: set train.size larger")
    if config.views > 1 and config.inner is None:
        raise UsageError(f"train.views: {config.views} windows of which side? Set train.inner below {size}")

"""A network with its preprocessing and test-time augmentation, the same in training, evaluation and the model file."""

import warnings

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from fer_pipeline.config.schema import TrainConfig
from fer_pipeline.errors import UsageError
from fer_pipeline.models.augment import LUMA
from fer_pipeline.models.model_module import ModelModule
from fer_pipeline.models.networks import ResidualNet, build_network, default_normalisation


class Classifier(ModelModule):
    """Map crops uint8 (B, size, size, 3) RGB to probabilities (B, classes), averaged over windows and mirror images.

    `center_crop` is the side in pixels of the window the network sees, None for the whole crop. `tta_crops` windows
    (1: the middle, 5: the corners too) are averaged, and with `flip` their mirror images as well.
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
        center_crop: int | None = None,
        tta_crops: int = 1,
    ) -> None:
        super().__init__()
        self.network = network
        self.grey, self.flip, self.standardise = grey, flip, standardise
        self.center_crop, self.tta_crops = center_crop, tta_crops
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation).view(3, 1, 1), persistent=False)
        self.register_buffer("luma", torch.tensor(LUMA).view(3, 1, 1), persistent=False)

    def tta_logits(self, *inputs: Tensor) -> Tensor:
        """Compute logits (T, B, classes) of every window, then of every mirror image."""
        (images,) = inputs
        windows = self._windows(images.permute(0, 3, 1, 2).float() / 255)
        if self.flip:
            windows = [*windows, *[window.flip(3) for window in windows]]
        return torch.stack([self.logits(window).float() for window in windows])

    def with_features(self, *inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        seen: list[Tensor] = []
        hook = self._watch(seen)
        try:
            logits = self.tta_logits(*inputs)
        finally:
            if hook is not None:
                hook.remove()
        return logits, torch.stack(seen).mean(dim=0) if seen else None

    def _watch(self, seen: list[Tensor]) -> RemovableHandle | None:
        """Have the features of every window added to `seen`: what the last dense layer is given.

        Of our residual networks the maps before their last halving tell other pictures better (docs/unknown.md). Some
        of torchvision's networks end in a convolution, and have none.
        """
        if isinstance(self.network, ResidualNet):
            block = self.network.block_before_last()
            return block.register_forward_hook(lambda _, __, maps: seen.append(_pool(maps)))
        dense = [module for module in self.network.modules() if isinstance(module, nn.Linear)]
        return dense[-1].register_forward_pre_hook(lambda _, given: seen.append(given[0].flatten(1))) if dense else None

    def predict_center(self, images: Tensor) -> Tensor:
        """Compute probabilities (B, classes) of the middle window alone, which is enough to compare epochs."""
        middle = self._windows(images.permute(0, 3, 1, 2).float() / 255)[0]
        return (self.logits(middle).float() / self.temperature).softmax(dim=1)

    def _windows(self, pictures: Tensor) -> list[Tensor]:
        """Cut the windows (B, 3, side, side) the network sees: the whole crop, its middle, or middle and corners."""
        side = self.center_crop
        if side is None:
            return [pictures]
        far = pictures.shape[-1] - side
        starts = [(far // 2, far // 2), (0, 0), (0, far), (far, 0), (far, far)][: self.tta_crops]
        return [pictures[:, :, y : y + side, x : x + side] for y, x in starts]

    def logits(self, pictures: Tensor) -> Tensor:
        """Compute logits (B, classes) of windows float (B, 3, side, side) in 0..1, as augmentation gives them."""
        if self.grey:
            pictures = (pictures * self.luma).sum(dim=1, keepdim=True).expand(-1, 3, -1, -1)
        normalised = (pictures - self.mean) / self.deviation
        if self.standardise:
            centred = normalised - normalised.mean(dim=(1, 2, 3), keepdim=True)
            # A blank crop has no deviation to divide by.
            normalised = centred / (centred.square().mean(dim=(1, 2, 3), keepdim=True) + 1e-4).sqrt()
        logits: Tensor = self.network(normalised.contiguous(memory_format=torch.channels_last))
        return logits


def _pool(maps: Tensor) -> Tensor:
    """Average maps (B, width, H, W) over their four quarters, (B, 4 width); an odd row or column counts in both."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*tensor to a Python integer")  # the side is a constant of the graph
        side = int(maps.shape[-1])
    return functional.avg_pool2d(maps, max(1, side - side // 2), max(1, side // 2)).flatten(1)


def build_classifier(config: TrainConfig, labels: list[str], size: int) -> Classifier:
    """Build the configured network for crops of `size` px; raises UsageError for an unknown network or weights."""
    _check_window(config, size)
    window = config.center_crop or size
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
        center_crop=config.center_crop,
        tta_crops=config.tta_crops,
    )


def _check_window(config: TrainConfig, size: int) -> None:
    side, count = config.center_crop, config.tta_crops
    if side is not None and side > size:
        raise UsageError(f"train.center_crop: {side} px is more than the crop's {size}: set train.size larger")
    if count > 1 and side is None:
        raise UsageError(f"train.tta_crops: {count} windows of which side? Set train.center_crop below {size}")

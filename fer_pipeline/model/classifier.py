"""A network with everything around it that must be the same in training, evaluation and the model file."""

import torch
from torch import Tensor, nn

from fer_pipeline.config import TrainConfig
from fer_pipeline.errors import UsageError
from fer_pipeline.model.augment import LUMA
from fer_pipeline.model.networks import build_network, default_normalisation


class Classifier(nn.Module):
    """Crops uint8 (B, size, size, 3) RGB to probabilities (B, classes), averaged over the mirrored crop if `flip`."""

    mean: Tensor
    deviation: Tensor
    luma: Tensor

    def __init__(
        self, network: nn.Module, mean: tuple[float, ...], deviation: tuple[float, ...], *, grey: bool, flip: bool
    ) -> None:
        super().__init__()
        self.network = network
        self.grey, self.flip = grey, flip
        self.temperature = 1.0
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation).view(3, 1, 1), persistent=False)
        self.register_buffer("luma", torch.tensor(LUMA).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        pictures = images.permute(0, 3, 1, 2).float() / 255
        probabilities = self._probabilities(pictures)
        return (probabilities + self._probabilities(pictures.flip(3))) / 2 if self.flip else probabilities

    def _probabilities(self, pictures: Tensor) -> Tensor:
        return (self.logits(pictures) / self.temperature).softmax(dim=1)

    def logits(self, pictures: Tensor) -> Tensor:
        """From pictures float (B, 3, size, size) in 0..1, as augmentation gives them, to logits (B, classes)."""
        if self.grey:
            pictures = (pictures * self.luma).sum(dim=1, keepdim=True).expand(-1, 3, -1, -1)
        normalised = (pictures - self.mean) / self.deviation
        logits: Tensor = self.network(normalised.contiguous(memory_format=torch.channels_last))
        return logits


def build_classifier(config: TrainConfig, labels: list[str], size: int) -> Classifier:
    """The network of the configuration with its normalisation; raises UsageError for a name or weights unknown."""
    try:
        network = build_network(config.network, len(labels), size, weights=config.weights)
    except ValueError as error:
        raise UsageError(f"train.network: {error}") from None
    except OSError as error:
        remedy = "go online once, or set train.weights to a file"
        raise UsageError(f"train.weights: {config.weights} cannot be fetched ({error}): {remedy}") from None
    mean, deviation = default_normalisation(config.network)
    return Classifier(network, mean, deviation, grey=config.grey, flip=config.flip)

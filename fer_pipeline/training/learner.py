"""One training step: augmentation, prediction and loss; and the schedule of the learning rate."""

import random

import lightning
import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR, StepLR

from fer_pipeline.config.schema import TrainConfig
from fer_pipeline.models.augment import augment, choose_strength
from fer_pipeline.models.batches import Batch
from fer_pipeline.models.classifier import Classifier
from fer_pipeline.models.distributed import count_processes, rank


class Learner(lightning.LightningModule):
    """Train a classifier on batches of uint8 (B, size, size, 3) and targets int64 (B,)."""

    class_weights: Tensor | None

    def __init__(self, classifier: Classifier, config: TrainConfig, class_weights: Tensor | None) -> None:
        super().__init__()
        self.classifier = classifier
        self.config = config
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.strength = choose_strength(config)
        self.rng = torch.Generator()
        self.random = random.Random()

    def on_train_epoch_start(self) -> None:
        """Seed all random numbers by seed and epoch: a resumed epoch is the same as one that never stopped."""
        self.rng.manual_seed(self._seed())
        self.random.seed(self._seed())

    def _seed(self) -> int:
        """Return the seed of the epoch, another in every process that trains."""
        return (self.config.seed * 100_003 + self.current_epoch) * 1_009 + rank()

    def training_step(self, batch: Batch, index: int) -> Tensor:
        images, targets = batch
        # Dropout draws from torch's global generator, of which a resumed loop has used more before its first batch.
        torch.manual_seed(self._seed() * 100_003 + index)
        with torch.autocast(self.device.type, enabled=False):
            side = self.config.center_crop
            pictures = self._window(augment(images.permute(0, 3, 1, 2), self.strength, self.rng, side))
        if not self.config.mixup:
            logits = self.classifier.logits(pictures)
            losses = self._losses(logits, targets)
        else:
            # Zhang et al. 2018: a picture and its loss are the same blend of two; here of two neighbours in the batch.
            first = self.random.betavariate(self.config.mixup, self.config.mixup)
            logits = self.classifier.logits(torch.lerp(pictures.roll(1, 0), pictures, first))
            losses = first * self._losses(logits, targets) + (1 - first) * self._losses(logits, targets.roll(1, 0))
        return self._log_means("train", losses, logits, targets)

    def _window(self, pictures: Tensor) -> Tensor:
        """Cut a random window of side `center_crop`, one for the whole batch: augmentation shifts each picture."""
        side = self.config.center_crop or pictures.shape[-1]
        y, x = (self.random.randint(0, pictures.shape[-1] - side) for _ in range(2))
        return pictures[:, :, y : y + side, x : x + side]

    def _losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        gamma = self.config.focal_gamma if self.config.loss == "focal" else 0
        smoothing, weights = self.config.label_smoothing, self.class_weights
        return weigh_losses(logits, targets, gamma=gamma, smoothing=smoothing, weights=weights)

    def validation_step(self, batch: Batch, _: int) -> None:
        images, targets = batch
        probabilities = self.classifier.predict_center(images)
        losses = functional.nll_loss(probabilities.clamp_min(1e-9).log(), targets, reduction="none")
        self._log_means("val", losses, probabilities, targets)

    def configure_gradient_clipping(self, *_: object, **__: object) -> None:
        """Clip the gradient; Lightning refuses to in bf16 with a fused optimizer, for a scaler bf16 does not use."""
        if self.config.gradient_clip:
            torch.nn.utils.clip_grad_norm_(self.parameters(), self.config.gradient_clip)

    def _log_means(self, part: str, losses: Tensor, scores: Tensor, targets: Tensor) -> Tensor:
        """Log the mean loss and accuracy, over all processes; return the mean loss of this one's batch."""
        loss, accuracy = losses.mean(), (scores.argmax(dim=1) == targets).float().mean()
        values = {f"{part}_loss": loss.detach(), f"{part}_accuracy": accuracy}
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=len(targets), sync_dist=count_processes() > 1)
        return loss

    def configure_optimizers(self):  # type: ignore[no-untyped-def]
        """Make the optimizer and its schedule; norms and biases, which have no scale to keep small, are not decayed."""
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        groups = [
            {"params": [one for one in trained if one.ndim > 1], "weight_decay": self.config.weight_decay},
            {"params": [one for one in trained if one.ndim <= 1], "weight_decay": 0.0},
        ]
        rate = self.config.learning_rate
        fused = self.device.type in {"cpu", "cuda"}  # one pass over the weights in place of a dozen small ones
        adamw = self.config.optimizer == "adamw"
        optimizer = AdamW(groups, lr=rate, fused=fused) if adamw else Adam(trained, lr=rate, fused=fused)
        schedule = self._schedule(optimizer, int(self.trainer.estimated_stepping_batches))
        return optimizer if schedule is None else {"optimizer": optimizer, "lr_scheduler": schedule}

    def _schedule(self, optimizer: Optimizer, steps: int) -> dict[str, LRScheduler | str] | None:
        match self.config.schedule:
            case "onecycle":
                # torch divides by a quarter of the steps less one: four of them would be a division by zero.
                cycle = OneCycleLR(optimizer, self.config.learning_rate, total_steps=max(steps, 5), pct_start=0.25)
                return {"scheduler": cycle, "interval": "step"}
            case "cosine":
                return {"scheduler": CosineAnnealingLR(optimizer, T_max=max(steps, 1)), "interval": "step"}
            case "step":
                return {"scheduler": StepLR(optimizer, self.config.step_epochs, gamma=0.1), "interval": "epoch"}
            case _:
                return None


def weigh_losses(
    logits: Tensor, targets: Tensor, *, gamma: float = 0, smoothing: float = 0, weights: Tensor | None = None
) -> Tensor:
    """Compute cross-entropy or focal losses (B,) of logits (B, classes) and targets int64 (B,).

    -w(y) sum_c q_c (1 - p_c)^gamma log p_c, where q is the target with `smoothing` spread over all classes (Szegedy et
    al. 2016), `gamma` how much less an easy crop counts (Lin et al. 2017; 0: cross-entropy), w(y) the class weight.
    """
    logs = functional.log_softmax(logits.float(), dim=1)
    wanted = torch.full_like(logs, smoothing / logs.shape[1])
    wanted.scatter_(1, targets[:, None], 1 - smoothing + smoothing / logs.shape[1])
    if gamma:
        # The derivative of a power below one has no bound at zero.
        wanted = wanted * (1 - logs.exp()).clamp_min(1e-6) ** gamma
    losses = -(wanted * logs).sum(dim=1)
    return losses if weights is None else losses * weights[targets]

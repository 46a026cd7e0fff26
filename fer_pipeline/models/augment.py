"""Data augmentation: random changes to batches of pictures, on the device that trains."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from fer_pipeline.config.schema import TrainConfig

LUMA = (0.299, 0.587, 0.114)
# Luminance quantisation of the JPEG standard (ITU T.81, table K.1), at quality 50.
JPEG_TABLE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)


class BatchRng:
    """Random numbers for a batch of so many pictures, the same on every device: drawn on the generator's own."""

    def __init__(self, generator: torch.Generator, count: int, device: torch.device) -> None:
        self.generator, self.count, self.device = generator, count, device

    def between(self, low: float, high: float, channels: int = 1) -> Tensor:
        """Draw uniform values (B, channels)."""
        drawn = torch.rand(self.count, channels, generator=self.generator, device=self.generator.device)
        return (low + (high - low) * drawn).to(self.device)

    def level(self) -> float:
        """Draw one uniform value in 0..1 for the whole batch."""
        return float(torch.rand(1, generator=self.generator, device=self.generator.device))

    def chosen(self, chance: float) -> Tensor:
        """Draw booleans (B,), true with the given chance."""
        return self.between(0, 1)[:, 0] < chance


@dataclass(frozen=True)
class Strength:
    """How strong each augmentation is; a `_chance` is the share of pictures that get it."""

    flip_chance: float = 0.0
    degrees: float = 0.0
    zoom: float = 0.0  # 0.2: between 1/1.2 and 1.2 times the size
    shift: float = 0.0  # of the side
    shear: float = 0.0
    area_lowest: float = 1.0  # of a window that is cut out and resized, as RandomResizedCrop does
    aspect: float = 0.0  # 1/3: windows between 3/4 and 4/3 as wide as high
    brightness: float = 0.0  # of the full range
    contrast: float = 0.0
    saturation: float = 0.0
    cast: float = 0.0  # gain of each channel
    grey_chance: float = 0.0
    blur_chance: float = 0.0
    low_resolution_chance: float = 0.0
    jpeg_chance: float = 0.0
    erase_chance: float = 0.0


PRESETS = {
    "none": Strength(),
    "light": Strength(
        flip_chance=0.5, degrees=8, zoom=0.1, shift=0.05, brightness=0.1, contrast=0.15, saturation=0.15, cast=0.03
    ),
    "strong": Strength(
        flip_chance=0.5, degrees=15, zoom=0.2, shift=0.08, shear=0.08,
        brightness=0.2, contrast=0.35, saturation=0.5, cast=0.1,
        grey_chance=0.15, blur_chance=0.15, low_resolution_chance=0.3, jpeg_chance=0.15, erase_chance=0.25,
    ),
}  # fmt: skip


def choose_strength(config: TrainConfig) -> Strength:
    """Choose the preset with the configuration's changes; without `flip`, the preset's mirroring is off."""
    preset = PRESETS[config.augment] if config.flip else replace(PRESETS[config.augment], flip_chance=0.0)
    return replace(preset, **config.strength.model_dump(exclude_none=True))


def augment(batch: Tensor, strength: Strength, generator: torch.Generator, side: int | None = None) -> Tensor:
    """Augment pictures (B, 3, S, S), uint8 or float in 0..1, at random; returns float in 0..1, same shape.

    The same generator state gives the same result. With `area_lowest` below 1 windows are cut out and resized to
    `side`.
    """
    pictures = batch.float() / 255 if batch.dtype == torch.uint8 else batch.float()
    if strength == Strength():
        return pictures
    rng = BatchRng(generator, len(pictures), pictures.device)
    pictures = _recolour(_move(pictures, strength, rng, side), strength, rng).clamp_(0, 1)
    for change, chance in (
        (_blur, strength.blur_chance),
        (_lower_resolution, strength.low_resolution_chance),
        (_compress, strength.jpeg_chance),
    ):
        if chance:
            picked, level = rng.chosen(chance).nonzero()[:, 0], rng.level()
            if picked.numel():
                pictures[picked] = change(pictures[picked], level)
    return _erase(pictures, strength.erase_chance, rng) if strength.erase_chance else pictures


def _move(pictures: Tensor, strength: Strength, rng: BatchRng, side: int | None) -> Tensor:
    """Flip, rotate, zoom, shear, shift and cut a window in a single resampling; outside the picture is mirrored."""
    angle = rng.between(-1, 1) * math.radians(strength.degrees)
    zoom = torch.exp(rng.between(-1, 1) * math.log1p(strength.zoom))
    shear = rng.between(-1, 1) * strength.shear
    mirror = 1.0 - 2.0 * rng.chosen(strength.flip_chance).float()[:, None]
    shift = rng.between(-1, 1, channels=2) * strength.shift * 2  # the grid runs from -1 to 1
    cosine, sine = zoom * torch.cos(angle), zoom * torch.sin(angle)
    across = torch.cat([mirror * cosine, shear - sine, shift[:, :1]], dim=1)
    down = torch.cat([mirror * sine, cosine, shift[:, 1:]], dim=1)
    moved, shape = torch.stack([across, down], dim=1), list(pictures.shape)
    if strength.area_lowest < 1:
        size, centre = _draw_windows(strength, rng)
        moved = torch.cat([moved[:, :, :2] * size[:, None], moved[:, :, :2] @ centre[:, :, None] + moved[:, :, 2:]], 2)
        shape[2:] = [side or shape[2]] * 2
    grid = functional.affine_grid(moved, shape, align_corners=False)
    return functional.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)


def _draw_windows(strength: Strength, rng: BatchRng) -> tuple[Tensor, Tensor]:
    """Draw width and height (B, 2) as shares of the side, and centre (B, 2) in -1..1, as RandomResizedCrop does.

    The first of ten draws of area and aspect that fits into the picture; the whole picture where none does.
    """
    area = rng.between(strength.area_lowest, 1, channels=10)
    aspect = torch.exp(rng.between(-1, 1, channels=10) * math.log1p(strength.aspect))
    sizes = torch.stack([(area * aspect).sqrt(), (area / aspect).sqrt()], dim=2)
    fits = (sizes <= 1).all(dim=2)
    first = fits.float().argmax(dim=1)
    size = torch.where(fits.any(dim=1)[:, None], sizes[torch.arange(len(sizes)), first], 1.0)
    return size, rng.between(-1, 1, channels=2) * (1 - size)


def _recolour(pictures: Tensor, strength: Strength, rng: BatchRng) -> Tensor:
    """Change saturation (to zero in a grey picture), contrast about the picture's mean, brightness and colour cast."""
    colourless = rng.chosen(strength.grey_chance)[:, None]
    saturation = rng.between(1 - strength.saturation, 1 + strength.saturation).masked_fill(colourless, 0)
    cast = rng.between(1 - strength.cast, 1 + strength.cast, channels=3).masked_fill(colourless, 1)
    contrast = rng.between(1 - strength.contrast, 1 + strength.contrast)
    brightness = rng.between(-strength.brightness, strength.brightness)
    grey = (pictures * pictures.new_tensor(LUMA)[:, None, None]).sum(dim=1, keepdim=True)
    coloured = torch.lerp(grey, pictures, saturation[:, :, None, None])
    gain = cast * contrast
    offset = cast * (grey.mean(dim=(2, 3)) * (1 - contrast) + brightness)
    return coloured * gain[:, :, None, None] + offset[:, :, None, None]


def _blur(pictures: Tensor, level: float) -> Tensor:
    """Blur with a Gaussian, sigma between 0.5 and 1.5 px at 64 px and in proportion at other sizes."""
    sigma = (0.5 + level) * pictures.shape[-1] / 64
    radius = max(1, round(2 * sigma))
    steps = torch.arange(-radius, radius + 1, device=pictures.device)
    kernel = torch.exp(-0.5 * (steps / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, -1)
    padded = functional.pad(pictures, (radius,) * 4, mode="reflect")
    return functional.conv2d(functional.conv2d(padded, kernel, groups=3), kernel.transpose(2, 3), groups=3)


def _lower_resolution(pictures: Tensor, level: float) -> Tensor:
    """Shrink to between a quarter and nine tenths of the side and enlarge again: some mouths have 26 px."""
    side = pictures.shape[-1]
    small = functional.interpolate(pictures, size=max(8, round(side * (0.25 + 0.65 * level))), mode="area")
    return functional.interpolate(small, size=side, mode="bilinear", align_corners=False)


def _compress(pictures: Tensor, level: float) -> Tensor:
    """Lose what JPEG of quality 20 to 70 does, without its colour subsampling: 8x8 cosine blocks, rounded."""
    side = pictures.shape[-1]
    rows = math.ceil(side / 8)
    padded = functional.pad(pictures, (0, rows * 8 - side, 0, rows * 8 - side), mode="replicate")
    blocks = padded.reshape(-1, 3, rows, 8, rows, 8).transpose(3, 4) * 255 - 128
    basis = _cosine_basis(pictures.device)
    quality = 20 + 50 * level
    scale = max(50 / quality, 1) * min(2 - quality / 50, 1)  # as in libjpeg, either side of quality 50
    table = pictures.new_tensor(JPEG_TABLE) * scale
    coefficients = torch.round(basis @ blocks @ basis.T / table) * table
    restored = ((basis.T @ coefficients @ basis + 128) / 255).transpose(3, 4)
    return restored.reshape(-1, 3, rows * 8, rows * 8)[..., :side, :side].clamp(0, 1)


def _cosine_basis(device: torch.device) -> Tensor:
    """Compute the orthonormal 8x8 matrix of the discrete cosine transform."""
    steps = torch.arange(8, dtype=torch.float32, device=device)
    basis = torch.cos((2 * steps[None] + 1) * steps[:, None] * math.pi / 16) / 2
    basis[0] /= math.sqrt(2)
    return basis


def _erase(pictures: Tensor, chance: float, rng: BatchRng) -> Tensor:
    """Cover a rectangle, each side 0.15 to 0.4 of the picture's, with one random grey (Zhong et al. 2017)."""
    side = pictures.shape[-1]
    steps = (torch.arange(side, device=pictures.device) + 0.5)[None] / side
    centre, half = rng.between(0, 1, channels=2), rng.between(0.075, 0.2, channels=2)
    down = (steps - centre[:, :1]).abs() < half[:, :1]
    across = (steps - centre[:, 1:]).abs() < half[:, 1:]
    hidden = down[:, None, :, None] & across[:, None, None, :] & rng.chosen(chance)[:, None, None, None]
    return torch.where(hidden, rng.between(0, 1)[:, :, None, None], pictures)

"""The parameters of a drawn face, and faces drawn at random from them; lengths in widths of the face."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Colour = tuple[float, float, float]

LABELS = ("neutral", "smile", "pout", "open")
HAIR_STYLES = ("short", "long", "bob", "bald", "fringe")
SKINS = np.array([(250, 220, 200), (232, 188, 158), (205, 152, 118), (165, 108, 76), (122, 77, 54), (96, 60, 45)])
HAIRS = np.array([(30, 24, 22), (62, 40, 28), (110, 72, 42), (196, 160, 100), (150, 66, 32), (170, 168, 165)])


@dataclass(frozen=True)
class Mouth:
    """Lips in face widths: half width, lip thicknesses, opening between them, lift of the corners."""

    half: float
    upper: float
    lower: float
    gap: float
    lift: float
    slant: float
    teeth: bool
    strength: float


@dataclass(frozen=True)
class Build:
    """Proportions of a head in face widths: how it differs from the mean shape."""

    yaw: float
    length: float
    jaw: float
    eye_spread: float
    eye_half: float
    eye_open: float
    gaze: float
    brow_lift: float
    brow_weight: float
    nose_width: float
    nose_length: float


@dataclass(frozen=True)
class Face:
    """One drawn face: centre (midway between the eyes) and width in px, tilt in degrees, the rest in face widths."""

    label: str
    centre: tuple[float, float]
    width: float
    tilt: float
    mouth: Mouth
    build: Build
    skin: Colour
    hair: Colour
    iris: Colour
    shirt: Colour
    lips: Colour
    hair_style: str
    hairline: float
    parting: float
    light: tuple[float, float]
    beard: float
    glasses: bool


def random_mouth(rng: np.random.Generator, label: str) -> Mouth:
    """Lips showing `label` at a random strength, faint ones included."""
    strength = float(rng.uniform(0.4, 1.1))
    half, upper, lower = rng.normal((0.185, 0.037, 0.055), (0.009, 0.005, 0.006))
    lift, gap, teeth = rng.normal(0, 0.006), 0.0, False
    if label == "smile":
        teeth = bool(rng.random() < 0.55)
        half, lift = half + 0.055 * strength, lift + 0.055 * strength
        upper, lower = upper - 0.008 * strength, lower - 0.008 * strength
        gap = 0.06 * strength if teeth else 0.0
    if label == "pout":
        half, lift = half - 0.06 * strength, lift - 0.008 * strength
        upper, lower = upper + 0.02 * strength, lower + 0.026 * strength
    if label == "open":
        teeth = bool(rng.random() < 0.4)
        gap, half = 0.02 + 0.135 * strength, half - 0.02 * strength
    if label == "neutral" and rng.random() < 0.2:
        gap = float(rng.uniform(0.006, 0.018))
    slant = float(rng.normal(0, 0.006))
    return Mouth(float(half), float(upper), float(lower), float(gap), float(lift), slant, teeth, strength)


def random_build(rng: np.random.Generator, squint: float) -> Build:
    """Proportions near the mean shape; `squint` (0..1) narrows the eyes."""
    return Build(
        yaw=float(rng.normal(0, 0.012)),
        length=float(rng.normal(1, 0.03)),
        jaw=float(rng.normal(0, 0.03)),
        eye_spread=float(rng.normal(0.216, 0.006)),
        eye_half=float(rng.normal(0.088, 0.004)),
        eye_open=float(rng.normal(0.034, 0.004)) * (1 - squint),
        gaze=float(rng.normal(0, 0.012)),
        brow_lift=float(rng.normal(0, 0.012)),
        brow_weight=float(rng.uniform(0.02, 0.04)),
        nose_width=float(rng.normal(0.09, 0.006)),
        nose_length=float(rng.normal(0.26, 0.01)),
    )


def random_face(
    rng: np.random.Generator,
    label: str,
    width: int,
    height: int,
    centre: tuple[float, float] | None = None,
    face_width: float | None = None,
) -> Face:
    """A face showing `label`, whole inside a photo of `width` x `height` px unless its place (px) is given."""
    size = face_width or max(min(rng.uniform(0.27, 0.58) * width, rng.uniform(0.4, 0.54) * height), 88.0)
    mouth = random_mouth(rng, label)
    skin, hair, lips, iris = _random_colours(rng)
    return Face(
        label=label,
        centre=centre or _random_place(rng, width, height, size),
        width=float(size),
        tilt=float(np.clip(rng.normal(0, 5), -12, 12)),
        mouth=mouth,
        build=random_build(rng, squint=0.25 * mouth.strength if label == "smile" else 0.0),
        skin=skin, hair=hair, lips=lips, iris=iris, shirt=_colour(rng.uniform(20, 235, 3)),
        hair_style=HAIR_STYLES[rng.integers(len(HAIR_STYLES))],
        hairline=float(rng.uniform(0.36, 0.46)),
        parting=float(rng.uniform(-0.3, 0.3)),
        light=(float(rng.uniform(-1, 1)), float(rng.uniform(-1, 0))),
        beard=float(rng.uniform(0.15, 0.5)) if rng.random() < 0.15 else 0.0,
        glasses=bool(rng.random() < 0.12),
    )  # fmt: skip


def _random_colours(rng: np.random.Generator) -> tuple[Colour, Colour, Colour, Colour]:
    """Skin, hair, lips and irises that go together; dark skin comes with dark hair."""
    tone = rng.random()
    skin = _between(SKINS, tone) * rng.uniform(0.95, 1.05, 3)
    hair = _between(HAIRS[:3], rng.random()) if tone > 0.6 else HAIRS[rng.integers(len(HAIRS))]
    lips = skin * np.array((0.9, 0.6, 0.62)) + np.array((18, 0, 6)) + rng.normal(0, 5, 3)
    iris = _between(HAIRS[:3], rng.random()) if tone > 0.6 or rng.random() < 0.6 else np.array((90, 120, 130))
    return _colour(skin), _colour(hair * rng.uniform(0.8, 1.2)), _colour(lips), _colour(iris)


def _random_place(rng: np.random.Generator, width: int, height: int, size: float) -> tuple[float, float]:
    """Where the eyes of a face of `size` px can sit in the photo, both in px."""
    side, top, bottom = 0.62 * size, 0.72 * size, height - 1.02 * size
    x = rng.uniform(side, width - side) if width > 2 * side else width / 2
    return float(x), float(rng.uniform(top, bottom) if bottom > top else (top + bottom) / 2)


def _between(anchors: NDArray[np.integer], where: float) -> NDArray[np.float64]:
    """The colour at `where` in 0..1 along `anchors`, (3,)."""
    steps = np.linspace(0, 1, len(anchors))
    return np.array([np.interp(where, steps, anchors[:, channel]) for channel in range(3)])


def _colour(values: NDArray[np.floating] | NDArray[np.integer]) -> Colour:
    """Three numbers as a colour in 0..255."""
    red, green, blue = np.clip(values, 0, 255)
    return float(red), float(green), float(blue)

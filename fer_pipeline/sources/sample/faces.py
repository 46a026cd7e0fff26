"""The parameters of a drawn face, and faces drawn at random from them; lengths in widths of the face."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Colour = tuple[float, float, float]

LABELS = ("neutral", "smile", "pout", "open")
HAIR_STYLES = ("short", "long", "bob", "bald", "fringe")
SKINS = np.array([(250, 220, 200), (232, 188, 158), (205, 152, 118), (165, 108, 76), (122, 77, 54), (96, 60, 45)])
HAIRS = np.array([(30, 24, 22), (62, 40, 28), (110, 72, 42), (196, 160, 100), (150, 66, 32), (170, 168, 165)])

# Of the mouth, in distances of the outer eye corners: width, upper and lower lip, lift of the corners, nose to lip and
# lip to chin. Mean and spread of a face at rest that looks into the camera; then what an expression of strength 1 adds.
# From 400 neutral and 400 smiling press portraits, 15 lab portraits with the mouth open and 684 crops of pouts, by
# `measure_mouth`; what is measured there includes the turns of the head.
PROPORTIONS = np.array(((0.59, 0.06), (0.038, 0.015), (0.1, 0.022), (0.025, 0.034), (0.226, 0.036), (0.3, 0.065)))
EXPRESSIONS = {
    "neutral": (0, 0, 0, 0, 0, 0),
    "smile": (0.14, -0.008, 0.002, 0.075, -0.045, -0.05),
    "pout": (-0.19, 0.042, 0.045, 0.03, -0.04, -0.07),
    "flat pout": (-0.14, 0.022, 0.045, 0.01, -0.04, -0.07),
    "open": (-0.09, 0.006, 0.04, 0.045, -0.025, -0.08),
}
FAINTEST = {"neutral": 0.5, "smile": 0.55, "pout": 0.8, "open": 0.7}  # a pout of half the strength is nobody's pout


@dataclass(frozen=True)
class Mouth:
    """Lips in distances of the outer eye corners, as `measure_mouth` measures them on a face turned to the camera.

    `lift` is how far the corners lie above the middle of the lips, `to_nose` and `to_chin` what lies between them and
    the lips, `forward` how far they are pushed out; `slant` raises one corner, `shift` moves the mouth aside.
    """

    width: float
    upper: float
    gap: float
    lower: float
    lift: float
    to_nose: float
    to_chin: float
    forward: float
    slant: float
    shift: float
    teeth: float  # how much of the opening the upper teeth cover, 0..1
    strength: float


@dataclass(frozen=True)
class Build:
    """Proportions of a head in face widths: how it differs from the mean shape."""

    jaw: float
    eye_spread: float
    eye_half: float
    eye_open: float
    gaze: float
    brow_lift: float
    brow_weight: float
    nose_width: float
    nose_length: float
    nose_depth: float


@dataclass(frozen=True)
class Face:
    """One drawn face: centre (midway between the eyes) and width in px, angles in degrees, the rest in face widths.

    `yaw` turns it to the right of the picture, `pitch` nods it down, `tilt` rolls it counter-clockwise.
    """

    label: str
    centre: tuple[float, float]
    width: float
    tilt: float
    yaw: float
    pitch: float
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
    shadow: float
    gloss: float
    age: float
    beard: float
    moustache: float
    glasses: bool


def random_mouth(rng: np.random.Generator, label: str) -> Mouth:
    """Lips showing `label` at a random strength, faint ones included."""
    strength = float(rng.uniform(FAINTEST[label], 1.4))
    change, gap, teeth, forward = EXPRESSIONS[label], 0.0, 0.0, 0.0
    if label == "neutral":
        gap = float(abs(rng.normal(0, 0.045))) if rng.random() < 0.5 else 0.0
        teeth = float(rng.uniform(0, 0.6))
    if label == "smile":
        is_closed = rng.random() < 0.2
        gap = 0.0 if is_closed else max(0.0, strength * float(rng.normal(0.165, 0.05)))
        teeth = float(min(1, rng.uniform(0.7, 1.6)))
    if label == "pout":
        is_flat = rng.random() < 0.3
        change = EXPRESSIONS["flat pout" if is_flat else "pout"]
        gap = float(rng.uniform(0, 0.06)) if not is_flat and rng.random() < 0.6 else 0.0
        forward = strength * (0.03 if is_flat else 0.09)
    if label == "open":
        gap, teeth = 0.09 + strength * float(rng.normal(0.14, 0.05)), float(rng.uniform(-0.3, 0.4))
    lips = PROPORTIONS[:, 0] + strength * np.array(change) + PROPORTIONS[:, 1] * rng.standard_normal(6)
    lips[2] += 0.6 * PROPORTIONS[2, 1] / PROPORTIONS[1, 1] * (lips[1] - PROPORTIONS[1, 0])  # full lips are both full
    width, upper, lower, lift, to_nose, to_chin = (float(value) for value in lips)
    return Mouth(
        width=max(width, 0.25), upper=max(upper, 0.015), gap=max(gap, 0.0), lower=max(lower, 0.03), lift=lift,
        to_nose=max(to_nose, 0.07), to_chin=max(to_chin, 0.12), forward=forward, slant=float(rng.normal(0, 0.012)),
        shift=float(rng.normal(0, 0.008)), teeth=max(teeth, 0.0), strength=strength,
    )  # fmt: skip


def random_build(rng: np.random.Generator, squint: float) -> Build:
    """Proportions near the mean shape; `squint` (0..1) narrows the eyes."""
    return Build(
        jaw=float(rng.normal(0, 0.03)),
        eye_spread=float(rng.normal(0.216, 0.006)),
        eye_half=float(rng.normal(0.088, 0.004)),
        eye_open=float(rng.normal(0.034, 0.004)) * (1 - squint),
        gaze=float(rng.normal(0, 0.012)),
        brow_lift=float(rng.normal(0, 0.012)),
        brow_weight=float(rng.uniform(0.02, 0.04)),
        nose_width=float(rng.normal(0.108, 0.01)),
        nose_length=float(rng.normal(0.241, 0.018)),
        nose_depth=float(rng.normal(0.2, 0.02)),
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
    is_bearded = rng.random() < 0.25
    return Face(
        label=label,
        centre=centre or _random_place(rng, width, height, size),
        width=float(size),
        tilt=float(np.clip(rng.normal(0, 7), -20, 20)),
        yaw=float(np.clip(rng.normal(0, 14), -30, 30)),
        pitch=float(np.clip(rng.normal(0, 10), -20, 20)),
        mouth=mouth,
        build=random_build(rng, squint=0.25 * mouth.strength if label == "smile" else 0.0),
        skin=skin, hair=hair, lips=lips, iris=iris, shirt=_colour(rng.uniform(20, 235, 3)),
        hair_style=HAIR_STYLES[rng.integers(len(HAIR_STYLES))],
        hairline=float(rng.uniform(0.36, 0.46)),
        parting=float(rng.uniform(-0.3, 0.3)),
        light=(float(rng.uniform(-1, 1)), float(rng.uniform(-1, 0))),
        shadow=float(rng.uniform(0.1, 0.8)),
        gloss=float(rng.uniform(0, 0.8)),
        age=float(rng.random()),
        beard=float(rng.uniform(0.15, 0.8)) if is_bearded else 0.0,
        moustache=float(rng.uniform(0.3, 0.9)) if rng.random() < (0.6 if is_bearded else 0.1) else 0.0,
        glasses=bool(rng.random() < 0.12),
    )  # fmt: skip


def _random_colours(rng: np.random.Generator) -> tuple[Colour, Colour, Colour, Colour]:
    """Skin, hair, lips and irises that go together; dark skin comes with dark hair."""
    tone = rng.random()
    skin = _between(SKINS, tone) * rng.uniform(0.95, 1.05, 3)
    hair = _between(HAIRS[:3], rng.random()) if tone > 0.6 else HAIRS[rng.integers(len(HAIRS))]
    lips = skin * np.array((0.9, 0.6, 0.62)) + np.array((18, 0, 6)) + rng.normal(0, 5, 3)
    lips += rng.uniform(0, 0.9) * (0.92 * skin - lips)
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

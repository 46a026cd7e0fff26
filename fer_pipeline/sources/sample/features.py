"""The features of a drawn face, each painted from its landmarks (68, 2) in face widths."""

import numpy as np

from .faces import Colour, Face
from .landmarks import Points, eye_distance, place
from .painting import Photo, curve, ellipse, paint


def paint_eyes(photo: Photo, face: Face, points: Points) -> None:
    """Sockets, whites, irises, lids, lashes and brows."""
    unit = face.width
    for first, side in ((36, -1), (42, 1)):
        eye = points[first : first + 6]
        x, y = eye.mean(axis=0)
        socket = ellipse(x - side * 0.01, y - 0.015, 0.125, 0.07)
        paint(photo, place(face, socket), shade(face.skin, 0.5), 0.6, 0.03 * unit)
        paint(photo, place(face, ellipse(x, y + 0.06, 0.09, 0.03)), shade(face.skin, 0.75), 0.3, 0.02 * unit)
        upper, lower = curve(eye[:4]), curve(eye[[3, 4, 5, 0]])
        paint(photo, place(face, np.concatenate((upper, lower))), (225, 222, 218), 0.95, 0.003 * unit)
        _paint_iris(photo, face, x + face.build.gaze, y, np.concatenate((upper, lower)))
        paint(photo, place(face, upper), shade(face.skin, 0.2), 0.9, 0.003 * unit, max(1.0, 0.017 * unit))
        paint(photo, place(face, lower), shade(face.skin, 0.4), 0.5, 0.003 * unit, max(1.0, 0.008 * unit))
        lid = upper - (0, 0.028)
        paint(photo, place(face, lid), shade(face.skin, 0.45), 0.5, 0.004 * unit, max(1.0, 0.008 * unit))
    for first in (17, 22):
        brow = curve(points[first : first + 5])
        taper = face.build.brow_weight * np.sin(np.linspace(0.35, np.pi - 0.35, len(brow)))
        under = brow[::-1] + np.column_stack((np.zeros(len(brow)), 1.4 * taper))
        shape = np.concatenate((brow, under))
        paint(photo, place(face, shape), brow_colour(face), 0.85, 0.006 * unit)


def _paint_iris(photo: Photo, face: Face, x: float, y: float, opening: Points) -> None:
    """Iris, pupil and glint, kept between the lids (`opening`, (n, 2))."""
    unit, radius = face.width, 0.038
    low, high = opening[:, 1].max(), opening[:, 1].min()
    for size, colour in ((1.0, shade(face.iris, 0.6)), (0.8, face.iris), (0.45, (12.0, 10.0, 10.0))):
        disc = ellipse(x, y, radius * size, radius * size)
        disc[:, 1] = np.clip(disc[:, 1], high, low)
        paint(photo, place(face, disc), colour, 0.95, 0.002 * unit)
    glint = ellipse(x + 0.012 * np.sign(face.light[0]), y - 0.012, 0.008, 0.008)
    paint(photo, place(face, glint), (250, 250, 250), 0.9)


def paint_nose(photo: Photo, face: Face, points: Points) -> None:
    """A lit ridge, shadowed flanks, the ball of the tip, wings and nostrils."""
    unit, tip, base = face.width, points[30], points[31:36]
    away = -1.0 if face.light[0] > 0 else 1.0
    for side, strength in ((away, 0.5), (-away, 0.25)):
        flank = np.array([points[27] + (side * 0.05, 0), tip + (side * 0.05, -0.05), tip + (side * 0.085, 0.05),
                          tip + (side * 0.03, 0.03), points[28] + (side * 0.025, 0)])  # fmt: skip
        paint(photo, place(face, flank), shade(face.skin, 0.62), strength, 0.018 * unit)
    ridge = np.array((points[27] - (0.02, 0.03), points[27] + (0.02, -0.03), tip + (0.03, 0), tip - (0.03, 0)))
    paint(photo, place(face, ridge), shade(face.skin, 1.22), 0.55, 0.015 * unit)
    paint(photo, place(face, ellipse(tip[0], tip[1] + 0.015, 0.04, 0.035)), shade(face.skin, 1.2), 0.5, 0.015 * unit)
    paint(photo, place(face, curve(base)), shade(face.skin, 0.5), 0.6, 0.01 * unit, 0.025 * unit)
    for index, side in ((31, -1), (35, 1)):
        wing = ellipse(points[index, 0], points[index, 1] - 0.035, side * 0.03, 0.035, -90, 90)
        paint(photo, place(face, wing), shade(face.skin, 0.55), 0.6, 0.006 * unit, max(1.0, 0.01 * unit))
        nostril = ellipse(points[index, 0] - side * 0.04, points[index, 1] - 0.002, 0.026, 0.013)
        paint(photo, place(face, nostril), shade(face.skin, 0.2), 0.85, 0.006 * unit)


def paint_mouth(photo: Photo, face: Face, points: Points) -> None:
    """Both lips and the opening between them, with teeth and tongue."""
    unit, lips = face.width, face.lips
    top, bottom = curve(points[48:55]), curve(points[[54, 55, 56, 57, 58, 59, 48]])
    inner_top, inner_bottom = _inner_edge(points[60:65]), _inner_edge(points[[60, 67, 66, 65, 64]])
    opening = np.concatenate((points[48:49], inner_top, points[54:55], inner_bottom[::-1]))
    paint(photo, place(face, np.concatenate((top, bottom))), shade(lips, 0.85), 0.9, 0.01 * unit)
    upper = np.concatenate((top, inner_top[::-1]))
    lower = np.concatenate((bottom, inner_bottom))
    paint(photo, place(face, upper), shade(lips, 0.88), 1, 0.006 * unit)
    paint(photo, place(face, lower), shade(lips, 1.1), 1, 0.006 * unit)
    shine = points[[58, 57, 56, 65, 66, 67]] * 0.5 + points[[67, 66, 65, 66, 66, 66]] * 0.5
    paint(photo, place(face, shine), shade(lips, 1.5), face.gloss, 0.012 * unit)
    if face.mouth.gap > 0:
        _paint_opening(photo, face, opening, inner_top, inner_bottom)
    line = np.concatenate((points[48:49], inner_top, points[54:55]))
    paint(photo, place(face, line), shade(lips, 0.35), 0.85, 0.006 * unit, max(1.0, 0.012 * unit))


def _inner_edge(points: Points) -> Points:
    """A smooth line along the inner edge of a lip, from its 5 landmarks: rounder towards the corners than they tell."""
    first, last = (0.4 * points[end] + 0.6 * points[beside] for end, beside in ((0, 1), (4, 3)))
    bulge = (0, 0.2)
    rows = (points[0], first + bulge * (points[1] - points[0]), *points[1:4], last + bulge * (points[3] - points[4]),
            points[4])  # fmt: skip
    return curve(np.array(rows))


def _paint_opening(photo: Photo, face: Face, opening: Points, inner_top: Points, inner_bottom: Points) -> None:
    """The dark inside of the mouth, with the upper teeth or the tongue where there is room."""
    unit, mouth = face.width, face.mouth
    paint(photo, place(face, opening), (48, 16, 18), 1, 0.004 * unit)
    if mouth.gap > 0.13:
        middle, low = opening.mean(axis=0)[0], opening[:, 1].max()
        tongue = ellipse(middle, low - 0.08 * mouth.gap, 0.14 * mouth.width, 0.14 * mouth.gap)
        paint(photo, place(face, tongue), shade(face.lips, 0.8), 0.6, 0.012 * unit)
    if mouth.teeth:
        across = (inner_top[:, 0] - inner_top[0, 0]) / (inner_top[-1, 0] - inner_top[0, 0])
        arch = np.clip(1.6 * np.sqrt(across * (1 - across)) - 0.15, 0, 1)[:, None] ** 0.5
        edge = inner_top + min(mouth.teeth, 0.16 / mouth.gap) * arch * (inner_bottom - inner_top)
        white = shade((236, 230, 216), 0.25 + 0.7 * max(face.skin) / 250)
        paint(photo, place(face, np.concatenate((inner_top, edge[::-1]))[3:-3]), white, 0.95, 0.005 * unit)


def paint_folds(photo: Photo, face: Face, points: Points) -> None:
    """The groove under the nose, the shade under the lower lip, the corners, and the folds of age or a smile."""
    unit, mouth, reach = face.width, face.mouth, eye_distance(face)
    under = points[57] + (0, 0.03)
    shadow = ellipse(under[0], under[1], 0.3 * mouth.width * reach, 0.022)
    paint(photo, place(face, shadow), shade(face.skin, 0.5), face.shadow, 0.016 * unit)
    chin = ellipse(points[8, 0], points[8, 1] - 0.1, 0.12, 0.05)
    paint(photo, place(face, chin), shade(face.skin, 1.25), face.shadow, 0.03 * unit)
    cast = ellipse(points[33, 0] - 0.02 * face.light[0], points[33, 1] + 0.02, 0.1, 0.03)
    paint(photo, place(face, cast), shade(face.skin, 0.5), 0.8 * face.shadow, 0.016 * unit)
    groove = np.array((points[33] + (0, 0.02), points[51]))
    paint(photo, place(face, groove), shade(face.skin, 0.75), 0.5, 0.01 * unit, 0.02 * unit)
    depth = 0.1 + 0.5 * face.age * face.age + (0.3 * mouth.strength if face.label == "smile" else 0)
    for wing, corner, side in ((31, 48, -1), (35, 54, 1)):
        dimple = ellipse(points[corner, 0] + side * 0.01, points[corner, 1], 0.02, 0.02)
        paint(photo, place(face, dimple), shade(face.skin, 0.5), depth, 0.012 * unit)
        fold = np.array((points[wing] + (side * 0.03, 0), points[corner] + (side * 0.055, -0.05),
                         points[corner] + (side * 0.05, 0.03)))  # fmt: skip
        paint(photo, place(face, curve(fold)), shade(face.skin, 0.55), depth, 0.012 * unit, 0.02 * unit)


def paint_age(photo: Photo, face: Face, points: Points) -> None:
    """Lines on the forehead, crow's feet and bags under the eyes, as deep as `face.age`."""
    unit, depth = face.width, 0.7 * max(0.0, face.age - 0.4)
    if not depth:
        return
    dark = shade(face.skin, 0.55)
    for y in (-0.24, -0.29, -0.34):
        line = curve(np.array(((-0.24, y + 0.02), (-0.1, y), (0.1, y), (0.24, y + 0.02))))
        paint(photo, place(face, line), dark, depth, 0.006 * unit, 0.01 * unit)
    for first, side in ((36, -1), (42, 1)):
        x, y = points[first : first + 6].mean(axis=0)
        bag = ellipse(x, y + 0.045, 0.085, 0.03, 20, 160)
        paint(photo, place(face, bag), dark, depth, 0.006 * unit, 0.01 * unit)
        for rise in (-0.03, 0.0, 0.03):
            line = np.array(((x + side * 0.105, y + 0.4 * rise), (x + side * 0.15, y + rise)))
            paint(photo, place(face, line), dark, depth, 0.005 * unit, 0.006 * unit)


def paint_beard(photo: Photo, face: Face, points: Points, rng: np.random.Generator) -> None:
    """Stubble or a beard on the jaw, and a moustache, as dense as `face.beard` and `face.moustache`."""
    unit = face.width
    top = np.array((points[54] + (0.1, -0.02), points[35] + (0, 0.05), points[33] + (0, 0.045), points[31] + (0, 0.05),
                    points[48] + (-0.1, -0.02)))  # fmt: skip
    if face.beard:
        shape = np.concatenate((curve(points[3:14]), curve(top)))
        paint(photo, place(face, shape), shade(face.hair, 0.9), face.beard, 0.035 * unit)
        hairs = rng.uniform((-0.42, 0.42), (0.42, 0.85), (60, 2))
        for spot in hairs[np.abs(hairs[:, 0]) < 0.95 - hairs[:, 1]]:
            bristle = np.array((spot, spot + (0.1 * spot[0], 0.025)))
            paint(photo, place(face, bristle), shade(face.hair, 0.7), 0.6 * face.beard, 0, 1)
    if face.moustache:
        ends = (points[48] + (-0.02, 0.0), points[50] + (0, -0.005), points[51], points[52] + (0, -0.005),
                points[54] + (0.02, 0.0))  # fmt: skip
        shape = np.concatenate((top[1:4] + (0, 0.02), np.array(ends)))
        paint(photo, place(face, shape), shade(face.hair, 0.9), face.moustache, 0.02 * unit)


def paint_glasses(photo: Photo, face: Face, points: Points) -> None:
    """A thin frame round both eyes, the bridge and the temples."""
    line = max(1.0, 0.012 * face.width)
    for first, side in ((36, -1), (42, 1)):
        x, y = points[first : first + 6].mean(axis=0)
        rim = place(face, ellipse(x + side * 0.012, y + 0.02, 0.135, 0.1))
        paint(photo, rim, (235, 240, 245), 0.06, 0.01 * face.width)
        paint(photo, rim, (40, 34, 32), 0.8, 0, line)
        temple = np.array(((x + side * 0.147, y), (side * 0.5, y + 0.01)))
        paint(photo, place(face, temple), (40, 34, 32), 0.8, 0, line)
    bridge = ellipse(points[27, 0], 0.015, 0.075, 0.03, 180, 360)
    paint(photo, place(face, bridge), (40, 34, 32), 0.8, 0, line)


def brow_colour(face: Face) -> Colour:
    """Brows follow the hair but stay darker than the skin, as detectors expect."""
    red, green, blue = (min(0.75 * hair, 0.55 * skin) for hair, skin in zip(face.hair, face.skin, strict=True))
    return red, green, blue


def shade(colour: Colour, gain: float) -> Colour:
    """The colour made darker or lighter, 0..255."""
    return min(colour[0] * gain, 255.0), min(colour[1] * gain, 255.0), min(colour[2] * gain, 255.0)

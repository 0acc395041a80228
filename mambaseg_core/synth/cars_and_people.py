"""Textures of the synthetic street's moving figures: cars and walking people."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mambaseg_core.synth.textures import GLASS, Color, Plane, Texture, box, canvas, make_texture, plain

SKIN: Color = (0.80, 0.60, 0.48)
RUBBER: Color = (0.06, 0.06, 0.07)


@dataclass(frozen=True, eq=False)
class CarPaint:
    """Textures of a car's faces: side (rear at the left), rear, and, seen from the front, nose, screen and bonnet."""

    side: Texture
    rear: Texture
    nose: Texture
    screen: Texture
    bonnet: Texture


def car(rng: np.random.Generator, color: Color) -> CarPaint:
    """Paint a hatchback of 4.2 m x 1.8 m x 1.5 m."""
    return CarPaint(
        _car_side(rng, color),
        _car_rear(rng, color),
        _car_nose(rng, color),
        _car_screen(rng, color),
        plain(rng, color, contrast=0.02),
    )


def _car_side(rng: np.random.Generator, color: Color) -> Texture:
    picture, alpha = canvas(rng, (60, 168), color, 0.02), np.zeros((60, 168), np.float32)
    scale = np.asarray((40, -40))
    body = np.asarray(
        [
            (0, 0.25),
            (0, 1.0),
            (0.2, 1.46),
            (1.0, 1.5),
            (2.2, 1.46),
            (3.1, 0.95),
            (4.1, 0.9),
            (4.2, 0.86),
            (4.2, 0.25),
        ]
    )
    glass = [
        [(0.35, 0.98), (0.5, 1.36), (1.15, 1.38), (1.15, 0.98)],
        [(1.25, 0.98), (1.25, 1.38), (2.1, 1.36), (2.75, 0.98)],
    ]
    cv2.fillPoly(alpha, [_points(body * scale + (0, 60))], 1.0)
    box(picture, 0, 42, 168, 18, tuple(0.6 * c for c in color))
    for pane in glass:
        cv2.fillPoly(picture, [_points(np.asarray(pane) * scale + (0, 60))], GLASS)
    box(picture, 48, 20, 1, 30, tuple(0.5 * c for c in color))
    box(picture, 160, 28, 8, 6, (0.9, 0.9, 0.85))
    box(picture, 0, 24, 5, 9, (0.7, 0.08, 0.06))
    for centre in (34, 136):
        cv2.circle(alpha, (centre, 46), 13, 1.0, -1)
        cv2.circle(picture, (centre, 46), 13, RUBBER, -1)
        cv2.circle(picture, (centre, 46), 7, (0.55, 0.55, 0.57), -1)
    return make_texture(picture, alpha)


def _car_rear(rng: np.random.Generator, color: Color) -> Texture:
    picture, alpha = canvas(rng, (60, 72), color, 0.02), np.zeros((60, 72), np.float32)
    outline = np.asarray([(0, 49), (0, 22), (8, 2), (20, 0), (52, 0), (64, 2), (72, 22), (72, 49)])
    cv2.fillPoly(alpha, [_points(outline)], 1.0)
    cv2.fillPoly(picture, [_points(np.asarray([(9, 20), (14, 5), (58, 5), (63, 20)]))], GLASS)
    for left in (3, 59):
        box(picture, left, 23, 10, 9, (0.72, 0.07, 0.06))
    box(picture, 25, 31, 22, 6, (0.92, 0.92, 0.88))
    box(picture, 0, 41, 72, 8, tuple(0.45 * c for c in color))
    _wheels(picture, alpha)
    return make_texture(picture, alpha)


def _car_nose(rng: np.random.Generator, color: Color) -> Texture:
    picture, alpha = canvas(rng, (36, 72), color, 0.02), np.zeros((36, 72), np.float32)
    cv2.fillPoly(alpha, [_points(np.asarray([(0, 26), (0, 3), (4, 0), (68, 0), (72, 3), (72, 26)]))], 1.0)
    for left in (4, 54):
        box(picture, left, 6, 14, 7, (0.95, 0.95, 0.88))
    box(picture, 22, 8, 28, 7, (0.10, 0.10, 0.11))
    box(picture, 25, 18, 22, 5, (0.92, 0.92, 0.88))
    box(picture, 10, 24, 52, 4, (0.12, 0.12, 0.13))
    _wheels(picture, alpha)
    return make_texture(picture, alpha)


def _car_screen(rng: np.random.Generator, color: Color) -> Texture:
    picture, alpha = canvas(rng, (24, 72), color, 0.02), np.zeros((24, 72), np.float32)
    cv2.fillPoly(alpha, [_points(np.asarray([(2, 24), (11, 2), (20, 0), (52, 0), (61, 2), (70, 24)]))], 1.0)
    cv2.fillPoly(picture, [_points(np.asarray([(6, 23), (14, 4), (58, 4), (66, 23)]))], (0.22, 0.27, 0.32))
    return make_texture(picture, alpha)


def _wheels(picture: Plane, alpha: Plane) -> None:
    bottom = picture.shape[0]
    for left in (5, 55):
        box(picture, left, bottom - 14, 12, 14, RUBBER)
        alpha[bottom - 14 :, left : left + 12] = 1.0


def person(rng: np.random.Generator, *, phases: int) -> tuple[Texture, ...]:
    """Paint a walking person, 0.9 m x 1.8 m, at `phases` moments of one double step."""
    shirt, trousers, hair = (
        tuple(float(c) for c in rng.uniform(*limits, 3)) for limits in ((0.1, 0.85), (0.06, 0.4), (0.05, 0.4))
    )
    return tuple(_walker(2 * np.pi * phase / phases, shirt, trousers, hair) for phase in range(phases))


def _walker(phase: float, shirt: tuple[float, ...], trousers: tuple[float, ...], hair: tuple[float, ...]) -> Texture:
    picture, alpha = np.full((144, 72, 3), trousers, np.float32), np.zeros((144, 72), np.float32)
    picture[:80] = shirt
    swing = np.sin(phase)
    for side, tone in ((-1, 0.75), (1, 1.0)):  # the far leg and arm first, darker
        knee, foot = (36 + 6 * swing * side, 106), (36 + 15 * swing * side, 139)
        for start, end, thick in (((36, 76), knee, 13), (knee, foot, 10)):
            _limb(picture, alpha, start, end, thick, tuple(tone * c for c in trousers))
        _limb(picture, alpha, foot, (foot[0] + 5, 140), 7, (0.08, 0.07, 0.07))
    for side, tone in ((1, 0.75), (-1, 0.9)):
        hand = (36 + 14 * swing * side, 76)
        _limb(picture, alpha, (36, 38), hand, 8, tuple(tone * c for c in shirt))
        _limb(picture, alpha, hand, (hand[0], hand[1] + 2), 7, SKIN)
        if side == 1:
            _limb(picture, alpha, (36, 42), (36, 70), 22, shirt)
    cv2.circle(picture, (36, 15), 11, hair, -1)
    cv2.circle(alpha, (36, 15), 11, 1.0, -1)
    cv2.circle(picture, (38, 18), 8, SKIN, -1)
    _limb(picture, alpha, (36, 25), (36, 30), 8, SKIN)
    return make_texture(picture, alpha)


def _limb(
    picture: Plane,
    alpha: Plane,
    start: tuple[float, float],
    end: tuple[float, float],
    thick: int,
    color: tuple[float, ...],
) -> None:
    ends = (round(start[0]), round(start[1])), (round(end[0]), round(end[1]))
    cv2.line(picture, *ends, color, thick)
    cv2.line(alpha, *ends, 1.0, thick)


def _points(points: npt.NDArray[np.float64] | npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    return np.rint(points).astype(np.int32)

"""Textures of the faces of the synthetic street's vehicles."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from mambaseg_core.synth.textures import GLASS, Color, Plane, Texture, any_color, box, canvas, make_texture, px
from mambaseg_core.synth.vehicle_shape import Shape

RUBBER: Final[Color] = (0.06, 0.06, 0.07)
SCREEN: Final[Color] = (0.22, 0.27, 0.32)
_CLEAR_M: Final = 0.22  # from the road to the body


def paint_side(rng: np.random.Generator, shape: Shape, color: Color, *, tail_up: float, tail_m: float) -> Texture:
    """Paint a vehicle's right side, its tail at the left."""
    picture, alpha = _blank(rng, shape.length, shape.height, color)
    long, top, up = shape.length, shape.height, shape.bonnet_up
    screen = long - shape.bonnet_m
    roof_to, roof_from = screen - shape.screen_m, tail_m + (0.55 if tail_m else 0.12)
    tail = [(0, tail_up), (tail_m, tail_up), (roof_from, top - 0.02)] if tail_m else [(0, 0.7 * top), (roof_from, top)]
    outline = [(0, _CLEAR_M), *tail, (roof_to, top), (screen, up), (long, up - 0.08), (long, _CLEAR_M)]
    _polygon(alpha, outline, shape.height, 1.0)
    dark = tuple(0.6 * channel for channel in color)
    _polygon(picture, [(0, 0), (0, 0.42), (long, 0.42), (long, 0)], shape.height, dark)
    if shape.kind in ("lorry", "van"):
        cab = screen - 1.5
        _polygon(
            picture, [(cab + 0.2, 1.3), (cab + 0.2, top - 0.3), (roof_to, top - 0.3), (screen - 0.1, 1.3)], top, GLASS
        )
        if shape.kind == "lorry":
            box(picture, 0, 0, px(cab), picture.shape[0] - px(1.0), any_color(rng, (0.3, 0.95), 0.4))
        _polygon(picture, [(cab, 0.4), (cab, top), (cab + 0.06, top), (cab + 0.06, 0.4)], top, dark)
    else:
        sill = 0.62 * top if shape.kind != "bus" else 1.2
        panes = {"bus": 6, "suv": 3}.get(shape.kind, 2)
        edges = np.linspace(roof_from + 0.15, screen - 0.15, panes + 1)
        for left, right in zip(edges[:-1], edges[1:] - 0.08, strict=True):
            high = top - 0.12 if shape.kind != "bus" else top - 0.5
            right_high = min(right, max(left + 0.2, roof_to + 0.05))
            _polygon(
                picture,
                [(left, sill), (max(left, roof_from + 0.2), high), (right_high, high), (right, sill)],
                top,
                GLASS,
            )
    box(picture, picture.shape[1] - 6, picture.shape[0] - px(0.78), 6, px(0.14), (0.9, 0.9, 0.85))
    box(picture, 0, picture.shape[0] - px(0.95), 5, px(0.2), (0.7, 0.08, 0.06))
    radius = 0.31 if shape.length < 5 else 0.36 if shape.length < 7 else 0.48
    for center in (0.19 * long, long - max(0.18 * long, 0.75)):
        place = px(center), picture.shape[0] - px(radius)
        for tone, part in ((RUBBER, 1.0), ((0.45, 0.45, 0.47), 0.6)):
            cv2.circle(picture, place, px(part * radius), tone, -1)
        cv2.circle(alpha, place, px(radius), 1.0, -1)
    return make_texture(picture, alpha)


def paint_tail(rng: np.random.Generator, shape: Shape, color: Color, up: float) -> Texture:
    """Paint a vehicle's tail."""
    picture, alpha = _blank(rng, shape.width, up, color)
    wide = shape.width
    lean = 0.14 if shape.kind in ("hatchback", "suv") else 0.03
    _polygon(
        alpha,
        [(0, _CLEAR_M), (0, 0.6 * up), (lean, up), (wide - lean, up), (wide, 0.6 * up), (wide, _CLEAR_M)],
        up,
        1.0,
    )
    if shape.kind in ("hatchback", "suv", "van", "bus"):
        low = 0.62 * up
        _polygon(picture, [(0.2, low), (0.27, up - 0.12), (wide - 0.27, up - 0.12), (wide - 0.2, low)], up, GLASS)
    elif shape.kind == "lorry":
        box(picture, 0, 0, picture.shape[1], picture.shape[0] - px(1.0), any_color(rng, (0.3, 0.95), 0.3))
        box(picture, picture.shape[1] // 2, 0, 2, picture.shape[0] - px(1.0), (0.2, 0.2, 0.2))
    for left in (0.06, wide - 0.32):
        box(picture, px(left), picture.shape[0] - px(0.98), px(0.26), px(0.24), (0.72, 0.07, 0.06))
    box(picture, px(wide / 2 - 0.26), picture.shape[0] - px(0.75), px(0.52), px(0.13), (0.92, 0.92, 0.80))
    box(picture, 0, picture.shape[0] - px(0.48), picture.shape[1], px(0.2), tuple(0.45 * c for c in color))
    _wheels(picture, alpha)
    return make_texture(picture, alpha)


def paint_nose(rng: np.random.Generator, shape: Shape, color: Color) -> Texture:
    """Paint a vehicle's nose up to the bonnet."""
    up, wide = shape.bonnet_up, shape.width
    picture, alpha = _blank(rng, wide, up, color)
    _polygon(
        alpha,
        [(0, _CLEAR_M), (0, up - 0.08), (0.1, up), (wide - 0.1, up), (wide, up - 0.08), (wide, _CLEAR_M)],
        up,
        1.0,
    )
    for left in (0.08, wide - 0.44):
        box(picture, px(left), picture.shape[0] - px(0.78), px(0.36), px(0.18), (0.95, 0.95, 0.88))
    box(picture, px(0.5), picture.shape[0] - px(0.75), px(wide - 1.0), px(0.18), (0.10, 0.10, 0.11))
    box(picture, px(wide / 2 - 0.26), picture.shape[0] - px(0.5), px(0.52), px(0.12), (0.92, 0.92, 0.88))
    box(picture, px(0.2), picture.shape[0] - px(0.36), px(wide - 0.4), px(0.1), (0.12, 0.12, 0.13))
    _wheels(picture, alpha)
    return make_texture(picture, alpha)


def paint_screen(rng: np.random.Generator, shape: Shape, color: Color) -> Texture:
    """Paint a front or rear window with its frame."""
    picture = canvas(rng, (32, 64), color, 0.02)
    cv2.fillPoly(picture, [np.asarray([(4, 30), (7, 3), (57, 3), (60, 30)], np.int32)], SCREEN)
    return make_texture(picture)


def _blank(rng: np.random.Generator, wide: float, high: float, color: Color) -> tuple[Plane, Plane]:
    size = px(high), px(wide)
    return canvas(rng, size, color, 0.02), np.zeros(size, np.float32)


def _polygon(picture: Plane, points: list[tuple[float, float]], high: float, color: tuple[float, ...] | float) -> None:
    """Fill a polygon whose corners are (meters from the left, meters above the road)."""
    scale = picture.shape[0] / high
    corners: npt.NDArray[np.int32] = np.rint([(x * scale, (high - y) * scale) for x, y in points]).astype(np.int32)
    cv2.fillPoly(picture, [corners], color)


def _wheels(picture: Plane, alpha: Plane) -> None:
    high, wide = picture.shape[:2]
    for left in (px(0.1), wide - px(0.36)):
        box(picture, left, high - px(0.38), px(0.26), px(0.38), RUBBER)
        alpha[high - px(0.38) :, left : left + px(0.26)] = 1.0

"""Textures of houses: fronts of plaster, brick, wood, concrete and glass; side walls, gables and roofs."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mambaseg_core.synth.textures import (
    GLASS,
    Color,
    Plane,
    Texture,
    any_color,
    as_plane,
    box,
    canvas,
    make_texture,
    px,
    varied,
)

_BRICKS: tuple[Color, ...] = ((0.50, 0.28, 0.21), (0.58, 0.42, 0.30), (0.66, 0.58, 0.42), (0.38, 0.26, 0.22))
_ROOFS: tuple[Color, ...] = ((0.52, 0.28, 0.20), (0.30, 0.28, 0.27), (0.22, 0.23, 0.26), (0.42, 0.33, 0.27))


@dataclass(frozen=True, eq=False)
class HousePaint:
    """Textures of a house, and its height to the eaves and of its roof, meters."""

    front: Texture
    side: Texture
    gable: Texture
    roof: Texture
    eaves_m: float
    roof_m: float


def house(rng: np.random.Generator, *, width_m: float, eaves_m: float, pitched: bool) -> HousePaint:
    """Paint a house."""
    kind = str(rng.choice(["plaster", "brick", "wood", "concrete", "glass"], p=[0.42, 0.28, 0.07, 0.13, 0.10]))
    color = {
        "plaster": any_color(rng, (0.35, 0.92), 0.16),
        "brick": varied(rng, _BRICKS[int(rng.integers(len(_BRICKS)))]),
        "wood": any_color(rng, (0.2, 0.85), 0.3),
        "concrete": varied(rng, (0.52, 0.51, 0.49), 0.25),
        "glass": varied(rng, (0.28, 0.36, 0.42), 0.4),
    }[kind]
    size = px(eaves_m), px(width_m)
    front = _wall(rng, size, color, kind)
    if kind == "glass" and eaves_m > 6:
        _panes(rng, front, color)
    else:
        _openings(rng, front, color, eaves_m, width_m)
    side = _wall(rng, (px(eaves_m), px(6.0)), color, kind)
    if rng.random() < 0.4:
        _openings(rng, side, color, eaves_m, 6.0, ground=False)
    gable = _wall(rng, (96, 192), color, kind)
    alpha = np.zeros(gable.shape[:2], np.float32)
    cv2.fillPoly(alpha, [np.asarray([(0, 96), (96, 0), (192, 96)], np.int32)], 1.0)
    roof = _roof(rng)
    roof_m = float(rng.uniform(2.0, 4.5)) if pitched else 0.0
    return HousePaint(
        make_texture(front), make_texture(side), make_texture(gable, alpha), make_texture(roof), eaves_m, roof_m
    )


def _wall(rng: np.random.Generator, size: tuple[int, int], color: Color, kind: str) -> Plane:
    picture = canvas(rng, size, color, 0.09 if kind == "brick" else 0.05)
    dark = tuple(0.78 * channel for channel in color)
    if kind == "brick":
        for row in range(0, size[0], 6):
            picture[row] *= 0.8
    elif kind == "wood":
        for row in range(0, size[0], 8):
            box(picture, 0, row, size[1], 2, dark)
    elif kind == "concrete":
        for row in range(0, size[0], px(3.0)):
            box(picture, 0, row, size[1], 3, dark)
    return picture


def _panes(rng: np.random.Generator, picture: Plane, color: Color) -> None:
    """Paint a curtain wall: panes that mirror the sky more toward the top, and a frame."""
    height, width = picture.shape[:2]
    rows, columns = px(rng.uniform(1.2, 3.4)), px(rng.uniform(1.0, 2.4))
    frame = varied(rng, (0.35, 0.36, 0.38), 0.5)
    picture *= np.linspace(rng.uniform(1.0, 1.9), rng.uniform(0.5, 1.0), height, dtype=np.float32)[:, None, None]
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            picture[top : top + rows, left : left + columns] *= np.float32(rng.uniform(0.75, 1.2))
        box(picture, 0, top, width, int(rng.integers(2, 8)), frame)
    for left in range(0, width, columns):
        box(picture, left, 0, 2, height, frame)


def _openings(
    rng: np.random.Generator, picture: Plane, color: Color, height_m: float, width_m: float, *, ground: bool = True
) -> None:
    """Paint windows on every floor, and a shop, garages or more windows on the ground floor."""
    floors = max(1, round(height_m / rng.uniform(2.7, 3.5)))
    floor_px = picture.shape[0] / floors
    columns = max(1, round(width_m / rng.uniform(1.8, 4.2)))
    column_px = picture.shape[1] / columns
    trim = tuple(float(c) for c in np.clip(np.asarray(color) * rng.uniform(0.6, 1.5) + rng.uniform(-0.05, 0.15), 0, 1))
    if rng.random() < 0.35:
        trim = (0.88, 0.88, 0.86)
    glass = rng.uniform(0.4, 3.0) * np.asarray(GLASS)
    width, height = rng.uniform(0.3, 0.75) * column_px, rng.uniform(0.4, 0.65) * floor_px
    ledge, curtains, balcony = rng.random() < 0.5, rng.uniform(0, 0.7), rng.random() < 0.15
    ground_kind = str(rng.choice(["shop", "garage", "windows"], p=[0.35, 0.1, 0.55])) if ground else "windows"
    for floor in range(floors):
        if floor == floors - 1 and ground_kind != "windows":
            _ground_floor(rng, picture, columns, floor_px, garage=ground_kind == "garage")
            continue
        top = (floor + 0.22) * floor_px
        if ledge:
            box(picture, 0, (floor + 0.97) * floor_px, picture.shape[1], 0.04 * floor_px, trim)
        for column in range(columns):
            if ground and floor == floors - 1 and column == columns // 2:
                box(picture, (column + 0.3) * column_px, top, 0.4 * column_px, 0.8 * floor_px, varied(rng, color, 0.5))
                continue
            left = (column + 0.5) * column_px - width / 2
            box(picture, left - 3, top - 3, width + 6, height + 6, trim)
            box(picture, left, top, width, height, tuple(rng.uniform(0.6, 1.6) * glass))
            if rng.random() < curtains:
                box(picture, left, top, width, height * rng.uniform(0.2, 0.8), (0.62, 0.59, 0.54))
            box(picture, left + width / 2 - 1, top, 2, height, trim)
            if balcony:
                box(picture, left - 8, top + 0.6 * height, width + 16, 0.5 * height, tuple(0.7 * c for c in trim))
    if rng.random() < 0.6:
        box(picture, 0, 0, picture.shape[1], 0.1 * floor_px, trim)


def _ground_floor(rng: np.random.Generator, picture: Plane, columns: int, floor_px: float, *, garage: bool) -> None:
    top, column_px = picture.shape[0] - floor_px, picture.shape[1] / columns
    if garage:
        door = varied(rng, (0.6, 0.6, 0.6), 0.4)
        for column in range(0, columns, 2):
            box(picture, (column + 0.1) * column_px, top + 0.3 * floor_px, 1.2 * column_px, 0.7 * floor_px, door)
        return
    box(picture, 0, top, picture.shape[1], floor_px, any_color(rng, (0.15, 0.8), 0.3))
    box(picture, 0, top + 0.08 * floor_px, picture.shape[1], 0.2 * floor_px, any_color(rng, (0.1, 0.9), 0.8))
    entrance = int(rng.integers(columns))
    pane = tuple(rng.uniform(0.6, 2.0) * np.asarray((0.20, 0.23, 0.26)))
    for column in range(columns):
        left = (column + 0.1) * column_px
        if column == entrance:
            box(picture, left, top + 0.34 * floor_px, 0.5 * column_px, 0.66 * floor_px, (0.18, 0.13, 0.10))
            continue
        box(picture, left, top + 0.34 * floor_px, 0.8 * column_px, 0.52 * floor_px, pane)
        for _ in range(2):  # goods in the window
            color = any_color(rng, (0.2, 0.9), 0.5)
            place = left + rng.uniform(0, 0.6) * column_px, top + rng.uniform(0.45, 0.7) * floor_px
            box(picture, *place, 0.15 * column_px, 0.14 * floor_px, color)


def _roof(rng: np.random.Generator) -> Plane:
    color = varied(rng, _ROOFS[int(rng.integers(len(_ROOFS)))], 0.25)
    picture = canvas(rng, (96, 192), color, 0.10)
    for row in range(0, 96, 8):
        picture[row : row + 2] *= 0.78
    if rng.random() < 0.4:
        for left in rng.uniform(10, 160, 2):
            box(picture, left, 40, 18, 26, (0.25, 0.3, 0.36))
    return as_plane(picture)

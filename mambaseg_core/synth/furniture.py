"""Textures of what stands beside the synthetic road: walls, fences, rails, poles and signs."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from mambaseg_core.synth.textures import (
    Color,
    Plane,
    Texture,
    any_color,
    box,
    canvas,
    make_texture,
    px,
    varied,
)

SIGNS: Final = ("disc", "ring", "arrow", "triangle", "stop", "square", "board", "direction", "light")
"""Kinds of sign."""

_WHITE: Final[Color] = (0.95, 0.95, 0.95)


def wall(rng: np.random.Generator, *, width_m: float, height_m: float) -> Texture:
    """Paint a wall of stones, bricks, plaster or concrete."""
    kind = str(rng.choice(["stones", "bricks", "plaster", "concrete"]))
    color = {
        "stones": varied(rng, (0.50, 0.45, 0.38), 0.2),
        "bricks": varied(rng, (0.50, 0.33, 0.26), 0.2),
        "plaster": any_color(rng, (0.5, 0.9), 0.12),
        "concrete": varied(rng, (0.56, 0.55, 0.53), 0.2),
    }[kind]
    picture = canvas(rng, (px(height_m), px(width_m)), color, 0.08)
    joint = tuple(0.7 * channel for channel in color)
    if kind in ("stones", "bricks"):
        step, long = (12, 24) if kind == "stones" else (5, 14)
        for row in range(0, picture.shape[0], step):
            box(picture, 0, row, picture.shape[1], 1, joint)
            for column in range(-(row // step % 2) * step, picture.shape[1], long):
                box(picture, column, row, 1, step, joint)
    box(picture, 0, 0, picture.shape[1], 5, varied(rng, color, 0.2))
    return make_texture(picture)


def concrete(rng: np.random.Generator, *, width_m: float, height_m: float) -> Texture:
    """Paint cast panels with joints and stains."""
    picture = canvas(rng, (px(height_m), px(width_m)), varied(rng, (0.56, 0.55, 0.53), 0.12), 0.09)
    for column in range(0, picture.shape[1], 80):
        box(picture, column, 0, 3, picture.shape[0], (0.30, 0.29, 0.28))
    box(picture, 0, 0.72 * picture.shape[0], picture.shape[1], 6, (0.36, 0.35, 0.34))
    return make_texture(picture)


def fence(rng: np.random.Generator, *, width_m: float, height_m: float) -> Texture:
    """Paint a fence: closed boards, pickets, iron bars or a mesh."""
    kind = str(rng.choice(["boards", "pickets", "bars", "mesh"], p=[0.3, 0.25, 0.3, 0.15]))
    color = (
        varied(rng, (0.48, 0.36, 0.25), 0.3) if kind in ("boards", "pickets") else varied(rng, (0.18, 0.2, 0.2), 0.5)
    )
    if rng.random() < 0.2:
        color = (0.9, 0.9, 0.88)
    size = px(height_m), px(width_m)
    picture, alpha = canvas(rng, size, color, 0.08), np.zeros(size, np.float32)
    step, bar = {"boards": (10, 10), "pickets": (10, 6), "bars": (8, 3), "mesh": (8, 2)}[kind]
    for column in range(0, size[1], step):
        alpha[:, column : column + bar] = 1.0
        box(picture, column, 0, 1, size[0], tuple(0.5 * channel for channel in color))
    if kind == "mesh":
        for row in range(0, size[0], step):
            alpha[row : row + 2] = 1.0
    for beam in (0.12, 0.85):
        top = round(beam * size[0])
        alpha[top : top + 4] = 1.0
    for column in range(0, size[1], 64):
        alpha[:, column : column + 4] = 1.0
    return make_texture(picture, alpha)


def rail(rng: np.random.Generator, *, width_m: float) -> Texture:
    """Paint a guard rail of 0.8 m: a beam on posts."""
    size = 32, px(width_m)
    picture, alpha = canvas(rng, size, varied(rng, (0.58, 0.60, 0.62), 0.15), 0.05), np.zeros(size, np.float32)
    alpha[2:14] = 1.0
    box(picture, 0, 6, size[1], 3, (0.35, 0.36, 0.37))
    for column in range(0, size[1], 64):
        alpha[:, column : column + 4] = 1.0
    return make_texture(picture, alpha)


def sign(rng: np.random.Generator, kind: str) -> tuple[Texture, float, float]:
    """Paint a sign or a traffic light; return it with its width and height in meters."""
    wide, high = {
        "board": (1.0, 0.6),
        "direction": (float(rng.uniform(1.5, 4.0)), float(rng.uniform(0.8, 2.0))),
        "light": (0.32, 0.9),
        "square": (0.6, 0.6),
    }.get(kind, (0.7, 0.7))
    picture, alpha = np.full((64, 64, 3), 0.95, np.float32), np.ones((64, 64), np.float32)
    red, blue = varied(rng, (0.75, 0.06, 0.08), 0.1), varied(rng, (0.08, 0.25, 0.65), 0.1)
    if kind in ("disc", "ring", "arrow", "triangle", "stop"):
        alpha[:] = 0
    if kind in ("disc", "ring", "arrow"):
        cv2.circle(alpha, (32, 32), 31, 1.0, -1)
        picture[:] = blue if kind == "arrow" else red
        if kind == "disc":
            cv2.rectangle(picture, (13, 27), (51, 37), _WHITE, -1)
        elif kind == "ring":
            cv2.circle(picture, (32, 32), 22, _WHITE, -1)
            cv2.putText(picture, str(rng.integers(2, 9) * 10), (14, 42), 0, 0.9, (0.08, 0.08, 0.08), 4)
        else:
            cv2.arrowedLine(picture, (32, 52), (32, 12), _WHITE, 5, tipLength=0.4)
    elif kind in ("triangle", "stop"):
        turn = np.linspace(0, 2 * np.pi, 3 if kind == "triangle" else 8, endpoint=False)
        start = -np.pi / 2 if kind == "triangle" else np.pi / 8
        for radius, into, color in (
            (33, alpha, 1.0),
            (33, picture, red),
            (21, picture, _WHITE if kind == "triangle" else red),
        ):
            points = np.stack([np.cos(turn + start), np.sin(turn + start)], axis=1) * radius + (32, 36)
            cv2.fillPoly(into, [points.astype(np.int32)], color)
        if kind == "stop":
            box(picture, 14, 30, 36, 10, _WHITE)
    elif kind == "light":
        picture[:] = (0.05, 0.05, 0.05)
        lit = int(rng.integers(3))
        for place, color in enumerate(((0.9, 0.1, 0.08), (0.95, 0.65, 0.1), (0.1, 0.85, 0.5))):
            tone = color if place == lit else tuple(0.2 * channel for channel in color)
            cv2.ellipse(picture, (32, 11 + 21 * place), (22, 8), 0, 0, 360, tone, -1)
    else:
        _board(rng, picture, blue)
    return make_texture(picture, alpha), wide, high


def _board(rng: np.random.Generator, picture: Plane, blue: Color) -> None:
    color = (blue, varied(rng, (0.05, 0.40, 0.22), 0.1), (0.92, 0.92, 0.90), (0.95, 0.75, 0.1))[int(rng.integers(4))]
    ink = (0.08, 0.08, 0.08) if color[0] > 0.8 else _WHITE
    picture[:] = ink
    box(picture, 2, 2, 60, 60, color)
    for row in range(12, 56, 16):
        box(picture, 10, row, float(rng.uniform(20, 44)), 6, ink)

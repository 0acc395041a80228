"""Textures of plants: trees of several shapes and seasons, bare ones, bushes and hedges."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mambaseg_core.synth.textures import Color, Plane, Texture, as_plane, grain, make_texture, px, varied

_PER_M = 16
_LEAVES: tuple[Color, ...] = (
    (0.30, 0.44, 0.18),
    (0.22, 0.33, 0.14),
    (0.42, 0.52, 0.24),
    (0.20, 0.30, 0.20),
    (0.46, 0.42, 0.18),
    (0.55, 0.34, 0.14),
    (0.44, 0.24, 0.14),
)
_SEASONS = ((0.4, 0.3, 0.15, 0.15, 0, 0, 0), (0.15, 0.1, 0.6, 0.15, 0, 0, 0), (0.1, 0.1, 0.05, 0.15, 0.25, 0.2, 0.15))
_GRAINS = (2.0, 6.0, 14.0)


@dataclass(frozen=True, eq=False)
class Plant:
    """A plant seen from the side, and its size in meters."""

    texture: Texture
    width_m: float
    height_m: float
    crown_m: float


def draw_trees(rng: np.random.Generator, count: int) -> list[Plant]:
    """Draw trees of one season."""
    season = _SEASONS[int(rng.choice(3, p=[0.6, 0.2, 0.2]))]
    bare = float(rng.choice([0.0, 0.1, 0.9], p=[0.5, 0.35, 0.15]))
    trees = []
    for _ in range(count):
        color = varied(rng, _LEAVES[int(rng.choice(len(_LEAVES), p=season))], 0.2)
        shape = str(rng.choice(["round", "broad", "tall", "cone"], p=[0.4, 0.3, 0.15, 0.15]))
        if rng.random() < bare:
            trees.append(bare_tree(rng, height_m=float(rng.uniform(5, 12))))
        else:
            trees.append(tree(rng, color, shape))
    return trees


def tree(rng: np.random.Generator, color: Color, shape: str) -> Plant:
    """Paint a tree in leaf: "round", "broad", "tall" or "cone"."""
    height_m = float({"round": rng.uniform(4.5, 9), "broad": rng.uniform(6, 13)}.get(shape, rng.uniform(6, 14)))
    wide = {"round": 0.75, "broad": 1.0, "tall": 0.28, "cone": 0.5}[shape]
    width_m = height_m * wide * float(rng.uniform(0.85, 1.15))
    height, width = round(height_m * _PER_M), max(16, round(width_m * _PER_M))
    from_m = float(rng.uniform(0.05, 0.2) if shape in ("tall", "cone") else rng.uniform(0.22, 0.42))
    crown = np.zeros((height, width), np.float32)
    for _ in range(36):
        up = float(rng.uniform(0, 1))
        reach = 1 - 0.92 * up if shape == "cone" else float(np.sqrt(max(0.05, 1 - (2 * up - 1) ** 2)))
        x = 0.5 + 0.36 * reach * float(rng.uniform(-1, 1))
        y = 0.08 + (1 - from_m - 0.16) * (1 - up)
        radius = (0.05 + 0.11 * reach) * min(width, 0.8 * height)
        cv2.circle(crown, (round(x * width), round(y * height)), max(2, round(radius)), 1.0, -1)
    crown = as_plane(cv2.GaussianBlur(crown, (0, 0), 0.05 * width + 1))
    crown += 0.16 * grain(rng, crown.shape, _GRAINS)
    return _finish(rng, crown, color, (width_m, height_m), trunk=True)


def bare_tree(rng: np.random.Generator, *, height_m: float) -> Plant:
    """Paint a tree without leaves."""
    height = width = round(height_m * _PER_M)
    alpha = np.zeros((height, width), np.float32)
    branches = [(np.asarray((0.5 * width, float(height))), -np.pi / 2, 0.30 * height, 0.035 * height, 0)]
    while branches:
        start, angle, length, thick, depth = branches.pop()
        end = start + length * np.asarray((np.cos(angle), np.sin(angle)))
        cv2.line(alpha, _point(start), _point(end), 1.0, max(1, round(thick)), cv2.LINE_AA)
        if depth < 5:
            for turn in rng.uniform(0.15, 0.75, 2) * (-1, 1):
                branches.append((end, angle + turn, length * rng.uniform(0.62, 0.85), 0.62 * thick, depth + 1))
    color = varied(rng, (0.27, 0.23, 0.19), 0.2)
    picture = np.full((height, width, 3), color, np.float32) * (1 + 0.15 * grain(rng, (height, width)))[..., None]
    return Plant(make_texture(as_plane(picture), alpha), height_m, height_m, 0.25 * height_m)


def bush(rng: np.random.Generator, color: Color) -> Plant:
    """Paint a bush without a trunk."""
    height_m, width_m = float(rng.uniform(0.6, 2.4)), float(rng.uniform(1.0, 4.0))
    height, width = round(height_m * 2 * _PER_M), round(width_m * 2 * _PER_M)
    crown = np.zeros((height, width), np.float32)
    for _ in range(14):
        centre = round(rng.uniform(0.18, 0.82) * width), round(rng.uniform(0.45, 1.0) * height)
        cv2.circle(crown, centre, round(rng.uniform(0.15, 0.3) * height), 1.0, -1)
    crown = as_plane(cv2.GaussianBlur(crown, (0, 0), 3)) + 0.12 * grain(rng, crown.shape, _GRAINS)
    return _finish(rng, crown, color, (width_m, height_m), trunk=False)


def hedge(rng: np.random.Generator, color: Color, *, width_m: float, height_m: float) -> Texture:
    """Paint a hedge with an uneven top."""
    size = px(height_m), px(width_m)
    light = 0.9 + 0.35 * grain(rng, size, _GRAINS)
    alpha = np.ones(size, np.float32)
    alpha[: size[0] // 8] = grain(rng, (size[0] // 8, size[1]), _GRAINS) > np.linspace(1, -2, size[0] // 8)[:, None]
    return make_texture(as_plane(light[..., None] * np.asarray(color, np.float32)), alpha)


def leaf_color(rng: np.random.Generator) -> Color:
    """Draw the color of a hedge or a bush."""
    return varied(rng, _LEAVES[int(rng.integers(4))], 0.2)


def _finish(rng: np.random.Generator, crown: Plane, color: Color, size: tuple[float, float], *, trunk: bool) -> Plant:
    """Color a crown, given by where it is above 0.5, and put it on a trunk."""
    height, width = crown.shape
    alpha = as_plane(np.clip(0.5 + 2 * (crown - 0.5), 0, 1))
    light = 0.95 + 0.33 * grain(rng, crown.shape, _GRAINS)
    light = light + np.linspace(0.25, -0.25, height, dtype=np.float32)[:, None]
    light = light + np.linspace(-1, 1, width, dtype=np.float32) * np.float32(rng.uniform(-0.2, 0.2))
    picture = as_plane(np.maximum(light, 0.15)[..., None] * np.asarray(color, np.float32))
    if trunk:
        half = max(1, round(float(rng.uniform(0.012, 0.03)) * height))
        stem = slice(width // 2 - half, width // 2 + half)
        bare = alpha[:, stem] < 0.5
        bare[: height // 2] = False
        picture[:, stem][bare] = varied(rng, (0.25, 0.20, 0.16), 0.2)
        alpha[:, stem][bare] = 1.0
    return Plant(make_texture(picture, alpha), size[0], size[1], 0.35 * size[0])


def _point(place: np.typing.NDArray[np.float64]) -> tuple[int, int]:
    return round(float(place[0])), round(float(place[1]))

"""People of the synthetic street: walking, seen from the side or along their way, and on bicycles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np

from mambaseg_core.synth.quads import CAR, PERSON, Quad, upright
from mambaseg_core.synth.textures import Color, Plane, Texture, any_color, make_texture, varied

SKIN: Final[Color] = (0.80, 0.60, 0.48)
PHASES: Final = 12
_SIZE: Final = (144, 72)  # 1.8 m x 0.9 m, pixels
_SKINS: Final[tuple[Color, ...]] = (SKIN, (0.88, 0.70, 0.60), (0.55, 0.38, 0.28), (0.36, 0.25, 0.19))


@dataclass(frozen=True)
class _Clothes:
    shirt: Color
    trousers: Color
    hair: Color
    skin: Color
    coat: bool
    bag: bool
    build: float


@dataclass(frozen=True, eq=False)
class Person:
    """A person: textures of a double step from the side and along the way, and the height in meters."""

    aside: tuple[Texture, ...]
    along: tuple[Texture, ...]
    height_m: float


def draw_person(rng: np.random.Generator) -> Person:
    """Paint a person."""
    dark = rng.random() < 0.55
    clothes = _Clothes(
        any_color(rng, (0.06, 0.35) if dark else (0.2, 0.9), 0.35),
        any_color(rng, (0.05, 0.4), 0.25),
        varied(rng, (0.22, 0.17, 0.12), 0.5),
        _SKINS[int(rng.integers(len(_SKINS)))],
        coat=bool(rng.random() < 0.4),
        bag=bool(rng.random() < 0.35),
        build=float(rng.uniform(0.85, 1.3)),
    )
    height_m = float(rng.normal(1.72, 0.09)) if rng.random() < 0.9 else float(rng.uniform(1.0, 1.4))
    turns = [2 * np.pi * phase / PHASES for phase in range(PHASES)]
    aside = tuple(_walker(turn, clothes, stride=1.0) for turn in turns)
    along = tuple(_walker(turn, clothes, stride=0.25) for turn in turns[::2])
    return Person(aside, along, height_m)


def standing_quad(person: Person, *, aside: bool, leftward: bool, speed: float) -> Quad:
    """Return a person as a quad in its own axes; `leftward` mirrors it."""
    half = person.height_m / 4 * (-1 if leftward else 1)
    frames = person.aside if aside else person.along
    quad = upright((-half, 0.0), (half, 0.0), (0.0, person.height_m), frames[0], PERSON)
    return replace(quad, textures=frames, rate_hz=0.75 * abs(speed) * len(frames))


def cyclist_quads(rng: np.random.Generator, *, aside: bool, leftward: bool) -> list[Quad]:
    """Return a bicycle, which counts as a vehicle, and its rider, in their own axes."""
    rider = _rider(rng) if aside else draw_person(rng).along[0]
    half = (0.9 if aside else 0.28) * (-1 if leftward else 1)
    bike = upright((-half, 0.01), (half, 0.01), (0.0, 1.1), _bicycle(rng, aside=aside), CAR)
    wide = half if aside else 0.42
    return [bike, upright((-wide, 0.0), (wide, 0.0), (0.45, 1.75) if aside else (0.25, 1.85), rider, PERSON)]


def _walker(phase: float, clothes: _Clothes, *, stride: float) -> Texture:
    picture, alpha = np.full((*_SIZE, 3), clothes.trousers, np.float32), np.zeros(_SIZE, np.float32)
    picture[:80] = clothes.shirt
    swing, build = np.sin(phase) * stride, clothes.build
    apart = 5 * (1 - stride)  # from the front both legs and arms show
    for side, tone in ((-1, 0.75), (1, 1.0)):  # the far leg and arm first, darker
        lift = 8 * max(0.0, side * np.sin(phase)) * (1 - stride)
        hip = 36 + apart * side
        knee, foot = (hip + 6 * swing * side, 106 - lift / 2), (hip + 15 * swing * side, 139 - lift)
        for start, end, thick in (((hip, 76), knee, 13 * build), (knee, foot, 10)):
            _limb((picture, alpha), start, end, thick, tuple(tone * c for c in clothes.trousers))
        _limb((picture, alpha), foot, (foot[0] + 5 * stride, 140 - lift), 7, (0.08, 0.07, 0.07))
    for side, tone in ((1, 0.75), (-1, 0.9)):
        shoulder = 36 + 2.2 * apart * side
        hand = (shoulder + 14 * swing * side, 76)
        _limb((picture, alpha), (shoulder, 38), hand, 8, tuple(tone * c for c in clothes.shirt))
        _limb((picture, alpha), hand, (hand[0], hand[1] + 2), 7, clothes.skin)
        if side == 1:
            _limb((picture, alpha), (36, 42), (36, 98 if clothes.coat else 70), (22 + apart) * build, clothes.shirt)
    if clothes.bag:
        _limb((picture, alpha), (26 - apart, 44), (26 - apart, 62), 12, tuple(0.6 * c for c in clothes.trousers))
    cv2.circle(picture, (36, 15), 11, clothes.hair, -1)
    cv2.circle(alpha, (36, 15), 11, 1.0, -1)
    cv2.circle(picture, (38, 18), 8, clothes.skin, -1)
    _limb((picture, alpha), (36, 25), (36, 30), 8, clothes.skin)
    return make_texture(picture, alpha)


def _rider(rng: np.random.Generator) -> Texture:
    """Paint a rider from the side, who looks to the right."""
    picture, alpha = np.zeros((104, 144, 3), np.float32), np.zeros((104, 144), np.float32)
    shirt, trousers = any_color(rng, (0.1, 0.9), 0.6), any_color(rng, (0.05, 0.35), 0.2)
    into = picture, alpha
    _limb(into, (60, 50), (84, 66), 14, trousers)
    _limb(into, (84, 66), (74, 96), 10, trousers)
    _limb(into, (62, 48), (82, 24), 18, shirt)
    _limb(into, (82, 26), (104, 46), 8, shirt)
    cv2.circle(picture, (90, 11), 10, varied(rng, (0.5, 0.4, 0.35), 0.6), -1)
    cv2.circle(alpha, (90, 11), 10, 1.0, -1)
    return make_texture(picture, alpha)


def _bicycle(rng: np.random.Generator, *, aside: bool) -> Texture:
    color = any_color(rng, (0.05, 0.7), 0.6)
    if not aside:
        picture, alpha = np.full((88, 44, 3), color, np.float32), np.zeros((88, 44), np.float32)
        _limb((picture, alpha), (22, 30), (22, 84), 7, (0.05, 0.05, 0.05))
        _limb((picture, alpha), (4, 14), (40, 14), 5, color)
        _limb((picture, alpha), (22, 14), (22, 34), 6, color)
        return make_texture(picture, alpha)
    picture, alpha = np.full((88, 144, 3), (0.06, 0.06, 0.06), np.float32), np.zeros((88, 144), np.float32)
    for center in (30, 114):
        cv2.circle(alpha, (center, 60), 25, 1.0, 5)
    for start, end in (((30, 60), (58, 24)), ((58, 24), (100, 24)), ((100, 12), (114, 60)), ((100, 24), (66, 60))):
        _limb((picture, alpha), start, end, 5, color)
    _limb((picture, alpha), (66, 60), (58, 20), 5, color)
    return make_texture(picture, alpha)


def _limb(
    into: tuple[Plane, Plane],
    start: tuple[float, float],
    end: tuple[float, float],
    thick: float,
    color: tuple[float, ...],
) -> None:
    ends = (round(start[0]), round(start[1])), (round(end[0]), round(end[1]))
    cv2.line(into[0], *ends, color, max(1, round(thick)))
    cv2.line(into[1], *ends, 1.0, max(1, round(thick)))

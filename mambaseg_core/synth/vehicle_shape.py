"""Kinds of vehicles in the synthetic street and their measures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Shape:
    """Measures of a vehicle, meters: its box, the bonnet's length and height, where the screen meets the roof."""

    kind: str
    length: float
    width: float
    height: float
    bonnet_m: float
    bonnet_up: float
    screen_m: float


def draw_shape(rng: np.random.Generator, *, parked: bool = False) -> Shape:
    """Draw a kind of vehicle and its measures."""
    shares = [0.42, 0.27, 0.17, 0.08, 0.03, 0.03] if parked else [0.36, 0.24, 0.15, 0.10, 0.08, 0.07]
    kind = str(rng.choice(["hatchback", "saloon", "suv", "van", "lorry", "bus"], p=shares))
    length, width, height, bonnet_m, bonnet_up, screen_m = {
        "hatchback": (3.95, 1.72, 1.48, 0.85, 0.92, 0.95),
        "saloon": (4.60, 1.80, 1.44, 1.15, 0.92, 0.95),
        "suv": (4.60, 1.88, 1.75, 1.10, 1.10, 0.80),
        "van": (5.40, 1.98, 2.30, 0.70, 1.15, 0.75),
        "lorry": (8.00, 2.45, 3.40, 0.05, 1.25, 0.10),
        "bus": (11.0, 2.50, 3.05, 0.05, 0.95, 0.10),
    }[kind]
    size = rng.uniform(0.93, 1.07, 3)
    return Shape(kind, length * size[0], width * size[1], height * size[2], bonnet_m, bonnet_up * size[2], screen_m)

"""Rain drops and dust on a lens: drops bend the light, dust takes some of it away.

A drop on a lens is out of focus. It shows the scene upside down, wide and blurred, inside a soft disc, which stays
where it is or slides down slowly. Dust is a soft dark spot that stays. So drops make events of their own, and dust
makes none: its factor on the intensity does not change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from mambaseg_core.synth.textures import Plane, as_plane

_COARSE: Final = 4  # drops look at the scene at this fraction of the resolution
_BLUR_PX: Final = 1.2  # at that resolution


@dataclass(frozen=True, kw_only=True)
class Dirt:
    """Dirt on the lenses of a drive.

    Attributes:
        drops: rain drops on each lens.
        dust: dust spots on each lens.
        film: share of the light that water on the lens spreads over the whole image.
        seed: draws places, sizes and speeds; each lens has its own.
    """

    drops: int = 0
    dust: int = 0
    film: float = 0.0
    seed: int = 0


CLEAN: Final = Dirt()


@dataclass(frozen=True)
class _Drop:
    """A drop.

    Attributes:
        x, y: center at time 0, pixels.
        radius: half of its width, pixels.
        tall: height relative to the width.
        bend: how many pixels of the scene go into a pixel of the drop.
        falls: speed down the lens, pixels per second.
    """

    x: float
    y: float
    radius: float
    tall: float
    bend: float
    falls: float


class Lens:
    """One lens with its dirt.

    Args:
        dirt: dirt on the lenses of the drive.
        size: (height, width) of the image, pixels.
        number: number of the lens: another one has other drops.
    """

    def __init__(self, dirt: Dirt, size: tuple[int, int], number: int) -> None:
        rng = np.random.default_rng((dirt.seed, number))
        self._size = size
        self._film = np.float32(dirt.film)
        self._drops = [_draw_drop(rng, size) for _ in range(dirt.drops)]
        self._clear = _clearness(rng, size, dirt.dust) if dirt.dust else None

    def look(self, scene: Plane, seconds: float) -> Plane:
        """Return the radiance behind the lens at a time.

        Args:
            scene: radiance in front of it, float32 [H, W] or [H, W, C].
            seconds: time of the drive.
        """
        if self._clear is not None:
            scene = scene * self._clear.reshape(self._size + (1,) * (scene.ndim - 2))
        if self._film:
            scene = scene + self._film * (scene.mean(axis=(0, 1)) - scene)
        if not self._drops:
            return scene
        height, width = self._size
        small = cv2.resize(scene, (width // _COARSE, height // _COARSE), interpolation=cv2.INTER_AREA)
        small = as_plane(cv2.GaussianBlur(small, (0, 0), _BLUR_PX, borderType=cv2.BORDER_REPLICATE))
        seen = scene.copy()
        for drop in self._drops:
            self._refract(seen, small, drop, seconds)
        return seen

    def _refract(self, seen: Plane, small: Plane, drop: _Drop, seconds: float) -> None:
        """Draw a drop over the image, in place."""
        height, width = self._size
        reach_y = drop.radius * drop.tall
        middle = (drop.y + drop.falls * seconds + reach_y) % (height + 2 * reach_y) - reach_y
        top, bottom = max(0, int(middle - reach_y)), min(height, int(middle + reach_y) + 2)
        left, right = max(0, int(drop.x - drop.radius)), min(width, int(drop.x + drop.radius) + 2)
        if top >= bottom or left >= right:
            return
        y, x = np.mgrid[top:bottom, left:right].astype(np.float32)
        away_x, away_y = x - np.float32(drop.x), y - np.float32(middle)
        out = np.hypot(away_x / np.float32(drop.radius), away_y / np.float32(reach_y))
        opaque = np.clip((1 - out) / np.float32(0.3), 0, 1)
        shade = 1.05 - 0.55 * out**4  # less light comes through the steep rim
        columns = (np.float32(drop.x) - drop.bend * away_x + 0.5) / _COARSE - 0.5
        rows = (np.float32(middle) - drop.bend * away_y + 0.5) / _COARSE - 0.5
        bent = cv2.remap(
            small, columns.astype(np.float32), rows.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )
        region = seen[top:bottom, left:right]
        more = (1,) * (region.ndim - 2)
        opaque, shade = (plane.reshape(plane.shape + more) for plane in (opaque, shade))
        region += opaque * (bent.reshape(region.shape) * shade - region)


def _draw_drop(rng: np.random.Generator, size: tuple[int, int]) -> _Drop:
    height, width = size
    radius = height * float(np.exp(rng.uniform(np.log(0.015), np.log(0.12))))
    slides = rng.random() < 0.4
    return _Drop(
        x=float(rng.uniform(0, width)),
        y=float(rng.uniform(0, height)),
        radius=max(radius, 1.5),
        tall=float(rng.uniform(0.9, 1.5)),
        bend=float(rng.uniform(2.5, 5.0)),
        falls=height * float(rng.uniform(0.01, 0.12)) if slides else 0.0,
    )


def _clearness(rng: np.random.Generator, size: tuple[int, int], spots: int) -> Plane:
    """Return the share of the light that passes the dust, float32 [H, W]."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    clear = np.ones(size)
    for _ in range(spots):
        radius = height * np.exp(rng.uniform(np.log(0.008), np.log(0.07)))
        squared = ((x - rng.uniform(0, width)) ** 2 + (y - rng.uniform(0, height)) ** 2) / max(radius, 1.0) ** 2
        clear *= 1 - rng.uniform(0.15, 0.75) * np.exp(-(squared**1.5))
    return as_plane(clear)

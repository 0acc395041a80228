"""What lenses, sensors and their electronics do to a picture, as an augmentation of training samples."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
import torch

from mambaseg_core.data.sample import Sample
from mambaseg_core.pictures import through_jpeg

Pixels = npt.NDArray[np.float32]
"""[H, W, C] in 0..1."""

_LUMA: Final = np.array([0.299, 0.587, 0.114])


def camera_effects(sample: Sample, generator: torch.Generator, *, strength: float) -> Sample:
    """Show the image as another camera would; second input and label stay.

    The order is that of light: haze, blur, vignetting, exposure and white balance, noise, color and gamma, JPEG. Haze,
    blur, vignetting, noise and JPEG each come in half of the samples. At strength 1 the limits are: haze over half of
    the contrast, blur of 2 pixels or motion over 7, corners at half of the light, exposure from 1/2 to 2, white balance
    and saturation by factors from 0.7 to 1.4 and from 0 to 2, hue by 20 degrees, gamma from 0.6 to 1.6, noise of 0.06,
    JPEG of quality 20 (never above 95).

    Args:
        sample: one of any size.
        generator: draws all of them.
        strength: 0 (none) to 1; scales the limits.
    """
    if strength == 0:
        return sample
    image = np.ascontiguousarray(sample.image.permute(1, 2, 0).numpy())
    image = _haze(image, generator, strength)
    image = _blur(image, generator, strength)
    image = _vignette(image, generator, strength)
    image = _expose(image, generator, strength)
    image = _noise(image, generator, strength)
    image = _develop(image, generator, strength)
    image = _jpeg(image, generator, strength)
    return replace(sample, image=torch.from_numpy(image).permute(2, 0, 1).contiguous())


def _haze(image: Pixels, generator: torch.Generator, strength: float) -> Pixels:
    """Mix in one light gray: fog, dust on the lens, stray light."""
    present, amount, gray = _draw(generator, 3)
    if present < 0.5:
        return image
    share = np.float32(0.5 * strength * amount**2)
    return image * (1 - share) + share * np.float32((0.5 + 0.5 * gray) * image.max(initial=0.1))


def _blur(image: Pixels, generator: torch.Generator, strength: float) -> Pixels:
    """Blur by defocus or, half the time, by motion in one direction."""
    present, amount, motion, angle = _draw(generator, 4)
    if present < 0.5:
        return image
    if motion < 0.5:
        return _shaped(cv2.GaussianBlur(image, (0, 0), 0.3 + 1.7 * strength * amount), image)
    length = 1 + 6 * strength * amount
    kernel = np.zeros((9, 9), np.float32)
    half = length / 2 * np.array([np.cos(np.pi * angle), np.sin(np.pi * angle)])
    ends = np.rint(16 * (4 + np.stack([-half, half]))).astype(int)  # 4 bits of fraction
    cv2.line(kernel, ends[0].tolist(), ends[1].tolist(), 1.0, 1, cv2.LINE_8, shift=4)
    return _shaped(cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT), image)


def _vignette(image: Pixels, generator: torch.Generator, strength: float) -> Pixels:
    """Darken the corners with the square of the distance from the center."""
    present, amount = _draw(generator, 2)
    if present < 0.5:
        return image
    height, width = image.shape[:2]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None, None] ** 2
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None] ** 2
    return image * (1 - np.float32(0.25 * strength * amount) * (x + y))


def _expose(image: Pixels, generator: torch.Generator, strength: float) -> Pixels:
    """Scale by exposure and white balance; what becomes brighter than white is white."""
    exposure, red, blue = (strength * (2 * u - 1) for u in _draw(generator, 3))
    gains = np.array([2**exposure * 1.4**red, 2**exposure, 2**exposure * 1.4**blue], np.float32)
    return np.clip(image * (gains if image.shape[2] == 3 else gains[1]), 0, 1)


def _noise(image: Pixels, generator: torch.Generator, strength: float) -> Pixels:
    """Add the noise of photons, which grows with the root of the light, and of the electronics."""
    present, amount = _draw(generator, 2)
    if present < 0.5:
        return image
    deviation = np.float32(0.06 * strength * amount**2) * np.sqrt(image * 0.8 + 0.2)
    normal: Pixels = torch.randn(image.shape, generator=generator).numpy()
    noisy: Pixels = np.clip(image + deviation * normal, 0, 1)
    return noisy


def _develop(image: Pixels, generator: torch.Generator, strength: float) -> Pixels:
    """Change gamma, saturation and hue."""
    gamma, saturation, hue = (strength * (2 * u - 1) for u in _draw(generator, 3))
    image = _shaped(cv2.pow(image, 1.6**gamma), image)
    if image.shape[2] == 1:
        return image
    matrix = _turned(np.deg2rad(20 * hue)) @ (np.eye(3) * (1 + saturation) - np.tile(_LUMA, (3, 1)) * saturation)
    return np.clip(cv2.transform(image, matrix.astype(np.float32)), 0, 1)


def _turned(angle: float) -> npt.NDArray[np.float64]:
    """Return the rotation of RGB about the axis of grays, [3, 3]."""
    vector = np.full(3, angle / np.sqrt(3))
    return np.asarray(cv2.Rodrigues(vector)[0], np.float64)


def _jpeg(image: Pixels, generator: torch.Generator, strength: float) -> Pixels:
    """Compress and decompress as JPEG."""
    present, amount = _draw(generator, 2)
    if present < 0.5:
        return image
    quality = round(95 - 75 * strength * amount)
    octets = np.rint(255 * image).astype(np.uint8)
    return _shaped(through_jpeg(octets if image.shape[2] == 3 else octets[..., 0], quality), image) / np.float32(255)


def _draw(generator: torch.Generator, count: int) -> list[float]:
    numbers: list[float] = torch.rand(count, generator=generator).tolist()
    return numbers


def _shaped(changed: Any, image: Pixels) -> Pixels:
    """Put back the axis of channels, which OpenCV drops from a gray image."""
    return changed.reshape(image.shape).astype(np.float32, copy=False)  # type: ignore[no-any-return]

"""Random changes of training samples, as pure functions of a sample and a generator.

The generator is seeded by the run's seed and the draw's number (see `SampleDataset`). So the changes depend neither on
workers nor on earlier draws, and a resumed run continues exactly. No function changes its argument.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from mambaseg_core.data.camera_effects import camera_effects
from mambaseg_core.data.class_colors import class_colors
from mambaseg_core.data.misalignment import misalign
from mambaseg_core.data.sample import Sample
from mambaseg_core.labels import IGNORE
from mambaseg_core.ops.area_resize import area_resize


@dataclass(frozen=True)
class Augmentation:
    """All changes, in the order of the attributes but for the crop, which is after the resize; can be pickled.

    The released training code uses scale (1.02, 1.2), a crop to the input's size, flip 0.5, and nothing else.

    Attributes:
        crop: (height, width) of the result, pixels.
        scale: smallest and largest factor of the random resize; (1, 1) for none.
        flip: probability of a horizontal flip.
        class_colors: probability that a class of the picture gets random colors.
        misalignment: largest shift of the image, with `two_lenses` of the second input, against the rest, pixels.
        camera: strength of the effects of other cameras, 0 (none) to 1.
        photometric: strength of the image's photometric noise, 0 (none) to 1.
        modality_dropout: probability that the image or the second input, each half the time, is blanked.
        cover: probability that the image shows a covered lens.
        two_lenses: True if the second input is an image too; it then is the covered one half the time.
    """

    crop: tuple[int, int]
    scale: tuple[float, float] = (1.0, 1.0)
    flip: float = 0.5
    class_colors: float = 0.0
    misalignment: float = 0.0
    camera: float = 0.0
    photometric: float = 0.0
    modality_dropout: float = 0.0
    cover: float = 0.0
    two_lenses: bool = False

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        """Return a changed copy."""
        sample = random_resize(sample, generator, scale=self.scale)
        sample = random_crop(sample, generator, size=self.crop)
        sample = random_flip(sample, generator, probability=self.flip)
        sample = class_colors(sample, generator, probability=self.class_colors)
        sample = misalign(sample, generator, pixels=self.misalignment, move_second=self.two_lenses)
        sample = camera_effects(sample, generator, strength=self.camera)
        sample = photometric_noise(sample, generator, strength=self.photometric)
        sample = modality_dropout(sample, generator, probability=self.modality_dropout)
        return cover(sample, generator, probability=self.cover, two_lenses=self.two_lenses)


def random_resize(sample: Sample, generator: torch.Generator, *, scale: tuple[float, float]) -> Sample:
    """Resize image, second input and label by one factor, log-uniform between two limits.

    The second input is resized as by `Preprocessing`, the label by its nearest pixel.

    Raises:
        ValueError: the limits are not above 0, or out of order.
    """
    if not 0 < scale[0] <= scale[1]:
        raise ValueError(f"scale is {scale}, expected (smallest, largest) factor above 0; (1, 1) keeps the size")
    share = _uniform(generator)
    factor = scale[0] ** (1 - share) * scale[1] ** share
    height, width = sample.label.shape
    size = max(1, round(height * factor)), max(1, round(width * factor))
    if size == (height, width):
        return sample
    image, second = resize_inputs(sample.image[None], sample.second[None], size)

    def resized(label: torch.Tensor) -> torch.Tensor:
        return F.interpolate(label[None, None].float(), size, mode="nearest-exact")[0, 0].long()

    return sample.moved(image[0], second[0], resized)


def resize_inputs(
    image: torch.Tensor, second: torch.Tensor, size: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Resize images [B, C, H, W] and second inputs [B, T, H, W] to (height, width), for training and evaluation."""
    shrinks = size[0] < image.shape[2]
    image = F.interpolate(image, size, mode="bilinear", align_corners=False, antialias=shrinks)
    if shrinks:
        return image, area_resize(second.flatten(0, 1), size).view(*second.shape[:2], *size)
    return image, F.interpolate(second, size, mode="bilinear", align_corners=False)


def random_crop(sample: Sample, generator: torch.Generator, *, size: tuple[int, int]) -> Sample:
    """Crop image, second input and label; a smaller sample is padded with 0, its label with 255.

    Args:
        sample: one of any size.
        generator: draws the position.
        size: (height, width) of the result, pixels.
    """
    lacking = [max(0, wanted - have) for wanted, have in zip(size, sample.label.shape, strict=True)]
    if any(lacking):
        pad = (0, lacking[1], 0, lacking[0])
        image, second = F.pad(sample.image, pad), F.pad(sample.second, pad)
        sample = sample.moved(image, second, lambda label: F.pad(label, pad, value=IGNORE))
    rows, columns = sample.label.shape
    top = int(torch.randint(rows - size[0] + 1, (), generator=generator))
    left = int(torch.randint(columns - size[1] + 1, (), generator=generator))
    cut = (..., slice(top, top + size[0]), slice(left, left + size[1]))
    return sample.moved(sample.image[cut], sample.second[cut], lambda label: label[cut])


def random_flip(sample: Sample, generator: torch.Generator, *, probability: float) -> Sample:
    """Mirror image, second input and label left to right; polarities stay, as they stand for brightness."""
    if _uniform(generator) >= probability:
        return sample
    return sample.moved(sample.image.flip(-1), sample.second.flip(-1), lambda label: label.flip(-1))


def photometric_noise(sample: Sample, generator: torch.Generator, *, strength: float) -> Sample:
    """Change the image's brightness, contrast and gamma, and add noise; second input and label stay.

    At strength 1: brightness +-0.3, contrast and gamma by factors from 1/2 to 2, noise up to 0.1 (standard deviation).
    """
    if strength == 0:
        return sample
    bright, contrast, gamma, noise = (_uniform(generator) for _ in range(4))
    image = sample.image ** (2 ** (strength * (2 * gamma - 1)))
    mean = image.mean()
    image = (image - mean) * 2 ** (strength * (2 * contrast - 1)) + mean + 0.3 * strength * (2 * bright - 1)
    image = image + 0.1 * strength * noise * torch.randn(image.shape, generator=generator)
    return replace(sample, image=image.clamp(0, 1))


def modality_dropout(sample: Sample, generator: torch.Generator, *, probability: float) -> Sample:
    """Blank the image or the second input, each half the time: a model should work when one sensor fails."""
    draw = _uniform(generator)
    if draw >= probability:
        return sample
    if draw < probability / 2:
        return replace(sample, image=torch.zeros_like(sample.image), covered=(True, sample.covered[1]))
    return replace(sample, second=torch.zeros_like(sample.second), covered=(sample.covered[0], True))


def cover(sample: Sample, generator: torch.Generator, *, probability: float, two_lenses: bool) -> Sample:
    """Show the image, with `two_lenses` either input half the time, as behind a lens cap: one dark level and noise.

    Level and standard deviation of the noise are uniform up to 0.2 and 0.03. The second input's channels repeat one
    image, so they share the noise.
    """
    draw = _uniform(generator)
    if draw >= probability:
        return sample
    level, deviation = 0.2 * _uniform(generator), 0.03 * _uniform(generator)

    def dark(x: torch.Tensor, channels: int) -> torch.Tensor:
        noise = torch.randn((channels, *x.shape[1:]), generator=generator)
        return (level + deviation * noise).clamp_(0, 1).expand_as(x)

    if two_lenses and draw < probability / 2:
        return replace(sample, second=dark(sample.second, 1), covered=(sample.covered[0], True))
    return replace(sample, image=dark(sample.image, len(sample.image)), covered=(True, sample.covered[1]))


def _uniform(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator))

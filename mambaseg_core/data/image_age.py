"""Images that are older than the label: which ones a recording has, by the difference of their times.

A mask between two images is made from the newest image, which is old by then, and the events up to now. So a sample is
an image of time t - age, the events up to t, and the label of t. Images without a label count too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

JITTER_NS: Final = 1_000_000
"""Difference by which an image's age may miss the wanted one: the stamps of real cameras jitter."""


class ImageTimes(Protocol):
    """The images of a recording, with or without labels."""

    @property
    def image_times_ns(self) -> npt.NDArray[np.int64]:
        """Time of each image, nanoseconds."""

    @property
    def image_paths(self) -> Sequence[Path | None]:
        """File of each image; None for a time without an image."""


def images_until(recording: ImageTimes, index: int, most_ns: int) -> list[int]:
    """Return the numbers of the images that are at most `most_ns` (+ `JITTER_NS`) old at the time of image `index`.

    That image itself is always among them.
    """
    times = recording.image_times_ns
    ages = times[index] - times
    if most_ns == 0:
        return [index]
    near = np.flatnonzero((ages >= 0) & (ages <= most_ns + JITTER_NS)).tolist()
    return [number for number in near if number == index or recording.image_paths[number] is not None]


def draw_image(recording: ImageTimes, index: int, most_ns: int, seed: int) -> int:
    """Draw one of the images of `images_until`, each as likely, as a function of the seed.

    The draw shares no random numbers with the augmentation of the same seed, which stays what it is without ages.
    """
    numbers = images_until(recording, index, most_ns)
    return numbers[int(np.random.default_rng((abs(seed), most_ns)).integers(len(numbers)))]


def image_of_age(recording: ImageTimes, index: int, age_ns: int) -> int | None:
    """Return the number of the newest image that is at least `age_ns` (- `JITTER_NS`) old at the time of image `index`.

    None if there is none, or if it is older by more than half of the recording's median time between images
    (+ `JITTER_NS`, as that half is exact for an age between two images).
    """
    if age_ns == 0:
        return index
    times = recording.image_times_ns
    ages = times[index] - times
    present = np.array([path is not None for path in recording.image_paths], bool)
    old = np.flatnonzero(present & (ages >= max(1, age_ns - JITTER_NS)))
    if not len(old):
        return None
    newest = int(old[np.argmin(ages[old])])
    period_ns = float(np.median(np.diff(np.sort(times[present]))))
    return newest if ages[newest] <= age_ns + period_ns / 2 + JITTER_NS else None

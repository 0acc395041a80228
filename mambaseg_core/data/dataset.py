"""A map-style data set of labeled images over recordings of any layout."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch.utils.data import Dataset

from mambaseg_core.data.image_age import draw_image, image_of_age, images_until
from mambaseg_core.data.labelled_sequence import LabelledSequence, check_views, load_image, load_label, load_sample
from mambaseg_core.data.sample import Sample
from mambaseg_core.data.view import ViewCache
from mambaseg_core.preprocessing import Preprocessing

Transform = Callable[[Sample, torch.Generator], Sample]
Key = int | tuple[int, int]


class AgedSample(NamedTuple):
    """A sample with an old image.

    Attributes:
        sample: the sample.
        before: int64 [H, W] label of the image's own time; None if it has none, or is not older.
    """

    sample: Sample
    before: torch.Tensor | None = None


class SampleDataset(Dataset[Sample], ABC):
    """Labeled samples, changed at random by a transform.

    An item's key is its number, or (number, seed). The seed drives the transform's randomness. A sampler that yields
    both, as a function of the run's seed and step, makes training independent of the workers' number and state.

    Args:
        preprocessing: the model's; `Segmenter` and the ROS node make the same tensors.
        transform: changes a sample at random; its generator has the key's seed (default: the item's number).
    """

    def __init__(self, preprocessing: Preprocessing, transform: Transform | None = None) -> None:
        self.preprocessing = preprocessing
        self.transform = transform

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def load(self, number: int) -> Sample:
        """Return the sample of that number, unchanged."""

    def label(self, number: int) -> torch.Tensor:
        """Return the label of the sample of that number, int64 [H, W]."""
        return self.load(number).label

    def draw(self, number: int, seed: int) -> Sample:
        """Return the sample of that number, with what is drawn before the transform."""
        return self.load(number)

    def at_ages(self, number: int, ages_ns: Sequence[int]) -> list[AgedSample | None]:
        """Return the sample of that number with an image of each age, changed alike by the transform.

        None stands for an age without an image (`image_of_age`), always so in a data set without times of images.
        """
        return [None if age_ns else AgedSample(self._changed(self.load(number), number)) for age_ns in ages_ns]

    def __getitem__(self, key: Key) -> Sample:
        number, seed = (key, key) if isinstance(key, int) else key
        return self._changed(self.draw(number, seed), seed)

    def _changed(self, sample: Sample, seed: int) -> Sample:
        return sample if self.transform is None else self.transform(sample, torch.Generator().manual_seed(seed))


class RecordingDataset(SampleDataset):
    """Samples of chosen images of some recordings, in that order.

    Args:
        items: recordings and numbers of their images; each image has a label.
        preprocessing: as in `SampleDataset`.
        transform: as in `SampleDataset`.
        cache: folder that keeps decoded images and rectified events between epochs (`ViewCache`); None: no cache.
        image_age_ns: largest age of an image at its label's time. Each item's image is drawn evenly among those that
            are at most that old, as a function of the key's seed; 0: always the labelled image.

    Raises:
        ValueError: the images and events of a recording have no calibration and are not registered, fewer than
            half of the images lie within the time of the events, or no image is old enough for `image_age_ns`.
    """

    def __init__(
        self,
        items: Sequence[tuple[LabelledSequence, int]],
        preprocessing: Preprocessing,
        transform: Transform | None = None,
        cache: str | Path | None = None,
        *,
        image_age_ns: int = 0,
    ) -> None:
        super().__init__(preprocessing, transform)
        self.items = items
        self.image_age_ns = image_age_ns
        for recording in dict.fromkeys(recording for recording, _ in items):
            check_views(recording)
        self.cache = None if cache is None else ViewCache(cache, preprocessing)
        if image_age_ns and not any(len(images_until(*item, image_age_ns)) > 1 for item in items):
            raise ValueError(
                f"data.image_age_ms is {image_age_ns / 1e6:g}, but no label has another image that is at most so old, "
                "expected images that follow each other faster; raise it, or leave it out"
            )

    def __len__(self) -> int:
        return len(self.items)

    def load(self, number: int) -> Sample:
        """Return the sample of that number, unchanged."""
        return load_sample(*self.items[number], self.preprocessing, self.cache)

    def label(self, number: int) -> torch.Tensor:
        """Return the label of the sample of that number, int64 [H, W], without its image and events."""
        return load_label(*self.items[number], self.preprocessing)

    def at_ages(self, number: int, ages_ns: Sequence[int]) -> list[AgedSample | None]:
        """Return the sample of that number with an image of each age; its events are read once."""
        if not any(ages_ns):
            return super().at_ages(number, ages_ns)
        (recording, index), setup = self.items[number], self.preprocessing
        plain = self.load(number)
        found: list[AgedSample | None] = []
        for age_ns in ages_ns:
            image = image_of_age(recording, index, age_ns)
            if image is None or image == index:
                found.append(None if image is None else AgedSample(self._changed(plain, number)))
                continue
            age_ns = int(recording.image_times_ns[index] - recording.image_times_ns[image])
            before = None if recording.label_paths[image] is None else load_label(recording, image, setup)
            image_then = load_image(recording, image, setup, self.cache)
            old = replace(plain, image=image_then, age_ns=age_ns, image_label=before)
            if before is not None:
                before = self._changed(replace(old, label=before), number).label
            found.append(AgedSample(self._changed(old, number), before))
        return found

    def draw(self, number: int, seed: int) -> Sample:
        """Return the sample of that number with an image drawn by age."""
        if not self.image_age_ns:
            return self.load(number)
        recording, index = self.items[number]
        image = draw_image(recording, index, self.image_age_ns, seed)
        sample = load_sample(recording, index, self.preprocessing, self.cache, image=image)
        if image == index or recording.label_paths[image] is None:
            return sample
        return replace(sample, image_label=load_label(recording, image, self.preprocessing))

"""Batches of an evaluation: labeled images, and for each age the older images of the same labels and events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mambaseg_core.data.dataset import AgedSample, SampleDataset
from mambaseg_core.data.sample import Batch, collate
from mambaseg_core.labels import IGNORE


class OldImages(NamedTuple):
    """Images of one age for n samples of a batch.

    Attributes:
        rows: numbers of the samples in the batch; a sample without such an image is left out.
        image: float32 [n, C, H, W] in 0..1.
        age_ns: age of each image, nanoseconds.
        before: int64 [n, H, W] labels of the images' own time, 255 = ignore or no label; None if none has a label.
    """

    rows: list[int]
    image: Tensor
    age_ns: tuple[int, ...]
    before: Tensor | None


class AgedBatch(NamedTuple):
    """A batch with labeled images, and the older images of each age."""

    now: Batch
    old: list[OldImages]

    def at(self, old: OldImages) -> Batch:
        """Return the samples that have an image of an age, with that image."""
        return replace(self.now.rows(old.rows), image=old.image, age_ns=old.age_ns)


def aged_batches(
    dataset: SampleDataset, numbers: Sequence[int], ages_ns: Sequence[int], *, batch: int, workers: int
) -> DataLoader[list[AgedSample | None]]:
    """Return a loader of `AgedBatch`es of the samples with these numbers, in this order.

    Args:
        dataset: the data set.
        numbers: numbers of the samples.
        ages_ns: wanted ages of the images, nanoseconds.
        batch: samples of a batch.
        workers: processes that load data. A batch comes from them as few tensors, as each takes an open file.
    """
    aged = _AgedSubset(dataset, numbers, [0, *ages_ns])
    return DataLoader(aged, batch, num_workers=workers, collate_fn=_collate, persistent_workers=workers > 0)


class _AgedSubset(Dataset[list[AgedSample | None]]):
    """Samples of chosen numbers, each with its images of some ages."""

    def __init__(self, dataset: SampleDataset, numbers: Sequence[int], ages_ns: Sequence[int]) -> None:
        self.dataset, self.numbers, self.ages_ns = dataset, numbers, ages_ns

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, place: int) -> list[AgedSample | None]:
        return self.dataset.at_ages(self.numbers[place], self.ages_ns)


def _collate(group: list[list[AgedSample | None]]) -> AgedBatch:
    now, *ages = zip(*group, strict=True)
    return AgedBatch(collate([aged.sample for aged in now]), [_old_images(aged) for aged in ages])


def _old_images(group: tuple[AgedSample | None, ...]) -> OldImages:
    present = {row: aged for row, aged in enumerate(group) if aged is not None}
    samples = [aged.sample for aged in present.values()]
    image = torch.stack([sample.image for sample in samples]) if samples else torch.empty(0)
    before = None
    if any(aged.before is not None for aged in present.values()):
        labels = (
            torch.full_like(aged.sample.label, IGNORE) if aged.before is None else aged.before
            for aged in present.values()
        )
        before = torch.stack(list(labels))
    return OldImages(list(present), image, tuple(sample.age_ns for sample in samples), before)

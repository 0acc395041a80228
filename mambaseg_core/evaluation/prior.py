"""The position prior: the most frequent class at each pixel, a guess that looks at no sensor.

How far a model is above it says how much it sees; a high prior says that the layout gives the answer away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from mambaseg_core.data.dataset import SampleDataset
from mambaseg_core.data.loading import evenly
from mambaseg_core.evaluation.metrics import Scores, confusion_matrix
from mambaseg_core.labels import IGNORE

MOST: Final = 500
"""Number of labels that are read at most."""


@dataclass(frozen=True)
class PositionPrior:
    """The most frequent class at each pixel of some labels.

    Attributes:
        ids: int64 [H, W] class ids.
        split: the split of the labels.
        labels: number of labels that were counted, evenly spread.
        available: number of labels of the split.
        reason: why it is of the evaluated split and not of "train"; empty if it is of "train".
    """

    ids: Tensor
    split: str
    labels: int
    available: int
    reason: str = ""


def position_prior(
    dataset: SampleDataset, split: str = "train", *, most: int = MOST, reason: str = ""
) -> PositionPrior:
    """Count the labels of a data set by position; no image and no event is read.

    A pixel that never has a label gets the most frequent class of all pixels.

    Args:
        dataset: data set of the split.
        split: name of the split, for the report.
        most: number of labels that are read at most, evenly spread; 0: all.
        reason: as in `PositionPrior`.
    """
    classes, numbers = len(dataset.preprocessing.label_set.classes), evenly(len(dataset), most)
    rows, columns = dataset.preprocessing.size
    counts = torch.zeros(classes * rows * columns, dtype=torch.int64)
    places = torch.arange(rows * columns).view(rows, columns)
    for number in numbers:
        label = dataset.label(number)
        kept = label != IGNORE
        counts[label[kept] * rows * columns + places[kept]] += 1  # each place once
    by_class = counts.view(classes, rows, columns)
    ids = torch.where(by_class.sum(0) > 0, by_class.argmax(0), by_class.sum((1, 2)).argmax())
    return PositionPrior(ids, split, len(numbers), len(dataset), reason)


def judge_prior(prior: PositionPrior, dataset: SampleDataset, *, most: int = MOST) -> Scores:
    """Return the scores of a prior on the labels of a data set, of which at most `most` are read, evenly spread."""
    classes = len(dataset.preprocessing.label_set.classes)
    total = torch.zeros(classes, classes, dtype=torch.int64)
    for number in evenly(len(dataset), most):
        total += confusion_matrix(prior.ids, dataset.label(number), classes)
    return Scores.of(total)


def find_prior(opened: Callable[[str], SampleDataset], dataset: SampleDataset, split: str) -> PositionPrior:
    """Return the prior of the split "train", or that of the evaluated split if "train" cannot be read.

    Args:
        opened: opens a split by its name.
        dataset: the evaluated split.
        split: its name.
    """
    if split == "train":
        return position_prior(dataset, split)
    try:
        return position_prior(opened("train"))
    except (ValueError, OSError) as error:
        return position_prior(dataset, split, reason=str(error))

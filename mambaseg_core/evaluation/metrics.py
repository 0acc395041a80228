"""Metrics of a segmentation, from a confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from mambaseg_core.labels import IGNORE

RESAMPLES: Final = 1000
"""Number of resamples of the bootstrap."""

LEVEL: Final = 0.95
"""Level of the bootstrap's confidence interval."""


def confusion_matrix(predicted: Tensor, truth: Tensor, classes: int) -> Tensor:
    """Count pixels by true and predicted class, without ignored pixels.

    Args:
        predicted: integer class ids, any shape.
        truth: integer class ids of the same shape, 255 = ignore.
        classes: K.

    Returns:
        int64 [K, K], truth by row.

    Raises:
        ValueError: the shapes differ, or an id is neither a class nor 255.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"prediction is {list(predicted.shape)} and truth {list(truth.shape)}; expected equal shapes")
    kept = truth != IGNORE
    rows, columns = truth[kept].long(), predicted[kept].long()
    for what, ids in (("truth", rows), ("prediction", columns)):
        if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < classes:
            wrong = ids[(ids < 0) | (ids >= classes)][0]
            raise ValueError(f"the {what} holds the class id {int(wrong)}; expected 0 to {classes - 1} or {IGNORE}")
    return torch.bincount(classes * rows + columns, minlength=classes * classes).view(classes, classes)


@dataclass(frozen=True)
class Scores:
    """Scores from 0 to 1.

    Attributes:
        miou: mean IoU of the classes that occur in the truth.
        iou: IoU of each class; None for a class that does not occur in the truth.
        accuracy: fraction of correct pixels.
        pixels: number of pixels, without ignored ones.
    """

    miou: float
    iou: tuple[float | None, ...]
    accuracy: float
    pixels: int

    @classmethod
    def of(cls, confusion: Tensor) -> Scores:
        """Compute the scores of a confusion matrix, int64 [K, K], truth by row.

        Raises:
            ValueError: the matrix has no pixel.
        """
        counts = confusion.double().cpu()
        hits, truth, predicted = counts.diag(), counts.sum(1), counts.sum(0)
        total = int(confusion.sum())
        if not total:
            raise ValueError("no pixel has a label; expected labels that are not all 255: check the label files")
        iou = hits / (truth + predicted - hits)
        kept = truth > 0
        return cls(
            miou=float(iou[kept].mean()),
            iou=tuple(float(value) if keep else None for value, keep in zip(iou, kept, strict=True)),
            accuracy=float(hits.sum()) / total,
            pixels=total,
        )


def resampled_miou(matrices: Tensor, *, resamples: int = RESAMPLES, seed: int = 0) -> Tensor:
    """Return the mIoU of bootstrap resamples of the sequences, float64 [resamples], 0 to 1.

    A resample draws as many sequences as there are, with replacement. Images of one sequence are alike, so they are
    drawn together. The same seed draws the same sequences, so differences of two calls are those of paired resamples.

    Args:
        matrices: confusion matrix of each sequence, int64 [sequences, K, K], truth by row.
        resamples: number of resamples.
        seed: seed of the draws.
    """
    count = len(matrices)
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), resamples)
    summed = torch.from_numpy(draws.astype(np.float64)) @ matrices.double().cpu().flatten(1)
    summed = summed.view(resamples, *matrices.shape[1:])
    hits, truth, predicted = summed.diagonal(dim1=1, dim2=2), summed.sum(2), summed.sum(1)
    return torch.where(truth > 0, hits / (truth + predicted - hits), torch.nan).nanmean(1)


def miou_interval(matrices: Tensor) -> tuple[float, float] | None:
    """Return the 95 % confidence interval of the mIoU, from percentiles of `resampled_miou`; None below two sequences.

    Sequences without a labeled pixel are left out.
    """
    matrices = matrices[matrices.sum((1, 2)) > 0]
    return _interval(resampled_miou(matrices)) if len(matrices) > 1 else None


def gain_interval(matrices: Tensor, others: Tensor) -> tuple[float, float] | None:
    """Return the 95 % confidence interval of how far the mIoU is above another one on the same pixels.

    Args:
        matrices: as in `resampled_miou`.
        others: confusion matrices of the same sequences, in the same order.

    Raises:
        ValueError: the true classes of a sequence differ, so that the pixels are not the same.
    """
    if matrices.shape != others.shape or not torch.equal(matrices.sum(2), others.sum(2)):
        raise ValueError(
            f"the confusion matrices are of {len(matrices)} and {len(others)} sequences whose true pixels differ; "
            "expected the same sequences in the same order: judge both on the same samples"
        )
    kept = matrices.sum((1, 2)) > 0
    if int(kept.sum()) < 2:
        return None
    return _interval(resampled_miou(matrices[kept]) - resampled_miou(others[kept]))


def _interval(values: Tensor) -> tuple[float, float]:
    tail = (1 - LEVEL) / 2
    low, high = values.quantile(torch.tensor([tail, 1 - tail], dtype=values.dtype)).tolist()
    return low, high

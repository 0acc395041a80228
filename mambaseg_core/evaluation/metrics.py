"""Metrics of a segmentation, from a confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mambaseg_core.labels import IGNORE


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

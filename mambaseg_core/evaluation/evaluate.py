"""Evaluation of a model on a data set: confusion matrices by condition, and example images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mambaseg_core.data.dataset import SampleDataset
from mambaseg_core.data.loading import blanked, evenly, plain_loader
from mambaseg_core.data.sample import Batch
from mambaseg_core.data.transforms import resize_inputs
from mambaseg_core.evaluation.metrics import Scores, confusion_matrix
from mambaseg_core.labels import LabelSet
from mambaseg_core.pictures import Picture, event_picture, in_rgb
from mambaseg_core.precision import float32_products

FULL: Final = 3.0
"""Difference between the numbers of ON and OFF events of a pixel that is drawn in full color."""


@dataclass(frozen=True)
class Example:
    """One sample as images for the report.

    Attributes:
        title: sequence, number and condition.
        image: RGB uint8 [H, W, 3].
        second: RGB uint8 [H, W, 3]: events as `event_picture` draws them, or the thermal or depth image.
        truth: class ids, uint8 [H, W].
        predicted: class ids, uint8 [H, W].
    """

    title: str
    image: Picture
    second: Picture
    truth: Picture
    predicted: Picture


@dataclass(frozen=True)
class Evaluation:
    """Results of an evaluation.

    Attributes:
        labels: the classes.
        confusion: matrix of each condition, int64 [K, K], truth by row.
        samples: number of samples of each condition.
        examples: some of the samples.
        second: kind of the second input: "events", "thermal" or "depth".
    """

    labels: LabelSet
    confusion: dict[str, Tensor]
    samples: dict[str, int]
    examples: tuple[Example, ...]
    second: str = "events"

    @property
    def overall(self) -> Scores:
        """Scores over all samples."""
        return Scores.of(self.all_confusion)

    @property
    def all_confusion(self) -> Tensor:
        """Confusion matrix of all samples, int64 [K, K]."""
        return torch.stack(list(self.confusion.values())).sum(0)

    @property
    def by_condition(self) -> dict[str, Scores]:
        """Scores of each condition."""
        return {name: Scores.of(matrix) for name, matrix in sorted(self.confusion.items())}

    @property
    def absent(self) -> tuple[str, ...]:
        """Names of the classes that never occur in the truth."""
        return tuple(n for n, iou in zip(self.labels.classes, self.overall.iou, strict=True) if iou is None)


def evaluate(
    model: nn.Module,
    dataset: SampleDataset,
    *,
    device: torch.device | str = "cpu",
    keep: str = "both",
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    batch: int = 4,
    workers: int = 0,
    samples: int = 0,
    examples: int = 12,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Evaluate a model.

    Args:
        model: a model of `create_model`; it is put into evaluation mode on `device`.
        dataset: data set with the model's preprocessing.
        device: device of the computation.
        keep: "both", or the one input that is not blanked: "image" or "second".
        scales: as in `predict_ids`.
        flip: as in `predict_ids`.
        batch: samples per forward pass.
        workers: processes that load data.
        samples: number of samples, evenly spread; 0: all.
        examples: number of samples kept as examples, evenly spread.
        progress: called with the number of samples done and of all samples.

    Raises:
        ValueError: a scale is not above 0, or the model takes one size only.
    """
    _check_scales(model, scales)
    labels, kind = dataset.preprocessing.label_set, dataset.preprocessing.second
    classes = len(labels.classes)
    numbers = evenly(len(dataset), samples)
    shown = set(evenly(len(numbers), examples)) if examples else set()
    model = model.eval().to(device)
    confusion: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    kept: list[Example] = []
    done = 0
    for loaded in plain_loader(dataset, numbers, batch=batch, workers=workers):
        data: Batch = blanked(loaded, keep)
        with float32_products("float32", torch.device(device)):
            predicted = predict_ids(model, data.to(device), scales=scales, flip=flip).cpu()
        for row, condition in enumerate(data.condition):
            found = confusion_matrix(predicted[row], data.label[row], classes)
            confusion[condition] = confusion.get(condition, torch.zeros_like(found)) + found
            counts[condition] = counts.get(condition, 0) + 1
            if done + row in shown:
                kept.append(_example(data, predicted, row, kind))
        done += len(data)
        if progress:
            progress(done, len(numbers))
    return Evaluation(labels, confusion, counts, tuple(kept), kind)


@torch.inference_mode()
def predict_ids(model: nn.Module, batch: Batch, *, scales: Sequence[float] = (1.0,), flip: bool = False) -> Tensor:
    """Return the predicted class ids, int64 [B, H, W].

    Args:
        model: model in evaluation mode.
        batch: batch on the model's device.
        scales: factors of the inputs' size. The logits of all scales, resized to the labels' size, are added, as in
            the public code of CMX and Sigma.
        flip: also add the logits of the mirrored inputs.
    """
    size = batch.label.shape[1], batch.label.shape[2]
    total: Tensor | None = None
    for scale in scales:
        image, second = batch.image, batch.second
        if scale != 1:
            image, second = resize_inputs(image, second, (round(scale * size[0]), round(scale * size[1])))
        logits: Tensor = model(image, second)
        if flip:
            logits = logits + model(image.flip(-1), second.flip(-1)).flip(-1)
        if scale != 1:
            logits = F.interpolate(logits, size, mode="bilinear", align_corners=False)
        total = logits if total is None else total + logits
    assert total is not None  # `_check_scales` refuses an empty list
    return total.argmax(1)


def _check_scales(model: nn.Module, scales: Sequence[float]) -> None:
    if not scales or min(scales) <= 0:
        raise ValueError(f"scales are {list(scales)}; expected one or more factors above 0, such as 0.75 1.0 1.25")
    if set(scales) != {1.0} and not getattr(model, "any_size", True):
        size = "x".join(map(str, model.image_size))  # type: ignore[arg-type]
        raise ValueError(f"scales are {list(scales)}, but {model.name} takes {size} only; leave --scales out")


def image_picture(image: Tensor) -> Picture:
    """Return an image [C, H, W] in 0..1 as RGB uint8 [H, W, 3]."""
    return in_rgb((255 * image).round().to(torch.uint8).permute(1, 2, 0).numpy())


def _example(batch: Batch, predicted: Tensor, row: int, kind: str) -> Example:
    second = batch.second[row]
    return Example(
        title=f"{batch.sequence[row]}/{batch.index[row]}, {batch.condition[row]}",
        image=image_picture(batch.image[row]),
        second=event_picture(second.sum(0).numpy() / FULL) if kind == "events" else image_picture(second[:1]),
        truth=batch.label[row].to(torch.uint8).numpy(),
        predicted=predicted[row].to(torch.uint8).numpy(),
    )

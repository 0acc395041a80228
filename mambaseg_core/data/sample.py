"""`Sample` and `Batch`: the items of data sets, which models are trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

UNKNOWN = "unknown"
"""Condition of recordings that name none."""


@dataclass(frozen=True)
class Sample:
    """One label with an image and a second input, in the model's view.

    Attributes:
        image: float32 [C, H, W] in 0..1.
        second: float32 [T, H, W]: voxel grid, or a second camera's image.
        label: int64 [H, W] class ids, 255 = ignore.
        stamp_ns: time of the label, at which the window of events ends, nanoseconds.
        sequence: name of the recording.
        index: number of the labeled image in its recording.
        condition: condition of the recording, such as "day" or "night".
        covered: (image, second): True if augmentation blanked or covered that input.
        age_ns: age of the image at the label's time, nanoseconds; 0 for the labeled image itself.
        image_label: int64 [H, W], class ids at the time of an older image; None where it has none, or is the labeled
            image itself.
    """

    image: torch.Tensor
    second: torch.Tensor
    label: torch.Tensor
    stamp_ns: int
    sequence: str
    index: int
    condition: str = UNKNOWN
    covered: tuple[bool, bool] = (False, False)
    age_ns: int = 0
    image_label: torch.Tensor | None = None

    def moved(
        self, image: torch.Tensor, second: torch.Tensor, change: Callable[[torch.Tensor], torch.Tensor]
    ) -> Sample:
        """Return the sample with inputs of another geometry, and its labels [H, W] changed to it."""
        of_image = None if self.image_label is None else change(self.image_label)
        return replace(self, image=image, second=second, label=change(self.label), image_label=of_image)


@dataclass(frozen=True)
class Batch:
    """B samples of one size.

    Attributes:
        image: float32 [B, C, H, W] in 0..1.
        second: float32 [B, T, H, W].
        label: int64 [B, H, W] class ids, 255 = ignore.
        stamp_ns: time of each sample's label, nanoseconds.
        sequence: name of each sample's recording.
        index: number of each sample in its recording.
        condition: condition of each sample.
        covered: one pair per sample, as in `Sample`.
        age_ns: age of each sample's image, nanoseconds.
    """

    image: torch.Tensor
    second: torch.Tensor
    label: torch.Tensor
    stamp_ns: tuple[int, ...]
    sequence: tuple[str, ...]
    index: tuple[int, ...]
    condition: tuple[str, ...]
    covered: tuple[tuple[bool, bool], ...]
    age_ns: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.stamp_ns)

    def rows(self, rows: Sequence[int]) -> Batch:
        """Return the samples with these numbers, in this order."""
        chosen: dict[str, Any] = {}
        for name, values in vars(self).items():
            tensor = isinstance(values, torch.Tensor)
            chosen[name] = values[list(rows)] if tensor else tuple(values[row] for row in rows)
        return Batch(**chosen)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """Return the batch with its tensors on a device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """Return the batch with its tensors in pinned memory; a DataLoader with `pin_memory=True` calls this."""
        return self._map(torch.Tensor.pin_memory)

    def _map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        return replace(self, image=change(self.image), second=change(self.second), label=change(self.label))


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples; the `collate_fn` of a DataLoader.

    Raises:
        ValueError: there are no samples, or their sizes differ.
    """
    if not samples:
        raise ValueError("got no samples, expected one or more; set the DataLoader's batch size to 1 or more")
    for name in ("image", "second", "label"):
        shapes = {tuple(getattr(sample, name).shape) for sample in samples}
        if len(shapes) > 1:
            named = ", ".join(f"{s.sequence}/{s.index} {list(getattr(s, name).shape)}" for s in samples)
            raise ValueError(f"the samples' {name}s have different shapes ({named}), expected one; resize or crop them")
    return Batch(
        torch.stack([sample.image for sample in samples]),
        torch.stack([sample.second for sample in samples]),
        torch.stack([sample.label for sample in samples]),
        tuple(sample.stamp_ns for sample in samples),
        tuple(sample.sequence for sample in samples),
        tuple(sample.index for sample in samples),
        tuple(sample.condition for sample in samples),
        tuple(sample.covered for sample in samples),
        tuple(sample.age_ns for sample in samples),
    )

"""Data sets by layout, and plain loaders over them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch.utils.data import DataLoader, Subset

from mambaseg_core.data.dataset import SampleDataset, Transform
from mambaseg_core.data.ddd17 import Ddd17Dataset
from mambaseg_core.data.dsec_dataset import DsecDataset
from mambaseg_core.data.picture_folder import PictureDataset, is_picture_folder
from mambaseg_core.data.rgbx import RgbxDataset
from mambaseg_core.data.sample import Batch, Sample, collate
from mambaseg_core.preprocessing import Preprocessing

TIMED = ("dsec", "ddd17")
"""Layouts whose images have times."""


def layout_of(preprocessing: Preprocessing, root: str = "") -> str:
    """Return the layout in which a model's labels are published: "dsec", "ddd17" or "rgbx".

    Args:
        preprocessing: the model's.
        root: folder of a data set; plain pictures in it are "pictures" to a model with events.
    """
    if preprocessing.second != "events":
        return "rgbx"
    if root and is_picture_folder(Path(root)):
        return "pictures"
    return "ddd17" if preprocessing.labels.startswith("ddd17") else "dsec"


def open_dataset(
    layout: str,
    root: str,
    split: str,
    preprocessing: Preprocessing,
    transform: Transform | None = None,
    cache: str = "",
    *,
    registered: bool = False,
    image_age_ns: int = 0,
) -> SampleDataset:
    """Open the labeled images of a split.

    Args:
        layout: "dsec", "ddd17", "rgbx" or "pictures".
        root: folder of the data set.
        split: name of the split.
        preprocessing: the model's.
        transform: as in `SampleDataset`.
        cache: folder of a `ViewCache` of events, or empty.
        registered: as of `DsecDataset`; the other layouts are registered always.
        image_age_ns: as of `RecordingDataset`; 0 for a layout whose images have no times.

    Raises:
        ValueError: the folder is missing, its content does not follow the layout, or it has no older images.
    """
    if image_age_ns and layout not in TIMED:
        raise ValueError(
            f"data.image_age_ms is {image_age_ns / 1e6:g} with data.layout {layout!r}, whose images have no times; "
            "expected 0: leave it out"
        )
    if not root or not os.path.isdir(root):
        raise ValueError(
            f"the data set's folder is {root!r}, which is no folder; expected one: name it after the checkpoint of "
            "`mambaseg eval`, or with --data of `mambaseg train`"
        )
    if layout == "pictures":
        return PictureDataset(root, split, preprocessing, transform)
    if layout == "rgbx":
        return RgbxDataset(root, split, preprocessing, transform)
    if layout == "dsec":
        return DsecDataset(
            root, split, preprocessing, transform, cache or None, registered=registered, image_age_ns=image_age_ns
        )
    return Ddd17Dataset(root, split, preprocessing, transform, cache or None, image_age_ns=image_age_ns)


def evenly(size: int, count: int) -> list[int]:
    """Return `count` numbers below `size`, evenly spread; all of them if `count` is 0 or too large."""
    if not 0 < count < size:
        return list(range(size))
    return [int(number) for number in np.linspace(0, size - 1, count).round()]


def plain_loader(dataset: SampleDataset, numbers: Sequence[int], *, batch: int, workers: int) -> DataLoader[Sample]:
    """Return a loader of `Batch`es of the samples with these numbers, in this order, unchanged."""
    return DataLoader(
        Subset(dataset, numbers), batch, num_workers=workers, collate_fn=collate, persistent_workers=workers > 0
    )


def blanked(batch: Batch, keep: str) -> Batch:
    """Return the batch with zeros for the input that is not kept: `keep` is "image", "second" or "both"."""
    if keep == "image":
        return replace(batch, second=batch.second.new_zeros(batch.second.shape))
    if keep == "second":
        return replace(batch, image=batch.image.new_zeros(batch.image.shape))
    return batch

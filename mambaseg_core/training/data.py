"""Preprocessing and augmentation of a configuration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from mambaseg_core.data.dataset import Transform
from mambaseg_core.data.dsec_dataset import are_of_dsec
from mambaseg_core.data.transforms import Augmentation
from mambaseg_core.events import Window
from mambaseg_core.labels import MFNET_9
from mambaseg_core.preprocessing import DDD17, DSEC, Preprocessing, picture_preprocessing
from mambaseg_core.training.config import DataConfig

_PUBLISHED: Final = {"dsec": DSEC, "ddd17": DDD17, "pictures": DSEC}


def make_preprocessing(data: DataConfig) -> Preprocessing:
    """Return the layout's published preprocessing with the configuration's changes.

    The published crop is that of one car's bonnet: without `crop_bottom`, only recordings of the published data set
    get it.

    Raises:
        ValueError: `crop_bottom` leaves no row, or `splits.yaml` is malformed.
    """
    if data.layout == "rgbx":
        setup = picture_preprocessing(
            data.size,
            channels=data.channels,
            second=data.second,
            repeat=data.second_channels,
            labels=data.labels or MFNET_9.name,
            second_range=data.second_range,
        )
    else:
        setup = replace(_PUBLISHED[data.layout], size=data.size, channels=data.channels)
        setup = replace(setup, labels=data.labels or setup.labels)
    if data.window_ms:
        setup = replace(setup, window=Window(duration_ns=data.window_ms * 1_000_000))
    crop = _published_crop(data, setup) if data.crop_bottom is None else data.crop_bottom
    if crop >= setup.view_size[0]:
        raise ValueError(
            f"data.crop_bottom is {crop} of the {setup.view_size[0]} rows of a view, expected fewer; lower it"
        )
    return replace(setup, crop_bottom=crop)


def _published_crop(data: DataConfig, setup: Preprocessing) -> int:
    own = data.layout == "pictures" or (data.layout == "dsec" and not are_of_dsec(Path(data.root)))
    return 0 if own else setup.crop_bottom


def make_transform(data: DataConfig) -> Transform:
    """Return the configuration's augmentation of training samples."""
    return Augmentation(
        crop=data.crop or data.size,
        scale=data.scale,
        flip=0.5 if data.flip else 0.0,
        misalignment=data.misalignment_px,
        class_colors=data.class_colors,
        camera=data.camera,
        photometric=data.photometric,
        modality_dropout=data.modality_dropout,
        cover=data.cover,
        two_lenses=data.second != "events",
    )

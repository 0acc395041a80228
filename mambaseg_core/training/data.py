"""Preprocessing and augmentation of a configuration."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from mambaseg_core.data.dataset import Transform
from mambaseg_core.data.transforms import Augmentation
from mambaseg_core.events import Window
from mambaseg_core.labels import MFNET_9
from mambaseg_core.preprocessing import DDD17, DSEC, Preprocessing, picture_preprocessing
from mambaseg_core.training.config import DataConfig

_PUBLISHED: Final = {"dsec": DSEC, "ddd17": DDD17}


def make_preprocessing(data: DataConfig) -> Preprocessing:
    """Return the layout's published preprocessing with the configuration's changes."""
    if data.layout == "rgbx":
        return picture_preprocessing(
            data.size,
            channels=data.channels,
            second=data.second,
            repeat=data.second_channels,
            labels=data.labels or MFNET_9.name,
            second_range=data.second_range,
        )
    setup = replace(_PUBLISHED[data.layout], size=data.size, channels=data.channels)
    if data.window_ms:
        setup = replace(setup, window=Window(duration_ns=data.window_ms * 1_000_000))
    return replace(setup, labels=data.labels or setup.labels)


def make_transform(data: DataConfig) -> Transform:
    """Return the configuration's augmentation of training samples."""
    return Augmentation(
        crop=data.crop or data.size,
        scale=data.scale,
        flip=0.5 if data.flip else 0.0,
        photometric=data.photometric,
        modality_dropout=data.modality_dropout,
        cover=data.cover,
        two_lenses=data.second != "events",
    )

"""Networks by name: each preset is a function of numbers, each look-up a literal dict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from torch import nn

from mambaseg_core.models.mambaseg.network import MambaSeg
from mambaseg_core.models.mambaseg.presets import mambaseg_compact, mambaseg_ddd17, mambaseg_dsec, mambaseg_nano
from mambaseg_core.models.rgbx.presets import rsgmamba, rsgmamba_nano, sigma_base, sigma_nano, sigma_small, sigma_tiny
from mambaseg_core.models.rgbx.rsgmamba import RSGMamba
from mambaseg_core.models.rgbx.sigma import Sigma
from mambaseg_core.preprocessing import Preprocessing, preset_preprocessing

Network: TypeAlias = MambaSeg | Sigma | RSGMamba

PRESETS: dict[str, Callable[..., Network]] = {
    "mambaseg_ddd17": mambaseg_ddd17,
    "mambaseg_dsec": mambaseg_dsec,
    "mambaseg_compact": mambaseg_compact,
    "mambaseg_nano": mambaseg_nano,
    "sigma_tiny": sigma_tiny,
    "sigma_small": sigma_small,
    "sigma_base": sigma_base,
    "sigma_nano": sigma_nano,
    "rsgmamba": rsgmamba,
    "rsgmamba_nano": rsgmamba_nano,
}


RELIABLE = {  # the networks that can weigh their modalities, and what their presets are to be told
    "mambaseg_compact": {"reliability": True},
    "mambaseg_nano": {"reliability": True},
    "rsgmamba": {},  # these always do
    "rsgmamba_nano": {},
}


def list_models() -> list[str]:
    """Names that `create_model` knows."""
    return list(PRESETS)


def build(
    name: str,
    num_classes: int | None = None,
    image_size: tuple[int, int] | None = None,
    in_channels: int | None = None,
    *,
    reliability: bool = False,
) -> Network:
    """Build a network with random weights; arguments and errors as of `create_model`."""
    if name not in PRESETS:
        raise ValueError(f"unknown model {name!r}; known models: {', '.join(PRESETS)}")
    asked = {"num_classes": num_classes, "image_size": image_size, "in_channels": in_channels}
    numbers: dict[str, Any] = {key: value for key, value in asked.items() if value is not None}
    _refuse_bad_numbers(numbers)
    if image_size is not None:
        numbers["image_size"] = tuple(image_size)
    if reliability:
        numbers |= _reliability(name)
    return PRESETS[name](**numbers)


def preprocessing_of(model: nn.Module) -> Preprocessing:
    """Return the preprocessing that a model's weights were trained with: their checkpoint's, else its preset's.

    Raises:
        ValueError: The model has neither.
    """
    stored: Any = getattr(model, "preprocessing", None)
    if isinstance(stored, Preprocessing):
        return stored
    name: Any = getattr(model, "name", type(model).__name__)
    size, channels = getattr(model, "image_size", None), getattr(model, "in_channels", None)
    return preset_preprocessing(name, size=size, channels=channels)  # type: ignore[arg-type]


def _reliability(name: str) -> dict[str, bool]:
    """What the preset is to be told for `reliability=True`."""
    if name not in RELIABLE:
        raise ValueError(f"reliability=True of {name!r}, which has none; expected one of: {', '.join(RELIABLE)}")
    return RELIABLE[name]


def _refuse_bad_numbers(numbers: dict[str, Any]) -> None:
    """Raise ValueError for a size that is not (height, width) and for anything below one."""
    for key, value in numbers.items():
        expected = 2 if key == "image_size" else 1
        parts = tuple(value) if isinstance(value, (tuple, list)) else (value,)
        if len(parts) != expected or any(type(part) is not int or part < 1 for part in parts):
            shape = "(height, width) in pixels" if expected == 2 else "one whole number"
            raise ValueError(f"{key}={value!r}; expected {shape}, at least 1")

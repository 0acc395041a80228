"""Networks by name: one row for everything that belongs to a name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from torch import nn

from mambaseg_core.models.mambaseg.network import MambaSeg
from mambaseg_core.models.mambaseg.presets import mambaseg_compact, mambaseg_ddd17, mambaseg_dsec, mambaseg_nano
from mambaseg_core.models.rgbx.presets import rsgmamba, rsgmamba_nano, sigma_base, sigma_nano, sigma_small, sigma_tiny
from mambaseg_core.models.rgbx.rsgmamba import RSGMamba
from mambaseg_core.models.rgbx.sigma import Sigma
from mambaseg_core.preprocessing import DDD17, DSEC, RGB_THERMAL, Preprocessing
from mambaseg_core.weights import FOLDER

Network: TypeAlias = MambaSeg | Sigma | RSGMamba


@dataclass(frozen=True)
class Preset:
    """A network by name.

    Attributes:
        make: Builds it from `num_classes`, `image_size` and `in_channels`, each of which has a default.
        preprocessing: What it was made for.
        reliability: Whether it weighs its inputs by how far they can be trusted; "optional": `make` takes
            `reliability`.
        shipped: Weights that come with the package, by name.
    """

    make: Callable[..., Network]
    preprocessing: Preprocessing
    reliability: Literal["never", "optional", "always"] = "never"
    shipped: Mapping[str, Path] = field(default_factory=dict)


PRESETS: Final[dict[str, Preset]] = {
    "mambaseg_ddd17": Preset(mambaseg_ddd17, DDD17),
    "mambaseg_dsec": Preset(mambaseg_dsec, DSEC),
    "mambaseg_compact": Preset(mambaseg_compact, DSEC, "optional"),
    "mambaseg_nano": Preset(
        mambaseg_nano, DSEC, "optional", {"synthetic": FOLDER / "mambaseg_nano_synthetic.safetensors"}
    ),
    "sigma_tiny": Preset(sigma_tiny, RGB_THERMAL),
    "sigma_small": Preset(sigma_small, RGB_THERMAL),
    "sigma_base": Preset(sigma_base, RGB_THERMAL),
    "sigma_nano": Preset(sigma_nano, RGB_THERMAL),
    "rsgmamba": Preset(rsgmamba, RGB_THERMAL, "always"),
    "rsgmamba_nano": Preset(rsgmamba_nano, RGB_THERMAL, "always"),
}


def list_models() -> list[str]:
    """Return the names that `create_model` knows."""
    return list(PRESETS)


def register(name: str, preset: Preset) -> None:
    """Add a network of your own to this process: `create_model`, training and checkpoints then know its name.

    Its `make` builds a `MambaSeg`, or a network with the same attributes and arguments. Adding it again has no effect.

    Raises:
        ValueError: The name belongs to another network.
    """
    if PRESETS.setdefault(name, preset) is not preset:
        raise ValueError(f"the name {name!r} belongs to another model; expected a new name: choose one")


def find_preset(name: str) -> Preset:
    """Return the row of a name.

    Raises:
        ValueError: There is none.
    """
    if name not in PRESETS:
        raise ValueError(f"unknown model {name!r}; known models: {', '.join(PRESETS)}")
    return PRESETS[name]


def build(
    name: str,
    num_classes: int | None = None,
    image_size: tuple[int, int] | None = None,
    in_channels: int | None = None,
    *,
    reliability: bool = False,
) -> Network:
    """Build a network with random weights; arguments and errors as of `create_model`."""
    preset = find_preset(name)
    asked = {"num_classes": num_classes, "image_size": image_size, "in_channels": in_channels}
    numbers: dict[str, Any] = {key: value for key, value in asked.items() if value is not None}
    _refuse_bad_numbers(numbers)
    if image_size is not None:
        numbers["image_size"] = tuple(image_size)
    if reliability and preset.reliability == "never":
        known = ", ".join(key for key, row in PRESETS.items() if row.reliability != "never")
        raise ValueError(f"reliability=True of {name!r}, which has none; expected one of: {known}")
    if reliability and preset.reliability == "optional":
        numbers["reliability"] = True
    return preset.make(**numbers)


def preset_preprocessing(name: str, *, size: tuple[int, int], channels: int) -> Preprocessing:
    """Return the preprocessing of a preset at another input size or number of image channels.

    Args:
        name: One of `list_models()`.
        size: (height, width) of the model's input, pixels.
        channels: Channels of the model's image.

    Raises:
        ValueError: The name is unknown.
    """
    return replace(find_preset(name).preprocessing, size=size, channels=channels)


def preprocessing_of(model: nn.Module) -> Preprocessing:
    """Return the preprocessing that a model's weights were trained with: their checkpoint's, else its preset's.

    Raises:
        ValueError: The model has neither.
    """
    stored: Any = getattr(model, "preprocessing", None)
    if isinstance(stored, Preprocessing):
        return stored
    name: Any = getattr(model, "name", type(model).__name__)
    if name not in PRESETS:
        raise ValueError(
            f"no preprocessing is known for model {name!r}; expected a checkpoint, which carries its own, or one of "
            f"{', '.join(PRESETS)}: use such a one, or pass preprocessing="
        )
    size: Any = model.image_size
    channels: Any = model.in_channels
    return preset_preprocessing(name, size=size, channels=channels)


def _refuse_bad_numbers(numbers: dict[str, Any]) -> None:
    """Raise ValueError for a size that is not (height, width) and for anything below one."""
    for key, value in numbers.items():
        expected = 2 if key == "image_size" else 1
        parts = tuple(value) if isinstance(value, (tuple, list)) else (value,)
        if len(parts) != expected or any(type(part) is not int or part < 1 for part in parts):
            shape = "(height, width) in pixels" if expected == 2 else "one whole number"
            raise ValueError(f"{key}={value!r}; expected {shape}, at least 1")

"""Networks by name: each preset is a function of numbers, each look-up a literal dict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from mambaseg_core.models.mambaseg.network import MambaSeg
from mambaseg_core.models.mambaseg.presets import mambaseg_compact, mambaseg_ddd17, mambaseg_dsec, mambaseg_nano
from mambaseg_core.models.rgbx.presets import rsgmamba, rsgmamba_nano, sigma_base, sigma_nano, sigma_small, sigma_tiny
from mambaseg_core.models.rgbx.rsgmamba import RSGMamba
from mambaseg_core.models.rgbx.sigma import Sigma
from mambaseg_core.weights import SHIPPED

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


def shipped_weights(name: str) -> list[str]:
    """Names of the weights that come with the package for a model; `create_model(name, weights=...)` takes them."""
    return list(SHIPPED.get(name, {}))


def create_model(
    name: str,
    num_classes: int | None = None,
    image_size: tuple[int, int] | None = None,
    in_channels: int | None = None,
    weights: str | Path | None = None,
    *,
    reliability: bool = False,
) -> Network:
    """Build a network by name.

    Args:
        name: One of `list_models()`.
        num_classes: Classes of the head; by default the preset's.
        image_size: (height, width) in pixels; by default the preset's.
        in_channels: Channels of the image; by default the preset's.
        weights: One of `shipped_weights(name)`, or a checkpoint: our safetensors or the authors' `.pth`; by
            default the weights are drawn at random.
        reliability: Whether each modality is weighed by how far it can be trusted; one of `RELIABLE`.

    Returns:
        The network, in training mode and on the current default device.

    Raises:
        ValueError: An unknown name, a number that is not positive, weights that do not fit, or `reliability` of a
            network that has none.
    """
    if name not in PRESETS:
        raise ValueError(f"unknown model {name!r}; known models: {', '.join(PRESETS)}")
    asked = {"num_classes": num_classes, "image_size": image_size, "in_channels": in_channels}
    numbers: dict[str, Any] = {key: value for key, value in asked.items() if value is not None}
    _refuse_bad_numbers(numbers)
    if image_size is not None:
        numbers["image_size"] = tuple(image_size)
    if reliability:
        numbers |= _reliability(name)
    model = PRESETS[name](**numbers)
    if weights is not None:
        from mambaseg_core.checkpoint import load_weights

        load_weights(model, weights_file(name, weights))
    return model


def weights_file(name: str, weights: str | Path) -> Path:
    """The file of a model's shipped weights, or the file that was given; the one place where names become files.

    Raises:
        ValueError: neither a name of `shipped_weights(name)` nor a path with a suffix.
    """
    shipped = SHIPPED.get(name, {}).get(str(weights))
    if shipped is None and not Path(weights).suffix:
        known = ", ".join(shipped_weights(name)) or "none"
        raise ValueError(f"unknown weights {str(weights)!r} of {name}; shipped are: {known}; pass one or a file's path")
    return shipped or Path(weights)


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

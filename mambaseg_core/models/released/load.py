"""Strict loading of the authors' checkpoints of MambaSeg and Sigma.

A tensor that is missing, unexpected or of another shape raises an error that names it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from torch import Tensor, nn

from mambaseg_core.models.released.names import MAMBASEG, SIGMA, Rules
from mambaseg_core.models.released.unit_inputs import MEAN
from mambaseg_core.models.rgbx.sigma import Sigma

_NAMED = 3  # tensors that an error names at most


def load_released_state_dict(model: nn.Module, state_dict: Mapping[str, Any]) -> None:
    """Load a checkpoint of the authors' code, in place.

    A Sigma then expects the authors' inputs: normalized with ImageNet's mean and deviation, blue first.
    `Segmenter`, `save_checkpoint` and `load_weights` convert it to RGB in 0..1 (`unit_inputs`).

    Args:
        model: A network of a released layout: `mambaseg_ddd17` or `mambaseg_dsec`, built for the image size
            of the checkpoint, or a Sigma.
        state_dict: The authors' state dict, or their file's dict that holds it under `state_dict` (MambaSeg) or
            `model` (Sigma). Names may have the prefix `module.` of distributed training. Read the file with
            `torch.load(path, weights_only=True)`.

    Raises:
        ValueError: Tensors are missing, unexpected or of another shape; nothing has been loaded then.
    """
    model.load_state_dict(released_tensors(model, state_dict))
    model.preprocessing = None  # type: ignore[assignment]  # the preset's
    if isinstance(model, Sigma) and model.in_channels == len(MEAN):
        model.authors_inputs = True


def released_tensors(model: nn.Module, state_dict: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the authors' tensors by the model's names, in its shapes; arguments as for `load_released_state_dict`.

    Raises:
        ValueError: Tensors are missing, unexpected or of another shape.
    """
    sigma = isinstance(model, Sigma)
    wrapper, layout, rules = ("model", "Sigma", SIGMA) if sigma else ("state_dict", "MambaSeg", MAMBASEG)
    given = {released_name(key, rules): value for key, value in tensors_of(state_dict, wrapper).items()}
    own = model.state_dict()
    check_names(own.keys() - given.keys(), given.keys() - own.keys(), f"the released {layout} layout")
    fitted = {key: fit(given[key], own[key]) for key in own}
    wrong = [key for key in own if fitted[key].shape != own[key].shape]
    if wrong:
        raise ValueError(_shape_message(model, wrong, fitted, own))
    return fitted


def released_name(key: str, rules: Rules = MAMBASEG) -> str:
    """Return our name of a tensor that the authors' state dict calls `key`."""
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key


def tensors_of(state_dict: Mapping[str, Any], wrapper: str) -> dict[str, Tensor]:
    """Return the tensors by name, taken out of a file's dict, without the prefix `module.`."""
    inner = state_dict.get(wrapper, state_dict)
    if not isinstance(inner, Mapping) or not all(isinstance(value, Tensor) for value in inner.values()):
        raise ValueError(
            f"expected a state dict (name to tensor) or a dict with {wrapper!r} in it, got one with the keys "
            f"{_some(list(state_dict))}; pass the result of torch.load(path, weights_only=True)"
        )
    return {str(key).removeprefix("module."): value for key, value in inner.items()}


def fit(given: Tensor, own: Tensor) -> Tensor:
    """Return `given`, reshaped from a 1x1 convolution to a matrix or the reverse if `own` needs that."""
    longer, shorter = sorted((tuple(given.shape), tuple(own.shape)), key=len, reverse=True)
    same = len(shorter) == 2 and longer == (*shorter, 1, 1)
    return given.reshape(own.shape) if same else given


def check_names(missing: AbstractSet[str], unexpected: AbstractSet[str], layout: str) -> None:
    """Raise ValueError if tensors are missing or unexpected."""
    parts = [
        f"{len(keys)} tensors {kind} ({_some(sorted(keys))})"
        for kind, keys in (("missing", missing), ("unexpected", unexpected))
        if keys
    ]
    if parts:
        raise ValueError(f"the checkpoint is not of {layout}: {' and '.join(parts)} (our names); load one that is")


def _some(names: Sequence[str]) -> str:
    """Return the first few of many names, as text."""
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def shapes(wrong: Sequence[str], given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """Describe the tensors whose shapes differ."""
    few = [f"{key}: got {list(given[key].shape)}, expected {list(own[key].shape)}" for key in wrong[:_NAMED]]
    return f"{len(wrong)} tensors have another shape than the model's ({'; '.join(few)})"


def _shape_message(
    model: nn.Module, wrong: Sequence[str], given: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> str:
    """Describe the tensors whose shapes differ, and the argument of `create_model` that makes them fit."""
    remedies = []
    if any(".ctim." in key and ".scan." in key for key in wrong):
        remedies.append(f"image_size={_image_sizes(given)} (the model has {getattr(model, 'image_size', None)})")
    if any(key.startswith("head.classify.") for key in wrong):
        remedies.append(f"num_classes={given['head.classify.weight'].shape[0]}")
    for first in {"image_encoder.stem.conv1.weight", "encoder.patch.weight"}.intersection(wrong):
        remedies.append(f"in_channels={given[first].shape[1]}")
    remedy = " and ".join(remedies) or "the preset that the checkpoint was trained as"
    return f"{shapes(wrong, given, own)}; build the model with {remedy}"


def _image_sizes(given: Mapping[str, Tensor]) -> str:
    """Return the image sizes that the temporal scans of a checkpoint fit, as text.

    A scan has only the product of its map's height and width. The maps of all stages together leave one pair, or
    few. A map of h x w comes from images of 4h-3 to 4h rows and 4w-3 to 4w columns.
    """
    tokens = [given[key].shape[0] // 2 for key in sorted(given) if key.endswith("ctim.image.mixer.scan.D")]
    pairs = [
        (height, tokens[0] // height)
        for height in range(1, math.isqrt(tokens[0]) + 1)
        if tokens[0] % height == 0 and _token_counts(height, tokens[0] // height, len(tokens)) == tokens
    ]
    if not pairs:
        return "(unknown: its scans fit no image)"
    ranges = [f"({4 * h - 3}..{4 * h}, {4 * w - 3}..{4 * w})" for h, w in pairs]
    return " or ".join(ranges) + ", or height and width exchanged"


def _token_counts(height: int, width: int, stages: int) -> list[int]:
    """Return the pixels of each stage's feature map, from the first one's size."""
    counts = []
    for _ in range(stages):
        counts.append(height * width)
        height, width = -(-height // 2), -(-width // 2)
    return counts

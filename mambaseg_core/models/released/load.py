"""Strict loading of the authors' checkpoints of MambaSeg and Sigma.

A tensor that is missing, unexpected or of another shape raises an error that names it.
"""

from __future__ import annotations

import difflib
import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mambaseg_core.models.released.names import MAMBASEG, SIGMA, Rules
from mambaseg_core.models.released.unit_inputs import MEAN
from mambaseg_core.models.released.unwrap import tensors_of
from mambaseg_core.models.rgbx.sigma import Sigma

_NAMED = 3  # tensors that an error names at most
_COMPARED = 30  # names of each side that are compared to find the nearest


class Fitted(NamedTuple):
    """A checkpoint's tensors by a model's names, in its shapes; `renamed` if they had the authors' names."""

    tensors: dict[str, Tensor]
    renamed: bool


def load_released_state_dict(
    model: nn.Module, state_dict: Mapping[str, Any], *, warn: Callable[[str], Any] = warnings.warn
) -> None:
    """Load a checkpoint of the authors' code, or a state dict of ours, in place.

    A Sigma then expects the inputs of its checkpoint. With the authors' names these are normalized with ImageNet's
    mean and deviation, blue first; `Segmenter`, `save_checkpoint` and `load_weights` convert it to RGB in 0..1
    (`unit_inputs`). With our names they are RGB in 0..1.

    Args:
        model: A network of a released layout: `mambaseg_ddd17` or `mambaseg_dsec`, built for the image size
            of the checkpoint, or a Sigma; any network for tensors by our names.
        state_dict: A state dict, or a file's dict that holds it under a name such as `state_dict`, `model` or `ema`.
            Prefixes of names, such as `module.`, `model.` and `_orig_mod.`, are taken off. Read the file with
            `torch.load(path, weights_only=True)`.
        warn: Called with one sentence if there are several state dicts of the same names; the first is taken.

    Raises:
        ValueError: Tensors are missing, unexpected, of another shape, not floating point or not finite; nothing has
            been loaded then.
    """
    fitted = fit_state_dict(model, state_dict, warn)
    model.load_state_dict(fitted.tensors)
    model.preprocessing = None  # type: ignore[assignment]  # the preset's
    if isinstance(model, Sigma):
        model.authors_inputs = fitted.renamed and model.in_channels == len(MEAN)


def fit_state_dict(model: nn.Module, state_dict: Mapping[str, Any], warn: Callable[[str], Any]) -> Fitted:
    """Return a checkpoint's tensors by the model's names; arguments and errors as of `load_released_state_dict`."""
    layout, rules = ("Sigma", SIGMA) if isinstance(model, Sigma) else ("MambaSeg", MAMBASEG)
    given, own = tensors_of(state_dict, warn), model.state_dict()
    theirs = {released_name(key, rules): value for key, value in given.items()}
    renamed = len(given.keys() & own.keys()) < max(1, len(theirs.keys() & own.keys()))
    if renamed:
        given = theirs
    expected = f"the released {layout} layout" if renamed else f"the model {getattr(model, 'name', '')!r}"
    check_names(own.keys() - given.keys(), given.keys() - own.keys(), expected)
    fitted = {key: fit(given[key], own[key]) for key in own}
    wrong = [key for key in own if fitted[key].shape != own[key].shape]
    if wrong:
        raise ValueError(_shape_message(model, wrong, fitted, own))
    check_numbers(fitted, own)
    return Fitted(fitted, renamed)


def released_name(key: str, rules: Rules = MAMBASEG) -> str:
    """Return our name of a tensor that the authors' state dict calls `key`."""
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key


def fit(given: Tensor, own: Tensor) -> Tensor:
    """Return `given`, reshaped from a 1x1 convolution to a matrix or the reverse if `own` needs that."""
    longer, shorter = sorted((tuple(given.shape), tuple(own.shape)), key=len, reverse=True)
    same = len(shorter) == 2 and longer == (*shorter, 1, 1)
    return given.reshape(own.shape) if same else given


def check_names(missing: AbstractSet[str], unexpected: AbstractSet[str], layout: str) -> None:
    """Raise ValueError if tensors are missing or unexpected; it names the pairs of the most similar names first."""
    if not missing and not unexpected:
        return
    lacking, extra = _nearest_first(sorted(missing), sorted(unexpected))
    parts = [
        f"{len(names)} tensors {kind} ({_some(names)})"
        for kind, names in (("missing", lacking), ("unexpected", extra))
        if names
    ]
    raise ValueError(f"the checkpoint is not of {layout}: {' and '.join(parts)} (our names); load one that is")


def check_numbers(given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Raise ValueError if weights are integers, as quantized ones are, or numbers that are not finite."""
    for key, tensor in given.items():
        if not own[key].is_floating_point():  # a counter
            continue
        if not tensor.is_floating_point() or tensor.is_quantized or tensor.layout != torch.strided:
            raise ValueError(
                f"tensor {key} is of {tensor.dtype}, {tensor.layout}; expected dense floats: load weights that are not "
                "quantized or sparse"
            )
        if tensor.device.type != "meta" and not bool(torch.isfinite(tensor.float()).all()):
            raise ValueError(
                f"tensor {key} holds NaN or infinity; expected finite weights: load a checkpoint from before the "
                "training diverged"
            )


def _nearest_first(missing: list[str], unexpected: list[str]) -> tuple[list[str], list[str]]:
    """Return both lists with the names that resemble one another in front, the nearest pair first."""
    pairs = sorted(
        (
            (difflib.SequenceMatcher(None, ours, theirs).ratio(), ours, theirs)
            for ours in missing[:_COMPARED]
            for theirs in unexpected[:_COMPARED]
        ),
        key=lambda pair: -pair[0],
    )
    front: dict[str, str] = {}
    for _, ours, theirs in pairs:
        if ours not in front and theirs not in front.values():
            front[ours] = theirs
    taken = set(front.values())
    return (
        [*front, *(name for name in missing if name not in front)],
        [*front.values(), *(name for name in unexpected if name not in taken)],
    )


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

"""Loading other people's checkpoints: the authors' MambaSeg and Sigma, and VMamba's ImageNet classifiers.

All are strict: a tensor that is missing, left over or of another shape is an error that names it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from torch import Tensor, nn

from mambaseg_core.models.released_names import MAMBASEG, SIGMA, Rules
from mambaseg_core.models.sigma import Sigma
from mambaseg_core.models.unit_inputs import MEAN
from mambaseg_core.models.vmamba import VMambaEncoder

_NAMED = 3  # how many tensors an error names


def load_released_state_dict(model: nn.Module, state_dict: Mapping[str, Any]) -> None:
    """Load a checkpoint of the authors' code, in place.

    A Sigma then answers as the authors' does, to their inputs: ImageNet's mean and deviation taken out, blue first.
    `Segmenter`, `save_checkpoint` and `load_weights` make it one that takes RGB of 0 to 1 (`unit_inputs`).

    Args:
        model: A network of a released layout: `mambaseg_ddd17` or `mambaseg_dsec`, built for the image size
            of the checkpoint, or a Sigma.
        state_dict: The authors' state dict, or their file's dict with `state_dict` (MambaSeg) or `model` (Sigma)
            in it; names may carry the `module.` of distributed training. Read the file with
            `torch.load(path, weights_only=True)`.

    Raises:
        ValueError: Tensors are missing, unexpected or of another shape; nothing has been loaded then.
    """
    sigma = isinstance(model, Sigma)
    wrapper, layout, rules = ("model", "Sigma", SIGMA) if sigma else ("state_dict", "MambaSeg", MAMBASEG)
    given = {released_name(key, rules): value for key, value in _tensors(state_dict, wrapper).items()}
    own = model.state_dict()
    _refuse_names(own.keys() - given.keys(), given.keys() - own.keys(), f"the released {layout} layout")
    fitted = {key: _fit(given[key], own[key]) for key in own}
    wrong = [key for key in own if fitted[key].shape != own[key].shape]
    if wrong:
        raise ValueError(_shape_message(model, wrong, fitted, own))
    model.load_state_dict(fitted)
    if isinstance(model, Sigma) and model.in_channels == len(MEAN):
        model.authors_inputs = True


def released_name(key: str, rules: Rules = MAMBASEG) -> str:
    """Our name of a tensor that the authors' state dict calls `key`."""
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key


def load_vmamba_imagenet(model: nn.Module, state_dict: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Start every encoder in `model` from a VMamba ImageNet classifier, in place.

    The output norms that feed the fusion do not exist there and stay as they are, and so does the first
    convolution of an encoder whose input has another number of channels than the checkpoint's (3).

    Source: checkpoints of MzeroMiko/VMamba such as `vssm1_tiny_0230s_ckpt_epoch_264.pth`.

    Args:
        model: An encoder, or a network with encoders.
        state_dict: The checkpoint's state dict, or its dict with `model` in it; `classifier.*` is ignored.

    Returns:
        For each encoder, by its name in `model` ("" where `model` is one), the tensors left as they are.

    Raises:
        ValueError: No encoder in `model`, or a checkpoint that does not fit; nothing has been loaded then.
    """
    encoders = {name: part for name, part in model.named_modules() if isinstance(part, VMambaEncoder)}
    if not encoders:
        raise ValueError(
            f"{type(model).__name__} has no VMambaEncoder to load into; pass an encoder or a MambaSeg"
        )
    tensors = {
        key: x for key, x in _tensors(state_dict, "model").items() if not key.startswith("classifier.")
    }
    given = {_encoder_name(key): value for key, value in tensors.items()}
    plans = {name: _fit_encoder(encoder, given) for name, encoder in encoders.items()}
    for name, encoder in encoders.items():
        encoder.load_state_dict(plans[name], strict=False)
    return {
        name: tuple(key for key in encoder.state_dict() if key not in plans[name])
        for name, encoder in encoders.items()
    }


def _encoder_name(key: str) -> str:
    """Our name, inside an encoder, of a tensor that VMamba calls `key`."""
    return released_name(f"encoder_img.{key}").removeprefix("image_encoder.")


def _fit_encoder(encoder: VMambaEncoder, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The part of `given` that goes into `encoder`; ValueError unless the rest may stay as it is."""
    own = encoder.state_dict()
    may_stay = {key for key in own if ".out_norm." in key}
    _refuse_names(
        own.keys() - may_stay - given.keys(), given.keys() - own.keys(), "a VMamba-T (s1l8) encoder"
    )
    fitted = {key: _fit(given[key], own[key]) for key in own if key in given}
    first = "stem.conv1.weight"
    if fitted[first].shape[1:2] != own[first].shape[1:2]:
        del fitted[first], fitted["stem.conv1.bias"]
    wrong = [key for key in fitted if fitted[key].shape != own[key].shape]
    if wrong:
        raise ValueError(f"{_shapes(wrong, fitted, own)}; only VMamba-T (s1l8) checkpoints fit this encoder")
    return fitted


def _tensors(state_dict: Mapping[str, Any], wrapper: str) -> dict[str, Tensor]:
    """The tensors by name, taken out of a file's dict and freed of `module.`."""
    inner = state_dict.get(wrapper, state_dict)
    if not isinstance(inner, Mapping) or not all(isinstance(value, Tensor) for value in inner.values()):
        raise ValueError(
            f"expected a state dict (name to tensor) or a dict with {wrapper!r} in it, got one with the keys "
            f"{_some(list(state_dict))}; pass what torch.load(path, weights_only=True) gives"
        )
    return {str(key).removeprefix("module."): value for key, value in inner.items()}


def _fit(given: Tensor, own: Tensor) -> Tensor:
    """`given` as a matrix where it is a 1x1 convolution, or the reverse, if that is what `own` needs."""
    longer, shorter = sorted((tuple(given.shape), tuple(own.shape)), key=len, reverse=True)
    same = len(shorter) == 2 and longer == (*shorter, 1, 1)
    return given.reshape(own.shape) if same else given


def _refuse_names(missing: AbstractSet[str], unexpected: AbstractSet[str], layout: str) -> None:
    """Raise ValueError if there is any of either."""
    parts = [
        f"{len(keys)} tensors {kind} ({_some(sorted(keys))})"
        for kind, keys in (("missing", missing), ("unexpected", unexpected))
        if keys
    ]
    if parts:
        raise ValueError(f"the checkpoint is not of {layout}: {' and '.join(parts)} (our names)")


def _some(names: Sequence[str]) -> str:
    """The first few of many names."""
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def _shapes(wrong: Sequence[str], given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """Say which shapes differ."""
    few = [f"{key}: got {list(given[key].shape)}, expected {list(own[key].shape)}" for key in wrong[:_NAMED]]
    return f"{len(wrong)} tensors have another shape than the model's ({'; '.join(few)})"


def _shape_message(
    model: nn.Module, wrong: Sequence[str], given: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> str:
    """Say which shapes differ, and the argument of `create_model` that would make them fit."""
    remedies = []
    if any(".ctim." in key and ".scan." in key for key in wrong):
        remedies.append(
            f"image_size={_image_sizes(given)} (the model has {getattr(model, 'image_size', None)})"
        )
    if any(key.startswith("head.classify.") for key in wrong):
        remedies.append(f"num_classes={given['head.classify.weight'].shape[0]}")
    for first in {"image_encoder.stem.conv1.weight", "encoder.patch.weight"}.intersection(wrong):
        remedies.append(f"in_channels={given[first].shape[1]}")
    remedy = " and ".join(remedies) or "the preset that the checkpoint was trained as"
    return f"{_shapes(wrong, given, own)}; build the model with {remedy}"


def _image_sizes(given: Mapping[str, Tensor]) -> str:
    """The image sizes that the temporal scans of a checkpoint fit, as text.

    Each scan knows the product of its map's height and width only; the maps of all stages together leave one
    pair, or few. A map of h x w comes from images of 4h-3 to 4h rows and 4w-3 to 4w columns.
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
    """Pixels of each stage's feature map, from the first one's size."""
    counts = []
    for _ in range(stages):
        counts.append(height * width)
        height, width = -(-height // 2), -(-width // 2)
    return counts

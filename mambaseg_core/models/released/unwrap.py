"""A state dict taken out of what a training script saved: its wrappers, and the prefixes of its names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

# Keys that hold a state dict, the first that is there is taken; weights before their moving average.
WRAPPERS: Final = (
    *("state_dict", "model", "model_state_dict", "model_state", "net", "network", "module", "params"),
    *("ema", "state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "params_ema"),
)
_DEPTH: Final = 3  # wrappers in each other, at most

# What torch.compile, FSDP and checkpointing put inside names, and DDP, Lightning and others before them.
_INSIDE: Final = re.compile(r"(?:(?<=\.)|^)(?:(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.)+")
_BEFORE: Final = re.compile(r"^(?:(?:module|model|net|network)\.)+")
_COUNTERS: Final = ("n_averaged",)  # of torch.optim.swa_utils.AveragedModel


def tensors_of(state_dict: Mapping[str, Any], warn: Callable[[str], Any]) -> dict[str, Tensor]:
    """Return the tensors by name, out of their wrappers and without prefixes.

    Args:
        state_dict: A state dict, or what a file holds it in.
        warn: Called with one sentence if several state dicts of the same names are there; the first is taken.

    Raises:
        ValueError: No state dict is there, or two names differ in their prefix only.
    """
    sets = [(place, _without_prefixes(tensors)) for place, tensors in _find(state_dict)]
    if not sets:
        keys = ", ".join(str(key) for key in list(state_dict)[:8]) + (", ..." if len(state_dict) > 8 else "")
        raise ValueError(
            f"expected a state dict (name to tensor), bare or under one of {', '.join(WRAPPERS)}, got one with "
            f"the keys {keys or '(none)'}; pass the part that holds the tensors"
        )
    place, tensors = sets[0]
    alike = [other for other, names in sets[1:] if names.keys() == tensors.keys()]
    if alike:
        warn(f"the checkpoint holds several sets of weights: {place} was taken, not {' or '.join(alike)}")
    return tensors


def _find(state: Mapping[str, Any], place: str = "", depth: int = 0) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield where state dicts are, and their tensors."""
    wrapped = [key for key in WRAPPERS if isinstance(state.get(key), Mapping)]
    if wrapped and depth < _DEPTH:
        for key in wrapped:
            yield from _find(state[key], f"{place}.{key}" if place else key, depth + 1)
        return
    arrays = {str(key): x for key, x in state.items() if isinstance(x, np.ndarray) and x.dtype.kind in "fiu"}
    tensors = {str(key): x for key, x in state.items() if isinstance(x, Tensor)}
    if tensors := tensors | {key: torch.from_numpy(x) for key, x in arrays.items()}:
        yield place, tensors


def _without_prefixes(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    names: dict[str, str] = {}
    for key in tensors:
        name = _BEFORE.sub("", _INSIDE.sub("", key))
        if name in names:
            raise ValueError(
                f"the checkpoint has both {names[name]!r} and {key!r}, which are one tensor without their prefixes; "
                "expected each once: save the state dict of one model"
            )
        names[name] = key
    return {name: tensors[key] for name, key in names.items() if name not in _COUNTERS}

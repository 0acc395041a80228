"""Counts the variants of Triton kernels that launches ask for, without a GPU and without compiling any.

A driver that only names a card stands in for CUDA's, and Triton's own hook, called before a variant is compiled, takes
note of it and declines. So the launches go through Triton's own rules of specialization: types, ones, alignment.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from mambaseg_core.checkpoint import create_model
from mambaseg_core.ops import triton_scan

Call = tuple[str, tuple[tuple[int, ...] | bool | None, ...]]  # an operator, and its arguments' shapes


class Card:
    """What Triton asks a driver before it launches."""

    def get_current_device(self) -> int:
        """Return the number of the device."""
        return 0

    def get_current_stream(self, device: int) -> int:
        """Return the default stream."""
        return 0

    def get_current_target(self) -> GPUTarget:
        """Return an H100."""
        return GPUTarget("cuda", 90, 32)


@contextmanager
def asked_for() -> Iterator[set[tuple[str, str]]]:
    """Return a context in which nothing is launched, and the set of (kernel, variant) that launches ask for."""
    found: set[tuple[str, str]] = set()

    def note(*, key: str, fn: Any, **_: Any) -> bool:
        found.add((fn.name, key))
        return True  # already compiled, as far as Triton is concerned

    before = driver._active
    driver.set_active(Card())
    try:
        with knobs.runtime.scope():
            knobs.runtime.jit_cache_hook = note
            yield found
    finally:
        driver._active = before


class Calls(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Take note of the scans that a network calls."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: set[Call] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator; keep the name and the shapes of one of ours."""
        if func.namespace == "mambaseg" and args:
            shapes = tuple(tuple(x.shape) if isinstance(x, Tensor) else x for x in args)
            self.found.add((func._opname, shapes))
        return func(*args, **(kwargs or {}))


def calls(name: str, size: tuple[int, int], *, second: bool = True) -> set[Call]:
    """Return the scans of one frame of a network, with or without a second input."""
    with torch.device("meta"), torch.inference_mode():
        model = create_model(name, image_size=size).eval()
        image, grid = (torch.empty(1, channels, *size) for channels in (model.in_channels, model.bins))
        with Calls() as seen:
            model(image, grid if second else None)
    return seen.found


def launch(call: Call, dtype: torch.dtype = torch.float32) -> None:
    """Call an operator of `triton_scan` on memory of the given shapes, within `asked_for`.

    Args:
        call: As of `calls`.
        dtype: Of the model's features, which scans of projections read as they are.
    """
    name, shapes = call
    tensors = [torch.empty(x) if isinstance(x, tuple) else x for x in shapes]
    if name != "selective_scan":
        tensors[0] = torch.empty(shapes[0], dtype=dtype)  # type: ignore[arg-type]
    getattr(triton_scan, name)(*tensors)

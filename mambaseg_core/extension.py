"""Loads the compiled library `_C.so` once for all that use it: the scans, the voxel grid, the event decoders."""

from __future__ import annotations

import ctypes
import functools
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import torch

LIBRARY: Final = Path(__file__).resolve().with_name("_C.so")
INTERPRETED: Final = os.environ.get("TRITON_INTERPRET") == "1"  # Triton runs on CPU tensors too, very slowly: for tests
ADVICE: Final = "Build them with `python setup.py build_ext --inplace` or `pip install --no-build-isolation .`"


def _load() -> str:
    """Load the extension; an empty string, or why it cannot be used."""
    if INTERPRETED:
        return "TRITON_INTERPRET=1 puts Triton's interpreter in its place"
    if not LIBRARY.exists():
        return f"{LIBRARY} does not exist"
    try:
        torch.ops.load_library(LIBRARY)  # type: ignore[no-untyped-call]
    except OSError as error:  # built against a torch that is not this one
        return f"{LIBRARY} does not fit torch {torch.__version__}: {error}"
    return ""


MISSING: Final = _load()
"""Why the extension cannot be used in this process; an empty string if it can."""


@functools.cache
def warn_missing(reason: str) -> None:
    """Say, once for a reason, that the plain implementations run."""
    warnings.warn(
        "mambaseg runs its scans in plain PyTorch, ten to twenty times slower than its compiled kernels, and decodes "
        f"events in plain Python, a hundred times slower: {reason}. {ADVICE}.",
        stacklevel=3,
    )


def choose(backend: str | None, missing: str) -> str:
    """Which of two implementations runs: "cpu", the compiled one, or "reference".

    Args:
        backend: what the caller asked for, or None for the first that works.
        missing: why the compiled one cannot be used; an empty string if it can.

    Raises:
        ValueError: `backend` is unknown or cannot be used.
    """
    if backend is None:
        if missing:
            warn_missing(missing)
        return "reference" if missing else "cpu"
    if backend not in ("cpu", "reference"):
        raise ValueError(f"backend is {backend!r}, expected cpu or reference; or leave it out")
    if backend == "cpu" and missing:
        raise ValueError(f"backend is 'cpu', which does not work here: {missing}. {ADVICE}.")
    return backend


def symbol(name: str, arguments: Sequence[Any]) -> Callable[..., int]:
    """A plain C function of the library, called without the GIL.

    Args:
        name: its name.
        arguments: ctypes types of its arguments; it returns int64.

    Raises:
        AttributeError: the library has none of that name.
    """
    function = ctypes.CDLL(str(LIBRARY))[name]
    function.argtypes, function.restype = arguments, ctypes.c_int64
    return function

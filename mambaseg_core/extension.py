"""Loading of the compiled library `_C.so`, once for all its users: scans, voxel grid, event decoders."""

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
INTERPRETED: Final = os.environ.get("TRITON_INTERPRET") == "1"  # for tests: Triton on CPU tensors, very slowly
ADVICE: Final = "Build them with `python setup.py build_ext --inplace` or `pip install --no-build-isolation .`"


def _load() -> str:
    """Load the extension; return why it cannot be used, or an empty string."""
    if INTERPRETED:
        return "TRITON_INTERPRET=1 replaces it with Triton's interpreter"
    if not LIBRARY.exists():
        return f"{LIBRARY} does not exist"
    try:
        torch.ops.load_library(LIBRARY)  # type: ignore[no-untyped-call]
    except OSError as error:  # built against another torch
        return f"{LIBRARY} does not fit torch {torch.__version__}: {error}"
    return ""


MISSING: Final = _load()
"""Reason why the extension cannot be used in this process; an empty string if it can."""


@functools.cache
def warn_missing(reason: str) -> None:
    """Warn, once per reason, that the plain implementations run."""
    warnings.warn(
        "mambaseg runs its scans in plain PyTorch, ten to twenty times slower than its compiled kernels, and decodes "
        f"events in plain Python, a hundred times slower: {reason}. {ADVICE}.",
        stacklevel=3,
    )


def choose(backend: str | None, missing: str) -> str:
    """Return which of two implementations runs: "cpu", the compiled one, or "reference".

    Args:
        backend: The caller's choice, or None for the first that works.
        missing: Why the compiled one cannot be used; an empty string if it can.

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
    """Return a plain C function of the library; a call releases the GIL.

    Args:
        name: Name of the function.
        arguments: The ctypes types of its arguments; it returns int64.

    Raises:
        AttributeError: The library has no function of that name.
    """
    function = ctypes.CDLL(str(LIBRARY))[name]
    function.argtypes, function.restype = arguments, ctypes.c_int64
    return function

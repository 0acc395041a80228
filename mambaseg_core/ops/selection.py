"""Which implementation runs: chosen here, once a kind of device, and logged with the reason.

Precedence: the `backend=` argument, the environment variable `MAMBASEG_BACKEND`, the best for the device.
"""

from __future__ import annotations

import functools
import logging
import os
import warnings
from pathlib import Path

import torch

logger = logging.getLogger(__name__)

KNOWN = ("cpu", "reference")
LIBRARY = Path(__file__).resolve().parent.parent / "_C.so"
_ADVICE = "Build them with `python setup.py build_ext --inplace` or `pip install --no-build-isolation .`"


def _load() -> str:
    """Load the extension; an empty string, or why it cannot be used."""
    if not LIBRARY.exists():
        return f"{LIBRARY} does not exist"
    try:
        torch.ops.load_library(LIBRARY)  # type: ignore[no-untyped-call]
    except OSError as error:  # built against a torch that is not this one
        return f"{LIBRARY} does not fit torch {torch.__version__}: {error}"
    return ""


_MISSING = _load()


def backends() -> tuple[str, ...]:
    """Names of the back ends that work in this process, best first; "reference" is always the last."""
    return ("reference",) if _MISSING else KNOWN


def has_kernels(device_type: str) -> bool:
    """Whether compiled kernels serve that kind of device; "meta" needs shapes only."""
    return device_type == "meta" or (device_type == "cpu" and not _MISSING)


@functools.cache
def _best(device_type: str) -> str:
    """The best back end for a kind of device; says so, once, and why."""
    if has_kernels(device_type):
        lanes = 0 if _MISSING else torch.ops.mambaseg.vector_lanes()
        logger.info("mambaseg scans on %s: back end cpu (compiled, %d float32 lanes)", device_type, lanes)
        return "cpu"
    if device_type != "cpu":
        logger.info("mambaseg scans on %s: back end reference (no kernels for this device)", device_type)
        return "reference"
    logger.info("mambaseg scans on cpu: back end reference (%s)", _MISSING)
    warnings.warn(
        "mambaseg runs its scans in plain PyTorch, ten to twenty times slower than its compiled kernels: "
        f"{_MISSING}. {_ADVICE}.",
        stacklevel=2,
    )
    return "reference"


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def choose(device_type: str, backend: str | None) -> str:
    """Name of the back end for tensors on a kind of device ("cpu", "cuda", "meta").

    Args:
        device_type: `tensor.device.type`.
        backend: What the caller asked for, or None.

    Raises:
        ValueError: `backend` or `MAMBASEG_BACKEND` names one that is unknown or does not work here.
    """
    asked, source = backend, "backend="
    if asked is None:
        asked, source = os.environ.get("MAMBASEG_BACKEND") or None, "MAMBASEG_BACKEND="
    if asked is None:
        return _best(device_type)
    if asked not in KNOWN:
        raise ValueError(f"{source}{asked!r} is unknown; known are {', '.join(KNOWN)}")
    if asked not in backends():
        raise ValueError(
            f"{source}{asked!r} does not work here: {_MISSING}. {_ADVICE}. Usable: {', '.join(backends())}"
        )
    if asked == "cpu" and not has_kernels(device_type):
        raise ValueError(f"{source}'cpu' takes tensors on the CPU, these are on {device_type}")
    return asked

"""Choice of the implementation that runs, made once per device type and logged with the reason.

Precedence: the `backend=` argument, the environment variable `MAMBASEG_BACKEND`, the best for the device.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable
from typing import Any, TypeVar

import torch

from mambaseg_core import extension

logger = logging.getLogger(__name__)

KNOWN = ("cpu", "reference", "triton", "mamba_ssm")
_INTERPRETED = extension.INTERPRETED
_MISSING = extension.MISSING
Choice = TypeVar("Choice", bound=Callable[..., str])


@functools.cache
def _triton() -> str:
    """Register the Triton kernels on first use; return why they cannot be used, or an empty string."""
    if not (_INTERPRETED or torch.cuda.is_available()):
        return "torch sees no CUDA device"
    try:
        from mambaseg_core.ops import triton_scan
    except ImportError as error:
        return f"triton cannot be imported: {error}"
    triton_scan.register()
    return ""


@functools.cache
def _mamba_ssm() -> str:
    """Import mamba_ssm's CUDA scan on first use; return why it cannot be used, or an empty string."""
    if not torch.cuda.is_available():
        return "torch sees no CUDA device"
    try:
        from mambaseg_core.ops import mamba_scan  # noqa: F401
    except Exception as error:  # without its kernel, or built against another torch; its own imports raise anything
        return f"mamba_ssm cannot be imported: {type(error).__name__}: {error}"
    return ""


def _missing(backend: str) -> str:
    """Return why a back end cannot be used in this process; an empty string if it can."""
    asked_once = {"triton": _triton, "mamba_ssm": _mamba_ssm}
    if backend in asked_once:
        return asked_once[backend]()
    return _MISSING if backend == "cpu" else ""


def backends() -> tuple[str, ...]:
    """Return the names of the back ends that work in this process.

    "cpu" serves tensors on the CPU; "triton" and "mamba_ssm", best first, those on CUDA. "reference", the last,
    serves all.
    """
    return tuple(name for name in ("cpu", "triton", "mamba_ssm", "reference") if not _missing(name))


def _serves(backend: str, device_type: str) -> bool:
    """Return whether a back end, if it works at all, takes tensors on that device type."""
    if backend == "reference":
        return True
    kinds = {"cpu": ("cpu", "meta"), "triton": ("cuda", "meta"), "mamba_ssm": ("cuda",)}[backend]
    return device_type in kinds or (backend == "triton" and _INTERPRETED and device_type == "cpu")


def has_kernels(device_type: str) -> bool:
    """Return whether the operators of `ops.schemas` have kernels for that device type; "meta" needs shapes only."""
    return device_type == "meta" or any(_serves(name, device_type) and not _missing(name) for name in ("cpu", "triton"))


@functools.cache
def _best(device_type: str) -> str:
    """Return the best back end for a device type; log it and the reason once."""
    if device_type == "meta" or (device_type == "cpu" and not _MISSING):
        lanes = 0 if _MISSING else torch.ops.mambaseg.vector_lanes()
        logger.info("mambaseg scans on %s: back end cpu (compiled, %d float32 lanes)", device_type, lanes)
        return "cpu"
    if device_type != "cpu":
        return _best_on_cuda(device_type)
    logger.info("mambaseg scans on cpu: back end reference (%s)", _MISSING)
    extension.warn_missing(_MISSING)
    return "reference"


def _best_on_cuda(device_type: str) -> str:
    reasons = []
    for name in ("triton", "mamba_ssm"):
        reason = _missing(name) if _serves(name, device_type) else f"not for {device_type}"
        if not reason:
            # a warning, so that users see it: until benchmarks/gpu.py has run, the choice is a guess
            logger.warning("mambaseg scans on %s: back end %s (never measured on a GPU)", device_type, name)
            return name
        reasons.append(f"{name}: {reason}")
    logger.info("mambaseg scans on %s: back end reference (%s)", device_type, "; ".join(reasons))
    return "reference"


def _constant(function: Choice) -> Choice:
    """Mark a function as `torch.compiler.assume_constant_result` does.

    That function would import torch._dynamo, which takes half the time of a start.
    """
    vars(function)["_dynamo_marked_constant"] = True
    return function


@_constant
def choose(device_type: str, backend: str | None) -> str:
    """Return the name of the back end for tensors on a device type ("cpu", "cuda", "meta").

    Args:
        device_type: `tensor.device.type`.
        backend: The caller's choice, or None.

    Raises:
        ValueError: `backend` or `MAMBASEG_BACKEND` names a back end that is unknown or does not work here.
    """
    asked, source = backend, "backend="
    if asked is None:
        asked, source = os.environ.get("MAMBASEG_BACKEND") or None, "MAMBASEG_BACKEND="
    if asked is None:
        return _best(device_type)
    if asked not in KNOWN:
        raise ValueError(f"{source}{asked!r} is unknown; known are {', '.join(KNOWN)}")
    missing = _missing(asked)
    if missing:
        advice = f" {extension.ADVICE}." if asked == "cpu" else ""
        raise ValueError(f"{source}{asked!r} does not work here: {missing}.{advice} Usable: {', '.join(backends())}")
    if not _serves(asked, device_type):
        raise ValueError(
            f"{source}{asked!r} takes tensors on {'the CPU' if asked == 'cpu' else 'CUDA'}, these are on {device_type}"
        )
    return asked


def operators(backend: str) -> Any:
    """Return the namespace of `selective_scan`, `ss2d` and `bidirectional_scan` with the schemas of `ops.schemas`.

    Args:
        backend: The result of `choose`, other than "reference".
    """
    if backend == "mamba_ssm":  # not registered in torch.ops: it has its own gradients
        from mambaseg_core.ops import mamba_scan

        return mamba_scan
    return torch.ops.mambaseg

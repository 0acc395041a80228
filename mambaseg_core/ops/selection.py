"""Choice of the implementation that runs, made once per device, proven there and logged with the reason.

Precedence: the `backend=` argument, the environment variable `MAMBASEG_BACKEND`, the best for the device. On CUDA a
back end is the best only after a tiny scan on that device has given the reference's numbers (`probe`).
"""

from __future__ import annotations

import functools
import logging
import os
import threading
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

import torch

from mambaseg_core import extension
from mambaseg_core.ops import probe

logger = logging.getLogger(__name__)

KNOWN = ("cpu", "reference", "triton", "mamba_ssm")
_INTERPRETED = extension.INTERPRETED
_MISSING = extension.MISSING
_Function = TypeVar("_Function", bound=Callable[..., str])
_LOCK: Final = threading.RLock()  # two nodes in one process may configure at once


class Choice(NamedTuple):
    """A back end, and why no better one runs; the reason is empty for the best."""

    backend: str
    reason: str


class DeviceError(ValueError):
    """Not even plain PyTorch works on a device."""


_FAULTS: dict[tuple[str, torch.device], str] = {}  # of back ends that were tried on a device; empty if it works
_BEST: dict[torch.device, Choice] = {}


@functools.cache
def _triton() -> str:
    """Register the Triton kernels on first use; return why they cannot be used, or an empty string."""
    if not (_INTERPRETED or torch.cuda.is_available()):
        return "torch sees no CUDA device"
    try:
        from mambaseg_core.ops import triton_scan

        triton_scan.register()
    except Exception as error:  # an old Triton, or one built for another Python, raises anything
        return f"triton cannot be imported: {probe.brief(error)}"
    return ""


@functools.cache
def _mamba_ssm() -> str:
    """Import mamba_ssm's CUDA scan on first use; return why it cannot be used, or an empty string."""
    if not torch.cuda.is_available():
        return "torch sees no CUDA device"
    try:
        from mambaseg_core.ops import mamba_scan  # noqa: F401
    except Exception as error:  # without its kernel, or built against another torch; its own imports raise anything
        return f"mamba_ssm cannot be imported: {probe.brief(error)}"
    return ""


def _missing(backend: str, device: torch.device | None = None) -> str:
    """Return why a back end cannot be used on a device, by default CUDA's current one; an empty string if it can."""
    if backend == "cpu":
        return _MISSING
    if backend == "reference":
        return ""
    absent = _triton() if backend == "triton" else _mamba_ssm()
    return absent or _fault(backend, _default() if device is None else numbered(device))


def _fault(backend: str, device: torch.device) -> str:
    """Prove a back end on a device, once; where nothing may run, it counts as working until it is proven."""
    if device.type == "meta":
        return ""
    with _LOCK:
        key = backend, device
        if key not in _FAULTS:
            if not probe.may_launch(device):
                return ""
            _FAULTS[key] = _tried(backend, device)
        return _FAULTS[key]


def _tried(backend: str, device: torch.device) -> str:
    fault = probe.scan_fault(operators(backend).ss2d, device)
    if fault or backend != "triton":
        return fault
    from mambaseg_core.ops import triton_voxel

    return probe.scatter_fault(triton_voxel.scatter_, device)


def _default() -> torch.device:
    return torch.device("cpu") if _INTERPRETED else numbered(torch.device("cuda"))


def numbered(device: torch.device) -> torch.device:
    """Return "cuda" as "cuda:N", as tensors name it."""
    if device.type != "cuda" or device.index is not None:
        return device
    return torch.device("cuda", torch.cuda.current_device() if torch.cuda.is_initialized() else 0)


def backends() -> tuple[str, ...]:
    """Return the names of the back ends that work in this process.

    "cpu" serves tensors on the CPU; "triton" and "mamba_ssm", best first, those on CUDA, where they are tried on the
    current device. "reference", the last, serves all.
    """
    return tuple(name for name in ("cpu", "triton", "mamba_ssm", "reference") if not _missing(name))


def _serves(backend: str, device_type: str) -> bool:
    """Return whether a back end, if it works at all, takes tensors on that device type."""
    if backend == "reference":
        return True
    kinds = {"cpu": ("cpu", "meta"), "triton": ("cuda", "meta"), "mamba_ssm": ("cuda",)}[backend]
    return device_type in kinds or (backend == "triton" and _INTERPRETED and device_type == "cpu")


def has_kernels(device: torch.device | str) -> bool:
    """Return whether the operators of `ops.schemas` have kernels for a device; "meta" needs shapes only."""
    device = torch.device(device)
    return device.type == "meta" or any(
        _serves(name, device.type) and not _missing(name, device) for name in ("cpu", "triton")
    )


def _best(device: torch.device) -> Choice:
    """Return the best back end for a device; log it and the reason once."""
    known = _BEST.get(device)
    if known is not None:
        return known
    with _LOCK:
        proven = device.type != "cuda" or probe.may_launch(device)
        choice = _best_on_cpu(device) if device.type in ("cpu", "meta") else _best_elsewhere(device)
        if proven and device not in _BEST:
            _BEST[device] = choice
            _log(device, choice)
        return choice


def _best_on_cpu(device: torch.device) -> Choice:
    return Choice("cpu", "") if device.type == "meta" or not _MISSING else Choice("reference", _MISSING)


def _best_elsewhere(device: torch.device) -> Choice:
    reasons: list[str] = []
    for name in ("triton", "mamba_ssm"):
        reason = _missing(name, device) if _serves(name, device.type) else f"not for {device.type}"
        if not reason:
            return Choice(name, "; ".join(reasons))
        reasons.append(f"{name}: {reason}")
    if device.type == "cuda" and torch.cuda.is_available() and probe.may_launch(device):
        fault = probe.device_fault(device)
        if fault:
            raise DeviceError(
                f"device is {str(device)!r}, on which torch {torch.__version__} cannot compute ({fault}); expected a "
                "GPU that works: check the driver and what torch was built for, or use 'cpu'"
            )
    return Choice("reference", "; ".join(reasons))


def _log(device: torch.device, choice: Choice) -> None:
    name, reason = choice
    if name == "cpu":
        lanes = 0 if _MISSING else torch.ops.mambaseg.vector_lanes()
        logger.info("mambaseg scans on %s: back end cpu (compiled, %d float32 lanes)", device, lanes)
        return
    if device.type == "cpu":
        logger.info("mambaseg scans on %s: back end %s (%s)", device, name, reason)
        extension.warn_missing(_MISSING)
        return
    # a warning, so that users see it: until benchmarks/gpu.py has run, the choice is a guess
    unmeasured = "" if name == "reference" else "never measured on a GPU"
    said = "; ".join(part for part in (unmeasured, reason) if part)
    logger.warning("mambaseg scans on %s: back end %s (%s)", device, name, said)


def _constant(function: _Function) -> _Function:
    """Mark a function as `torch.compiler.assume_constant_result` does.

    That function would import torch._dynamo, which takes half the time of a start.
    """
    vars(function)["_dynamo_marked_constant"] = True
    return function


@_constant
def choose(device: torch.device | str, backend: str | None) -> str:
    """Return the name of the back end for tensors on a device.

    Args:
        device: `tensor.device`.
        backend: The caller's choice, or None.

    Raises:
        ValueError: `backend` or `MAMBASEG_BACKEND` names a back end that is unknown or does not work here, or the
            device itself does not work.
    """
    return explain(device, backend).backend


def explain(device: torch.device | str, backend: str | None = None) -> Choice:
    """Return what `choose` does, with the reason why no better back end runs."""
    device, asked, source = numbered(torch.device(device)), backend, "backend="
    if asked is None:
        asked, source = os.environ.get("MAMBASEG_BACKEND") or None, "MAMBASEG_BACKEND="
    if asked is None:
        return _best(device)
    if asked not in KNOWN:
        raise ValueError(f"{source}{asked!r} is unknown; known are {', '.join(KNOWN)}")
    serves = _serves(asked, device.type)
    missing = _missing(asked, device if serves else None)
    if missing:
        advice = f" {extension.ADVICE}." if asked == "cpu" else ""
        raise ValueError(f"{source}{asked!r} does not work here: {missing}.{advice} Usable: {', '.join(backends())}")
    if not serves:
        raise ValueError(
            f"{source}{asked!r} takes tensors on {'the CPU' if asked == 'cpu' else 'CUDA'}, these are on {device.type}"
        )
    return Choice(asked, "")


def operators(backend: str) -> Any:
    """Return the namespace of `selective_scan`, `ss2d` and `bidirectional_scan` with the schemas of `ops.schemas`.

    Args:
        backend: The result of `choose`, other than "reference".
    """
    if backend == "mamba_ssm":  # not registered in torch.ops: it has its own gradients
        from mambaseg_core.ops import mamba_scan

        return mamba_scan
    return torch.ops.mambaseg

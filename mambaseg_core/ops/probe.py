"""Proof that a back end works on the very device: tiny launches, compared with the reference on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import torch
from torch import Tensor
from torch._guards import detect_fake_mode
from torch.utils._python_dispatch import _disable_current_modes

from mambaseg_core.ops import reference
from mambaseg_core.ops.autocast import without_autocast
from mambaseg_core.ops.voxel_packed import fraction_bits, scatter_reference_

_TOLERANCE: Final = 1e-2  # of the largest output: TF32 and approximate exponentials pass, wrong numbers do not
_HEIGHT, _WIDTH, _CHANNELS, _STATE, _RANK = 9, 11, 5, 1, 1  # several chunks of a scan, and channels left over
_GRID, _EVENTS = (3, 4, 5), 17


def may_launch(device: torch.device) -> bool:
    """Return whether a kernel may run now: not for fake tensors, nor while a graph is compiled or captured."""
    if detect_fake_mode() is not None:  # torch.compile has one too
        return False
    if device.type != "cuda" or not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return True
    return not torch.cuda.is_current_stream_capturing()


def device_fault(device: torch.device) -> str:
    """Compute a sum on a device; return why that fails, or an empty string."""
    try:
        with _undisturbed(device):
            total = float(torch.arange(4.0, device=device).square().sum())
    except Exception as error:  # driver, architecture, memory: torch raises many kinds
        return brief(error)
    return "" if total == 14.0 else f"0 + 1 + 4 + 9 gives {total:g} there"


def scan_fault(ss2d: Callable[..., Tensor], device: torch.device) -> str:
    """Run a tiny `mambaseg::ss2d` of a back end on a device; return why it cannot be used, or an empty string."""

    def scans() -> tuple[Tensor, Tensor]:
        x, proj, weight, bias, A, D = _scan_inputs()
        wanted = reference.ss2d_projected(x, proj, weight, bias, A, D)
        return ss2d(*(v.to(device) for v in (x, proj, weight, bias, A, D))), wanted

    return _fault("a tiny scan", scans, device)


def scatter_fault(scatter: Callable[[Tensor, Tensor], None], device: torch.device) -> str:
    """Add a few events to a voxel grid on a device; return why that cannot be used, or an empty string."""

    def grids() -> tuple[Tensor, Tensor]:
        number = torch.arange(_EVENTS, device="cpu")
        times = number << fraction_bits(_GRID[0]) - 3  # an eighth of a bin apart
        packed = number % _GRID[2] | number % _GRID[1] << 16 | number % 3 % 2 << 31 | times << 32
        found, wanted = torch.empty(_GRID, device=device), torch.empty(_GRID, device="cpu")
        scatter(found, packed.to(device))
        scatter_reference_(wanted, packed)
        return found, wanted

    return _fault("a tiny voxel grid", grids, device)


def _fault(what: str, compute: Callable[[], tuple[Tensor, Tensor]], device: torch.device) -> str:
    """Compare what a device computes with what is wanted; return the difference or the exception in words."""
    try:
        with _undisturbed(device):
            found, wanted = compute()
            worst = float((found.cpu() - wanted).abs().max() / wanted.abs().max())
    except Exception as error:  # no compiler, no headers, foreign architecture: compilers and drivers raise many kinds
        return f"{what} fails with {brief(error)}"
    if worst < _TOLERANCE:  # not so for NaN
        return ""
    return f"{what} differs from the reference by {worst:.2g} of its largest value, expected below {_TOLERANCE:g}"


def brief(error: BaseException) -> str:
    """Return an exception in one line: its type and the first line of its text."""
    text = str(error).strip().partition("\n")[0].rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextmanager
def _undisturbed(device: torch.device) -> Iterator[None]:
    """Return a context without the caller's autograd, autocast and dispatch modes."""
    with _disable_current_modes(), torch.inference_mode(False), torch.no_grad(), without_autocast(device.type):
        yield


def _scan_inputs() -> list[Tensor]:
    """Return the arguments of `mambaseg::ss2d`, made without random numbers."""
    columns = _RANK + 2 * _STATE
    shapes = [
        (1, _HEIGHT, _WIDTH, _CHANNELS),
        (1, _HEIGHT, _WIDTH, 4, columns),
        (4, _CHANNELS, _RANK),
        (4, _CHANNELS),
        (4 * _CHANNELS, _STATE),
        (4 * _CHANNELS,),
    ]
    waves = [torch.arange(torch.Size(s).numel(), dtype=torch.float32, device="cpu").sin().reshape(s) for s in shapes]
    waves[4] = -waves[4].exp()
    return waves

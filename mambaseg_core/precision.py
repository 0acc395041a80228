"""Number formats of a model's weights and features, and their speed on a device."""

from __future__ import annotations

import copy
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from mambaseg_core.models.scans import DirectionalScan, SequenceScan

PRECISIONS: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

_CPU_FLAGS: Final = {"avx512_bf16", "amx_bf16", "bf16"}  # CPUs with units for bfloat16: x86, x86, ARM
_GPU_CAPABILITY: Final = {"bfloat16": (8, 0), "float16": (7, 0)}  # the first with units for it


def choose_precision(precision: str, device: torch.device) -> torch.dtype:
    """Return the dtype of a model's weights and features for "float32", "bfloat16" or "float16".

    Raises:
        ValueError: The name is none of these, or it is float16 on a CPU.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; expected one of {', '.join(map(repr, PRECISIONS))}")
    if precision == "float16" and device.type == "cpu":
        raise ValueError("precision is 'float16' on the device 'cpu'; expected 'bfloat16' or 'float32' there")
    return PRECISIONS[precision]


def why_slow(
    precision: str,
    device: torch.device,
    *,
    cpu_flags: Collection[str] | None = None,
    gpu_capability: tuple[int, int] | None = None,
) -> str:
    """Return why a precision makes a model slower than float32 on this device; empty if it does not.

    Args:
        precision: A name of `PRECISIONS`.
        device: Device of the model.
        cpu_flags: The processor's flags, named as in /proc/cpuinfo; default: this processor's.
        gpu_capability: The GPU's compute capability; default: that of `device`.
    """
    if precision == "float32":
        return ""
    if device.type == "cpu":
        flags = read_cpu_flags() if cpu_flags is None else cpu_flags
        if _CPU_FLAGS.intersection(flags):
            return ""
        return (
            "this processor has no units for it (AVX512-BF16, AMX-BF16 or ARM's BF16), and a frame takes 2 times "
            "(AVX-512) to 6 times (AVX2) as long as in float32"
        )
    capability, needed = gpu_capability or torch.cuda.get_device_capability(device), _GPU_CAPABILITY[precision]
    if capability >= needed:
        return ""
    return "this GPU of compute capability {}.{} has no units for it, which those from {}.{} on have".format(
        *capability, *needed
    )


def read_cpu_flags(path: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Read the processor's flags from Linux's /proc/cpuinfo; empty on other systems."""
    if not path.is_file():
        return frozenset()
    for line in path.read_text().splitlines():
        name, _, values = line.partition(":")
        if name.strip() in ("flags", "Features"):  # x86, ARM
            return frozenset(values.split())
    return frozenset()


def lowered(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Return a copy of a model with weights in `dtype`, for inference; the scans' weights keep their dtype.

    Cast weights were 1.03 times as fast as autocast on a CPU with AVX512-BF16, and need half the memory.
    """
    kept = (DirectionalScan, SequenceScan)
    scans = {id(p) for part in model.modules() if isinstance(part, kept) for p in part.parameters()}
    memo: dict[int, Any] = {
        id(p): nn.Parameter(p.detach().to(dtype), requires_grad=False) for p in model.parameters() if id(p) not in scans
    }
    memo |= {id(b): b.to(dtype) for b in model.buffers() if b.is_floating_point()}
    return copy.deepcopy(model, memo)

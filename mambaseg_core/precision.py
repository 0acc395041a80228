"""Number formats of a model's weights and features, and their speed on a device."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import nn

from mambaseg_core.models.scans import DirectionalScan, SequenceScan

PRECISIONS: Final = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

_CPU_FLAGS: Final = {"avx512_bf16", "amx_bf16", "bf16"}  # CPUs with units for bfloat16: x86, x86, ARM
_GPU_CAPABILITY: Final = {"tf32": (8, 0), "bfloat16": (8, 0), "float16": (7, 0)}  # the first with units for it
_FLAGS: Final = threading.RLock()  # torch has one set of flags a process


def choose_precision(precision: str, device: torch.device) -> torch.dtype:
    """Return the dtype of a model's weights and features for a name of `PRECISIONS`.

    "tf32" is float32 whose products and convolutions run in TF32 (10 bits of mantissa): see `float32_products`.

    Raises:
        ValueError: The name is unknown, or it is float16 or tf32 on a CPU.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; expected one of {', '.join(map(repr, PRECISIONS))}")
    if precision in ("float16", "tf32") and device.type == "cpu":
        raise ValueError(f"precision is {precision!r} on the device 'cpu'; expected 'bfloat16' or 'float32' there")
    return PRECISIONS[precision]


@contextlib.contextmanager
def float32_products(precision: str, device: torch.device) -> Iterator[None]:
    """Compute the float32 products and convolutions that a thread launches on CUDA in TF32, for "float32" in float32.

    In half precision those are step sizes of scans, of features that were rounded as far before. Torch's own default is
    TF32 in convolutions and float32 in matrix products. Its flags belong to the process and are read at each launch, so
    one thread at a time holds them; the others wait. A captured graph keeps what it was captured with, and needs no
    flags when it is replayed. Nothing happens on the CPU.
    """
    if device.type == "cpu":
        yield
        return
    with _FLAGS, allow_tf32(precision != "float32"):
        yield


@contextlib.contextmanager
def allow_tf32(allowed: bool) -> Iterator[None]:
    """Allow or forbid TF32 in products and convolutions of the whole process, and put the flags back at the end."""
    kept = [(holder, name, getattr(holder, name)) for holder, name in _tf32_flags()]
    products = _products_flag()
    try:
        if products:
            torch.set_float32_matmul_precision("high" if allowed else "highest")
        for holder, name, _ in kept:
            setattr(holder, name, allowed if name == "allow_tf32" else "tf32" if allowed else "ieee")
        yield
    finally:
        if products:
            torch.set_float32_matmul_precision(products)
        for holder, name, value in kept:
            setattr(holder, name, value)


def _tf32_flags() -> list[tuple[Any, str]]:
    """Return the flags besides `torch.set_float32_matmul_precision`: those of torch 2.9 and later, or the older one."""
    cudnn, mkldnn = cast(Any, torch.backends.cudnn), cast(Any, torch.backends.mkldnn)
    if not hasattr(cudnn, "conv"):
        return [(cudnn, "allow_tf32")]
    new = (torch.backends.cuda.matmul, mkldnn.matmul, cudnn.conv, cudnn.rnn)
    return [(holder, "fp32_precision") for holder in new]


def _products_flag() -> str:
    """Return `torch.get_float32_matmul_precision()`; empty if the process has set the newer flags otherwise."""
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return ""


def why_slow(
    precision: str,
    device: torch.device,
    *,
    cpu_flags: Collection[str] | None = None,
    gpu_capability: tuple[int, int] | None = None,
) -> str:
    """Return why a precision makes a model slower than float32 on this device, or no faster; empty if it pays.

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
            "this processor has no units for it (AVX512-BF16, AMX-BF16 or ARM's BF16): inference of our networks gains "
            "nothing, and training or another model takes 2 times (AVX-512) to 6 times (AVX2) as long as in float32"
        )
    capability, needed = gpu_capability or torch.cuda.get_device_capability(device), _GPU_CAPABILITY[precision]
    if capability >= needed:
        return ""
    return "this GPU of compute capability {}.{} has no units for it, which those from {}.{} on have".format(
        *capability, *needed
    )


def rounds_factors(precision: str, device: torch.device, *, cpu_flags: Collection[str] | None = None) -> bool:
    """Return True where the inference form is to round the factors of products, in place of `lowered` weights.

    That is in bfloat16 on the CPU. An ARM with units for bfloat16 is left to torch, which uses them: the kernels of the
    inference form do not.

    Args:
        precision: A name of `PRECISIONS`.
        device: Device of the model.
        cpu_flags: The processor's flags, named as in /proc/cpuinfo; default: this processor's.
    """
    flags = read_cpu_flags() if cpu_flags is None else cpu_flags
    return precision == "bfloat16" and device.type == "cpu" and "bf16" not in flags


def read_cpu_flags(path: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Read the processor's flags from Linux's /proc/cpuinfo; empty on other systems."""
    if not path.is_file():
        return frozenset()
    for line in path.read_text().splitlines():
        name, _, values = line.partition(":")
        if name.strip() in ("flags", "Features"):  # x86, ARM
            return frozenset(values.split())
    return frozenset()


def lowered(model: nn.Module, dtype: torch.dtype, device: torch.device) -> nn.Module:
    """Return a copy of a model with weights in `dtype`, for inference on a device; it stays where it is.

    Scans keep the dtype of their weights, but on CUDA that of the first product, whose factors are in `dtype` there.
    Cast weights were 1.03 times as fast as autocast on a CPU with AVX512-BF16, and need half the memory.
    """
    kept = (DirectionalScan, SequenceScan)
    scans = {
        id(p)
        for part in model.modules()
        if isinstance(part, kept)
        for name, p in part.named_parameters()
        if name != "x_proj" or device.type != "cuda"
    }
    memo: dict[int, Any] = {
        id(p): nn.Parameter(p.detach().to(dtype), requires_grad=False) for p in model.parameters() if id(p) not in scans
    }
    memo |= {id(b): b.to(dtype) for b in model.buffers() if b.is_floating_point()}
    return copy.deepcopy(model, memo)

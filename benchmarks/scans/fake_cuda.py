"""Tensors on `cuda:0` without a GPU: torch's fakes, a watch over every operator, and networks made of such tensors.

A CPU build of torch has no guard of the current CUDA device, which every call from Python passes. `guard_devices`
compiles one that does nothing.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

GPU, META = torch.device("cuda", 0), torch.device("meta")
_GUARD = """
#include <c10/core/impl/DeviceGuardImplInterface.h>
namespace {
C10_REGISTER_GUARD_IMPL(CUDA, c10::impl::NoOpDeviceGuardImpl<c10::DeviceType::CUDA>)
}
"""


def why_not() -> str:
    """Return why fakes on CUDA cannot be used here; empty if they can."""
    missing = torch.version.cuda is None and shutil.which("g++") is None
    return "this torch is a CPU build and g++ is missing: install g++" if missing else ""


def guard_devices(folder: Path) -> None:
    """Compile a device guard for CUDA that does nothing, and load it; a CUDA build of torch has its own."""
    if torch.version.cuda is not None:
        return
    root, source, library = Path(torch.__file__).parent, folder / "guard.cpp", folder / "guard.so"
    source.write_text(_GUARD)
    command = ["g++", "-std=c++20", "-shared", "-fPIC", f"-I{root / 'include'}", str(source), "-o", str(library)]
    subprocess.run([*command, f"-L{root / 'lib'}", "-lc10"], check=True, capture_output=True, text=True)
    ctypes.CDLL(str(library))


class OnlyOn(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Raise AssertionError where an operator has a tensor on another device, or waits for a value.

    Attributes:
        counts: Calls of each operator.
        dtypes: Of their arguments and results.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.device, self.counts = device, Counter[str]()
        self.dtypes: set[torch.dtype] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator between the two checks."""
        if torch.Tag.data_dependent_output in func.tags or torch.Tag.dynamic_output_shape in func.tags:
            raise AssertionError(f"{func} waits for a value")
        result = func(*args, **(kwargs or {}))
        tensors = [x for x in tree_leaves((args, kwargs, result)) if isinstance(x, torch.Tensor)]
        for tensor in tensors:
            if tensor.device != self.device:
                raise AssertionError(f"{func} has a tensor {list(tensor.shape)} on {tensor.device}")
        self.dtypes.update(tensor.dtype for tensor in tensors)
        self.counts[str(func)] += 1
        return result


@contextmanager
def only_on(device: torch.device) -> Iterator[OnlyOn]:
    """Return a context in which every operator is watched and tensors on CUDA are fakes."""
    with FakeTensorMode() if device.type == "cuda" else nullcontext(), OnlyOn(device) as watch:
        yield watch


def moved(model: nn.Module, device: torch.device) -> nn.Module:
    """Replace a network's weights by empty ones on a device; call it within `only_on`."""
    for module in model.modules():
        for name, weight in module._parameters.items():
            if weight is not None:
                fake = torch.empty(weight.shape, dtype=weight.dtype, device=device)
                module._parameters[name] = nn.Parameter(fake, requires_grad=weight.requires_grad)
        for name, value in module._buffers.items():
            if value is not None:
                module._buffers[name] = torch.empty(value.shape, dtype=value.dtype, device=device)
    return model


@contextmanager
def autocast(dtype: torch.dtype) -> Iterator[None]:
    """Return a context of autocast on CUDA; `torch.autocast` would switch itself off without a GPU."""
    found = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", dtype)
    torch.autocast_increment_nesting()
    try:
        yield
    finally:
        if torch.autocast_decrement_nesting() == 0:
            torch.clear_autocast_cache()
        torch.set_autocast_enabled("cuda", found[0])
        torch.set_autocast_dtype("cuda", found[1])

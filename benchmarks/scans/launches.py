"""Kernels, GFLOP and bytes of one frame on CUDA, counted on tensors without data, and the least time they would take.

    python benchmarks/scans/launches.py [--models mambaseg_dsec mambaseg_nano] [--size 440 640]

No GPU is used, and nothing is timed. Each operator of torch that computes counts as one kernel; Triton's launches are
counted where they happen. Bytes: each kernel reads its arguments and writes its results once. The least time of a
kernel is the longest of its launch in a graph, its bytes, its matrix products and, of `chunk_ends` and `outputs`, their
instructions (`compiled.py`), at the rates below. It is a lower bound on paper, for a card of the H100's class.
"""

from __future__ import annotations

import argparse
import functools
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast
from unittest import mock

import compiled
import torch
from fake_cuda import GPU, guard_devices, moved
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from mambaseg_core.checkpoint import create_model
from mambaseg_core.ops import scan, triton_scan
from mambaseg_core.precision import lowered
from mambaseg_core.tracing import answer

BYTES_S, HALF_S, FLOAT32_S, TF32_S = 2.7e12, 450e12, 45e12, 225e12
WARP_INSTRUCTIONS_S = 132 * 4 * 1.7e9  # multiprocessors, schedulers, clock
LAUNCH_S = 1.5e-6  # of one kernel in a graph
_NOTHING = ("empty", "new_empty", "empty_like", "empty_strided", "detach", "alias", "_unsafe_view", "_reshape_alias")


class Count(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Count what runs on a device.

    Attributes:
        kernels: Of all kinds.
        triton: Those of Triton among them.
        flops: Of the matrix products and convolutions, by dtype of the factors.
        moved: Bytes.
        seconds: The least time.
        scanning: The least time of the scans' instructions alone.
    """

    def __init__(self, float32_s: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kernels = self.triton = self.moved = 0
        self.flops = {True: 0, False: 0}  # half, float32
        self.seconds = self.scanning = 0.0
        self._float32_s = float32_s

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator and count it."""
        result = func(*args, **(kwargs or {}))
        packet = func._overloadpacket
        computes = any(isinstance(x, Tensor) for x in tree_leaves(result))
        if computes and not func.is_view and packet.__name__ not in _NOTHING:
            formula = flop_registry.get(packet)
            flops = formula(*args, **(kwargs or {}), out_val=result) if formula else 0
            self.add([args, kwargs, result], flops)
        return result

    def add(self, values: Any, flops: int = 0, instructions: int = 0) -> None:
        """Count one kernel with these arguments and results, and the instructions of its warps."""
        tensors = {id(x): x for x in tree_leaves(values) if isinstance(x, Tensor)}.values()
        moved_bytes = sum(x.numel() * x.element_size() for x in tensors)
        half = bool(flops) and min(x.element_size() for x in tensors) == 2
        self.kernels += 1
        self.moved += moved_bytes
        self.flops[half] += flops
        product_s = flops / (HALF_S if half else self._float32_s)
        scan_s = instructions / WARP_INSTRUCTIONS_S
        self.scanning += scan_s
        self.seconds += max(LAUNCH_S, moved_bytes / BYTES_S, product_s, scan_s)


class Kernel:
    """A Triton kernel that counts its launches."""

    def __init__(self, count: Count, kernel: Any) -> None:
        self.count, self.kernel = count, kernel

    def __getitem__(self, grid: Any) -> Any:
        """Return the launcher for a grid."""
        return self._launch

    def _launch(self, *arguments: Any, **constants: Any) -> None:
        self.count.triton += 1
        instructions = 0
        if self.kernel in compiled.FORWARD:
            k, c, length, rank = (constants[name] for name in ("K", "C", "L", "R"))
            steps = arguments[0].shape[0] * k * length * -(-c // constants["BC"])
            instructions = steps * instructions_a_step(self.kernel, constants["N"], product=rank > 0)
        self.count.add(arguments, instructions=instructions)


@functools.cache
def instructions_a_step(kernel: Any, states: int, *, product: bool) -> int:
    """Return the instructions of a warp for one place, on compute capability 9.0."""
    return len(compiled.read(compiled.build_forward(kernel, 90, states)).path(product=product))


def frame(name: str, size: tuple[int, int], dtype: torch.dtype, float32_s: float = FLOAT32_S) -> Count:
    """Count a frame of a network from image and second input to ids."""
    with torch.device("meta"):
        model = lowered(create_model(name, image_size=size).eval(), dtype, GPU)
    count = Count(float32_s)
    kernels = {key: value for key, value in vars(triton_scan).items() if type(value).__name__ == "JITFunction"}
    counting = {key: cast(Any, Kernel(count, value)) for key, value in kernels.items()}
    with (
        mock.patch.multiple(triton_scan, **counting),
        mock.patch.object(scan, "choose", return_value="triton"),
        mock.patch.object(scan, "operators", return_value=triton_scan),
        mock.patch.object(torch.cuda, "device", return_value=nullcontext()),
        FakeTensorMode(),
        torch.no_grad(),
    ):
        moved(model, GPU)
        inputs = [torch.empty(cast(int, n), *size, device=GPU) for n in (model.in_channels, model.bins)]
        with count:
            answer(model, dtype, GPU, *inputs)
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["mambaseg_dsec", "mambaseg_compact", "mambaseg_nano"])
    parser.add_argument("--size", type=int, nargs=2, default=(440, 640))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        guard_devices(Path(folder))
    size = (args.size[0], args.size[1])
    print("| model | precision | kernels (Triton) | GFLOP half | GFLOP float32 or TF32 | GB | scans ms | at least ms |")
    print("|---|---|---|---|---|---|---|---|")
    for name in args.models:
        for precision, dtype, rate in (
            ("float16", torch.float16, TF32_S),
            ("tf32", torch.float32, TF32_S),
            ("float32", torch.float32, FLOAT32_S),
        ):
            found = frame(name, size, dtype, rate)
            half, single = (found.flops[key] / 1e9 for key in (True, False))
            counts = f"{found.kernels} ({found.triton}) | {half:.1f} | {single:.1f} | {found.moved / 1e9:.2f}"
            print(f"| {name} | {precision} | {counts} | {1e3 * found.scanning:.2f} | {1e3 * found.seconds:.2f} |")


if __name__ == "__main__":
    main()

"""Stages on the machine itself: what it is, whether the extension builds, whether one scan is right."""

from __future__ import annotations

import logging
import platform
import shutil
import subprocess
import sys
import sysconfig
import time
import warnings
from importlib import metadata, util
from pathlib import Path

import numpy as np
import torch

from gpu_stages.results import Run
from gpu_stages.runner import ROOT
from gpu_stages.street import random_events
from gpu_stages.timing import wait_for

PACKAGES = (
    "torch",
    "triton",
    "numpy",
    "opencv-python-headless",
    "h5py",
    "safetensors",
    "lightning",
    "pytest",
    "pytest-xdist",
)
ABSENT = (
    "lz4",
    "rosbags",
    "hdf5plugin",
    "backports.zstd",
    "rclpy",
    "mcap",
    "hypothesis",
    "pytest_timeout",
    "mamba_ssm",
)
OF_THE_CARD = ("name", "driver_version", "compute_cap", "memory.total", "clocks.max.sm", "power.limit")
COMMANDS = {
    "card": f"nvidia-smi --query-gpu={','.join(OF_THE_CARD)} --format=csv,noheader",
    "nvcc": "nvcc --version",
    "C compiler": "cc --version",
    "C++ compiler": "c++ --version",
    "sanitizer": "compute-sanitizer --version",
}


def env(run: Run) -> None:
    """Write down the card, compilers, packages, and which modules are missing."""
    run.add(what="python", found=f"{platform.python_version()} on {platform.machine()}, {platform.platform()}")
    for what, command in COMMANDS.items():
        with run.part(what):
            run.add(what=what, found=_answer(command))
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    run.add(what="Python.h", found=str(header.is_file()))
    for name in PACKAGES:
        run.add(what=name, found=_version(name))
    run.add(what="missing modules", found=", ".join(name for name in ABSENT if not _importable(name)) or "none")
    run.add(what="CUDA of torch", found=f"{torch.version.cuda}, device seen: {torch.cuda.is_available()}")


def build(run: Run) -> None:
    """Build the compiled extension in the checkout unless it is there and loads."""
    if not (missing := _missing_extension()):
        run.add(what="extension", found="was there and loads")
        return
    if run.tiny:
        run.add(what="extension", found=f"not built in a trial: {missing}")
        return
    start = time.perf_counter()
    subprocess.run([sys.executable, "setup.py", "build_ext", "--inplace"], cwd=ROOT, check=True)
    if missing := _missing_extension():
        raise RuntimeError(f"the extension was built and does not load: {missing}")
    run.add(what="extension", found=f"built in {time.perf_counter() - start:.0f} s")


def smoke(run: Run) -> None:
    """Run one scan forward and backward, and one voxel grid, against float64 on the reference back end."""
    with run.part("back end"):
        _say_back_end(run)
    with run.part("scan"):
        _scan_once(run)
    with run.part("voxel grid"):
        _voxel_grid_once(run)


def _say_back_end(run: Run) -> None:
    """Write which back end is chosen, with what the log says of it."""
    from mambaseg_core import ops

    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("mambaseg_core")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        run.add(what="usable back ends", found=", ".join(ops.backends()))
        ops.ss2d(*_map(torch.float32, run.device))
    run.add(what="log of the choice", found="; ".join([*said, *(str(item.message) for item in warned)]))


def _scan_once(run: Run) -> None:
    from mambaseg_core import ops

    leaves = [v.requires_grad_() for v in _map(torch.float32, run.device)]
    start = time.perf_counter()
    y = ops.ss2d(*leaves)
    y.square().sum().backward()
    wait_for(run.device)
    took = time.perf_counter() - start
    exact = [v.detach().double().requires_grad_() for v in leaves]
    z = ops.ss2d(*exact, backend="reference")
    z.square().sum().backward()
    gradients = max(_error(a.grad, b.grad) for a, b in zip(leaves, exact, strict=True))
    run.add(what="first scan forward and backward, s", found=round(took, 2))
    run.add(what="scan: largest error of values, of gradients", found=[_error(y, z), gradients])
    if max(_error(y, z), gradients) > 1e-4:
        raise RuntimeError(
            f"a float32 scan differs from float64 by {_error(y, z):.1e}, its gradients by {gradients:.1e}"
        )


def _voxel_grid_once(run: Run) -> None:
    from mambaseg_core import voxel_grid

    size = (48, 64) if run.tiny else (480, 640)
    events = random_events(size, 1000 if run.tiny else 100_000, seed=0)
    out = torch.full((10, *size), torch.nan, device=run.device)
    start = time.perf_counter()
    voxel_grid(events, mode="bilinear", out=out)
    wait_for(run.device)
    run.add(what="first voxel grid, s", found=round(time.perf_counter() - start, 3))
    difference = float((out.cpu() - voxel_grid(events, mode="bilinear")).abs().max())
    run.add(what="voxel grid: largest difference from the CPU's", found=difference)
    if not np.isfinite(difference) or difference > 1e-3:
        raise RuntimeError(f"the voxel grid differs from the CPU's by {difference}")


def _map(dtype: torch.dtype, device: str) -> list[torch.Tensor]:
    """Return arguments of ss2d: a map of 9x11 with 40 channels, N = 4, R = 3."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(1, 9, 11, 40), (4, 3 + 8, 40), (4, 40, 3), (4, 40), (160, 4), (160,)]
    x, first, second, bias, rates, skip = (torch.randn(shape, generator=generator) for shape in shapes)
    made = (x, first / 40**0.5, second / 3**0.5, bias - 2, -rates.exp(), skip)
    return [v.to(device, dtype) for v in made]


def _error(got: torch.Tensor | None, wanted: torch.Tensor | None) -> float:
    """Return the largest difference, as a share of the largest value."""
    if got is None or wanted is None:
        raise RuntimeError("a gradient is missing")
    return float((got.detach().double() - wanted).abs().max() / wanted.abs().max())


def _missing_extension() -> str:
    """Return why a new process cannot load the extension; empty if it can."""
    code = "from mambaseg_core import extension; print(extension.MISSING)"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def _answer(command: str) -> str:
    """Return the last words of a command's output, or that there is none."""
    words = command.split()
    if shutil.which(words[0]) is None:
        return "not installed"
    found = subprocess.run(words, capture_output=True, text=True, timeout=10, check=False)
    lines = (found.stdout or found.stderr).strip().splitlines()
    return (lines[-1] if words[0] == "nvcc" else lines[0]) if lines else f"exit status {found.returncode}"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _importable(name: str) -> bool:
    try:
        return util.find_spec(name) is not None
    except ImportError:
        return False

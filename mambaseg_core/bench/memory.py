"""The memory of one forward pass, in a process of its own: `python -m mambaseg_core.bench.memory MODEL PRECISION`."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import torch

from mambaseg_core.bench.model import frame, network
from mambaseg_core.inference import keep_memory


def peak_mib(name: str, precision: str, threads: int) -> float:
    """Highest resident memory during a first forward pass, above what was resident before it (weights), MiB."""
    command = [sys.executable, "-m", "mambaseg_core.bench.memory", name, precision, str(threads)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _resident_mib(field: str) -> float:
    """A field of /proc/self/status (Linux), MiB: VmRSS is the memory now, VmHWM its highest so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (kib,) = (line.split()[1] for line in lines if line.startswith(field))
    return int(kib) / 1024


@torch.inference_mode()
def _main(name: str, precision: str, threads: str) -> None:
    torch.set_num_threads(int(threads))
    keep_memory()
    model = network(name, precision)
    inputs = frame(model)
    ctypes.CDLL(None).malloc_trim(0)  # what the casts of the weights freed must not serve the pass unseen
    Path("/proc/self/clear_refs").write_text("5")  # the highest so far becomes the memory now
    before = _resident_mib("VmRSS")
    model(*inputs)
    print(_resident_mib("VmHWM") - before)


if __name__ == "__main__":
    _main(*sys.argv[1:])

"""Stages that run tests: those for a GPU, the others that make sense without ROS, and the kernels under a checker."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib import util

from gpu_stages.results import Run
from gpu_stages.runner import ROOT

WITH_A_GPU = ("test/ops", "test/test_inference.py", "test/test_precision.py")
OTHERS = (
    "test/ops",
    "test/models",
    "test/cameras",
    "test/events",
    "test/node",
    "test/test_inference.py",
    "test/test_precision.py",
)
CHECKED = """
import torch
from mambaseg_core import Events, ops, voxel_grid
leaves = [torch.randn(s, device="cuda", requires_grad=True) for s in ((1, 9, 11, 40), (4, 19, 40), (4, 40, 3), (4, 40))]
rates = -torch.rand(160, 8, device="cuda")
ops.ss2d(*leaves, rates, torch.ones(160, device="cuda")).sum().backward()
events = Events.from_arrays([1, 5, 3], [2, 2, 7], [10, 20, 30], [1, 0, 1], height=8, width=8)
voxel_grid(events, mode="bilinear", out=torch.empty(10, 8, 8, device="cuda"))
torch.cuda.synchronize()
"""


def tests(run: Run) -> None:
    """Run the tests that need a GPU; without one they are skipped."""
    _pytest(run, [*WITH_A_GPU, "-m", "gpu"], workers=8)


def suite(run: Run) -> None:
    """Run the other tests that need neither ROS nor long; Triton's run in the interpreter anywhere."""
    chosen = ["test/test_labels.py", "test/node/messages/test_types.py"] if run.tiny else list(OTHERS)
    _pytest(run, [*chosen, "-m", "not ros and not slow and not gpu", "--ignore=test/ops/test_triton.py"], workers=12)


def sanitize(run: Run) -> None:
    """Run a scan forward and backward, and a voxel grid, under compute-sanitizer."""
    tool = shutil.which("compute-sanitizer")
    if tool is None or not run.on_gpu:
        run.add(what="compute-sanitizer", found="not installed here" if tool is None else "left out on a CPU")
        return
    command = [tool, "--tool", "memcheck", "--error-exitcode", "7", sys.executable, "-c", CHECKED]
    found = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    print(found.stdout, flush=True)
    lines = found.stdout.strip().splitlines() or ["no output"]
    run.add(what="compute-sanitizer, memcheck", found=lines[-1])
    if found.returncode:
        run.fail("memcheck", f"exit status {found.returncode}: {lines[-1]}", found.stdout)


def _pytest(run: Run, words: list[str], workers: int) -> None:
    """Run pytest, print what it prints, and write its counts, each failure, and the files whose imports are missing."""
    # the project's options without plugins that may be missing here
    command = [sys.executable, "-m", "pytest", "-o", "addopts=--import-mode=importlib", "-p", "no:cacheprovider"]
    command += ["-q", "-rfE", "--tb=short", "--maxfail=40", "--continue-on-collection-errors", *words]
    if util.find_spec("hypothesis") is None:
        command += ["--noconftest"]  # the tests of kernels need nothing of it
    if util.find_spec("xdist") is not None and not run.tiny:
        command += ["-n", str(min(workers, os.cpu_count() or 1))]
    last, collected, missing = "", "", dict[str, str]()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            last = line.strip() or last
            if match := re.match(r"_+ ERROR collecting (\S+) _+", line):
                collected = match[1]
            elif (match := re.match(r"E +ModuleNotFoundError: (.*)", line)) and "mambaseg" not in line:
                missing[collected] = match[1]
            elif (match := re.match(r"(?:FAILED|ERROR) (\S+)(?: - )?(.*)", line)) and match[1] not in missing:
                run.fail(match[1], match[2] or "error")
    run.add(what=" ".join(words), found=last.strip("= "))
    for file, reason in missing.items():
        run.add(what=f"left out: {file}", found=reason)
    if process.returncode not in (0, 5) and not run.failures and not missing:  # 5: no test was chosen
        run.fail("pytest", f"exit status {process.returncode}: {last}")

"""Runs stages one after the other, each in a process group that is killed at the stage's limit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gpu_stages.plan import Stage
from gpu_stages.results import FILE, append

ROOT = Path(__file__).resolve().parents[2]
SHORTEST_S = 3.0  # a stage is not started for less


@dataclass(frozen=True)
class Settings:
    """How stages are run.

    Attributes:
        door: The script that runs one stage with `--inside`.
        out: Folder of the results.
        device: "cuda" or "cpu".
        tiny: Whether sizes are tiny.
        limit_s: Limit of each stage in place of its share, seconds; None: its share.
        deadline_s: Time of all stages together, seconds; None: the sum of their limits.
    """

    door: Path
    out: Path
    device: str
    tiny: bool
    limit_s: float | None = None
    deadline_s: float | None = None


def run_all(stages: Sequence[Stage], settings: Settings) -> int:
    """Run the stages and return how many failed. A stage may also use the time that those before it left over."""
    start, kept_until, failed = time.monotonic(), 0.0, 0
    deadline = settings.deadline_s or float("inf")
    for stage in stages:
        kept_until += settings.limit_s or stage.share_s
        began = time.monotonic()
        limit = min(kept_until, deadline) - (began - start)
        if settings.limit_s is not None:
            limit = min(limit, settings.limit_s)
        if limit < min(SHORTEST_S, kept_until):
            append(settings.out / FILE, {"stage": stage.name, "status": "skipped", "error": "no time was left"})
            print(f"{stage.name}: skipped, no time was left", flush=True)
            continue
        append(settings.out / FILE, {"stage": stage.name, "status": "started", "limit_s": round(limit, 1)})
        print(f"{stage.name}: {stage.what} (at most {limit:.0f} s)", flush=True)
        status = run_stage(stage, settings, limit)
        took = round(time.monotonic() - began, 1)
        append(settings.out / FILE, {"stage": stage.name, "status": status, "seconds": took})
        print(f"{stage.name}: {status} after {took} s", flush=True)
        failed += status != "ok"
    return failed


def run_stage(stage: Stage, settings: Settings, limit_s: float) -> str:
    """Run one stage in a process of its own; return "ok", "failed (status)" or "killed at its limit"."""
    command = [sys.executable, "-u", str(settings.door), "--inside", stage.name, "--device", settings.device]
    command += ["--out", str(settings.out), *(["--tiny"] if settings.tiny else [])]
    with (settings.out / "log.txt").open("ab") as log:
        log.write(f"\n=== {stage.name}\n".encode())
        log.flush()
        start = log.tell()
        # a group, not a session: what ends this script's session ends the stage too
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment(), stdout=log, stderr=subprocess.STDOUT, preexec_fn=os.setpgrp
        )
        try:
            status = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return "killed at its limit"
        finally:
            kill_group(process)
    if status:
        print(_tail(settings.out / "log.txt", start), flush=True)
    return f"failed ({status})" if status else "ok"


def environment() -> dict[str, str]:
    """Return the environment of a stage: it finds the checkout's packages first, installed or not."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a stage's processes, and wait for the first of them."""
    with suppress(ProcessLookupError):  # all have ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _tail(path: Path, start: int) -> str:
    """Return the end of what a stage printed."""
    with path.open("rb") as file:
        file.seek(start)
        lines = file.read().decode(errors="replace").splitlines()
    return "\n".join(f"    {line}" for line in lines[-25:])

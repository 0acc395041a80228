"""The command line of `benchmarks/gpu.py`."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

from gpu_stages.plan import STAGES, chosen
from gpu_stages.report import report
from gpu_stages.results import FILE, Run, append, read
from gpu_stages.runner import ROOT, Settings, run_all


def main(door: Path, description: str) -> int:
    """Run what the command line asks for and return the exit status."""
    words = _parse(description)
    if words.list:
        for stage in STAGES:
            print(f"{stage.call:6} {stage.name:10} {stage.share_s:4.0f} s  {stage.what}")
        return 0
    if words.report:
        print(report([row for path in words.report for row in read(path)]))
        return 0
    words.out = words.out.resolve()
    if words.inside:
        return _inside(Run(words.device, words.tiny, words.out, words.inside))
    return _outside(words, door)


def _parse(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="*", help="first, second, or names of stages; default: first")
    parser.add_argument("--out", type=Path, default=Path("out/gpu"), help="folder of the results")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, to try the script")
    parser.add_argument("--limit", type=float, help="seconds of each stage, in place of its own limit")
    parser.add_argument("--deadline", type=float, help="seconds of all stages together")
    parser.add_argument(
        "--report", type=Path, nargs="+", metavar="FILE", help="print the report of results.jsonl files"
    )
    parser.add_argument("--list", action="store_true", help="list the stages and their limits")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    return parser.parse_args()


def _outside(words: argparse.Namespace, door: Path) -> int:
    """Run stages in processes of their own, then write and print the report."""
    try:
        stages = chosen(words.stages or ["first"])
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the stage in hand is killed with this process
    words.out.mkdir(parents=True, exist_ok=True)
    results = words.out / FILE
    append(results, {"run": time.strftime("%Y-%m-%d %H:%M"), "device": words.device, "tiny": words.tiny, **_commit()})
    settings = Settings(door, words.out, words.device, words.tiny, words.limit, words.deadline)
    failed = run_all(stages, settings)
    text = report(read(results))
    (words.out / "report.md").write_text(text + "\n", encoding="utf-8")
    print(f"\n{text}\n\n{len(stages) - failed} of {len(stages)} stages did not fail; results: {words.out}", flush=True)
    return 1 if failed else 0


def _inside(run: Run) -> int:
    """Run one stage in this process."""
    (stage,) = chosen([run.stage])
    with run.part(run.stage):
        getattr(import_module(f"gpu_stages.{stage.module}"), stage.name)(run)
    return 1 if run.failures else 0


def _commit() -> dict[str, str]:
    """Return the commit of the checkout, if git knows it."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"commit": found}

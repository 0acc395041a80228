"""The proof at equal training: mambaseg_nano against the same network with other fusions, or with one input only.

    mambaseg synth data/benchmark --benchmark
    python benchmarks/learning/compare.py data/benchmark --estimate          # 20 steps of each: what the rest will take
    python benchmarks/learning/compare.py data/benchmark --jobs 2            # all runs, one thread each, two at a time
    python benchmarks/learning/compare.py --table                            # from the ledger alone
    python benchmarks/learning/compare.py data/benchmark --group compact --set loop.steps=1500

All runs of a group share data, order, augmentation, schedule and steps (equal_training.yaml, `--set`). They are judged
with the weights of their last step on all test sequences. An interrupted run goes on where it was, and ends with the
same weights, bit for bit on a CPU. A finished one is in the ledger and is never repeated. The ledger refuses runs of
another protocol or another version of the data.
"""

from __future__ import annotations

import argparse
import logging
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

import torch
from equal_training.contenders import GROUPS, Contender, register_contenders
from equal_training.ledger import Ledger
from equal_training.runs import Plan, estimate, plan_of, run
from equal_training.tables import tables

from mambaseg_core.cli.train import parse_changes
from mambaseg_core.inference import choose_device
from mambaseg_core.training.config import read_config

HERE = Path(__file__).parent


def parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", help="folder of the benchmark")
    parser.add_argument("--group", choices=sorted(GROUPS), default="nano")
    parser.add_argument("--contenders", nargs="+", metavar="NAME", help="some of the group only")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, each in a process of its own")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch in each run")
    parser.add_argument("--out", type=Path, help="folder of unfinished runs (default: runs/GROUP)")
    parser.add_argument("--ledger", type=Path, help="folder of finished runs (default: ledger/GROUP beside this file)")
    parser.add_argument("--config", type=Path, default=HERE / "equal_training.yaml")
    parser.add_argument("--set", action="append", default=[], help="a value of the configuration, section.key=value")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--estimate", action="store_true", help="train 20 steps of each and print what is left")
    parser.add_argument("--table", action="store_true", help="print the tables only")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)  # of --jobs, which prints the tables
    found = parser.parse_args(words)
    found.out = found.out or Path("runs") / found.group
    found.ledger = found.ledger or HERE / "ledger" / found.group
    names = [one.name for one in GROUPS[found.group]]
    unknown = sorted(set(found.contenders or []) - set(names))
    if unknown:
        parser.error(f"--contenders has {', '.join(unknown)}; expected some of {', '.join(names)}")
    if found.data is None and not found.table:
        parser.error("the data set's folder is missing; only --table does without")
    return found


def plan(words: argparse.Namespace) -> Plan:
    """Return what all runs share."""
    config = read_config(words.config, {"data.root": str(words.data), **parse_changes(words.set)})
    return plan_of(config, words.out, words.ledger, choose_device(words.device))


def chosen(words: argparse.Namespace) -> list[Contender]:
    """Return the contenders of the command: some or all of a group."""
    return [one for one in GROUPS[words.group] if one.name in (words.contenders or [one.name])]


def train_missing(words: argparse.Namespace) -> None:
    """Train the runs that the ledger lacks, seed by seed, less those that another process is at."""
    shared, contenders = plan(words), chosen(words)
    for seed in words.seeds:
        for contender in contenders:
            entry = run(shared, contender, seed)
            if entry is not None:
                print(f"{contender.name}, seed {seed}: finished, {entry.made['step_s']:.2f} s a step", flush=True)


def train_in_processes(given: list[str], jobs: int) -> int:
    """Start this script `jobs` times on the same list of runs; return the exit status of one that failed, or 0."""
    started = [subprocess.Popen([sys.executable, __file__, *given, "--jobs", "1", "--child"]) for _ in range(jobs)]

    def end_all(number: int, frame: FrameType | None) -> None:
        for process in started:
            process.send_signal(signal.SIGTERM)  # a run saves its state and ends

    before = {number: signal.signal(number, end_all) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        ends = [process.wait() for process in started]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return next((end if end > 0 else 128 - end for end in ends if end), 0)


def main(given: list[str] | None = None) -> int:
    """Run the command; return its exit status, 1 while runs are missing."""
    from mambaseg_core.training.callbacks import StoppedError

    given = sys.argv[1:] if given is None else given
    words = parse(given)
    register_contenders()
    torch.set_num_threads(words.threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    status = 0
    try:
        if words.estimate:
            print("\n".join(estimate(plan(words), chosen(words), words.seeds, steps=20, jobs=words.jobs)))
            return 0
        if words.jobs > 1 and not words.table:
            status = train_in_processes(given, words.jobs)
        elif not words.table:
            train_missing(words)
        if words.child:
            return 0
        ledger = Ledger(words.ledger)
        print("\n".join(tables(ledger, GROUPS[words.group])))
        runs = [(one.name, seed) for seed in words.seeds for one in chosen(words)]
        missing = [f"{name}-{seed}" for name, seed in runs if not ledger.has(name, seed)]
        if not missing:
            return 0  # whatever became of a process whose runs others have finished
        print(f"\nnot finished: {', '.join(missing)}")
        return status or int(not words.table)
    except (ValueError, OSError) as error:
        print(f"compare.py: {error}", file=sys.stderr)
        return 2
    except StoppedError as error:
        print(f"compare.py: {error}; the same command goes on", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())

"""One run: trained with its group's protocol, judged, and written into the ledger."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from equal_training.contenders import Contender
from equal_training.judging import judge
from equal_training.ledger import Entry, Ledger, data_version, protocol_of
from mambaseg_core.bench.timing import environment
from mambaseg_core.checkpoint import create_model, load_checkpoint
from mambaseg_core.data.loading import open_dataset
from mambaseg_core.profile import Profile, profile_model
from mambaseg_core.training.callbacks import METRICS
from mambaseg_core.training.config import TrainConfig
from mambaseg_core.training.data import make_preprocessing

LOCK = "lock"


@dataclass(frozen=True)
class Plan:
    """What all runs share.

    Attributes:
        config: configuration without contender and seed.
        out: folder of the unfinished runs, one below it for each.
        ledger: folder of the ledger.
        version: version of the data (`data_version`).
        device: of training and judging.
    """

    config: TrainConfig
    out: Path
    ledger: Path
    version: dict[str, dict[str, float]]
    device: torch.device

    def folder(self, contender: Contender, seed: int) -> Path:
        """Return the folder of a run."""
        return self.out / f"{contender.name}-{seed}"


def plan_of(config: TrainConfig, out: Path, ledger: Path, device: torch.device) -> Plan:
    """Return a plan whose runs share a cache of decoded views; another version of the data has another cache."""
    data, setup = config.data, make_preprocessing(config.data)
    opened = partial(open_dataset, data.layout, data.root, preprocessing=setup, registered=data.registered)
    version = data_version({split: opened(split=split) for split in ("train", "test")})
    digest = hashlib.sha256(json.dumps(version).encode()).hexdigest()[:8]
    cached = replace(data, cache=str(out / f"cache-{digest}"))
    return Plan(replace(config, data=cached), out, ledger, version, device)


def configuration(base: TrainConfig, contender: Contender, seed: int) -> TrainConfig:
    """Return the configuration of one run; runs differ in network, inputs and seed only.

    A network of one input is trained without modality dropout, which would blank that input too.
    """
    dropout = base.data.modality_dropout if contender.inputs == "both" else 0.0
    return replace(
        base,
        model=replace(base.model, name=contender.model),
        data=replace(base.data, inputs=contender.inputs, modality_dropout=dropout),
        loop=replace(base.loop, seed=seed),
    )


def profile_of(base: TrainConfig, contender: Contender) -> Profile:
    """Return parameters and multiply-adds of a contender at the size of the views."""
    setup = make_preprocessing(base.data)
    with torch.device("meta"):
        model = create_model(
            contender.model, num_classes=len(setup.label_set.classes), image_size=setup.size, in_channels=setup.channels
        )
        return profile_model(model)


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Hold a run's folder for this process; yield False if another process holds it. A killed one holds nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def run(plan: Plan, contender: Contender, seed: int) -> Entry | None:
    """Train one network to the end, judge it and add it to the ledger; an interrupted run goes on where it was.

    Returns:
        The new entry; None if the ledger has the run already, or another process is at it.

    Raises:
        ValueError: the run does not belong into the ledger, or as of `train`.
    """
    from mambaseg_core.training.run import train

    folder = plan.folder(contender, seed)
    with locked(folder) as mine:
        ledger = Ledger(plan.ledger)
        ledger.check(protocol_of(plan.config), plan.version)
        if not mine or ledger.has(contender.name, seed):
            return None
        accelerator = "gpu" if plan.device.type == "cuda" else "cpu"
        config = configuration(plan.config, contender, seed)
        result = train(config, folder, resume=True, accelerator=accelerator, progress=False)
        profile = profile_of(plan.config, contender)
        model, setup = load_checkpoint(result.last)
        data = config.data
        test = open_dataset(data.layout, data.root, "test", setup, cache=data.cache, registered=data.registered)
        judged, conditions = judge(model, test, contender.inputs, plan.device)
        entry = Entry(
            contender=contender.name,
            seed=seed,
            parameters=profile.parameters,
            macs=profile.macs,
            protocol=protocol_of(plan.config),
            data=plan.version,
            made=made(folder),
            conditions=conditions,
            judged=judged,
        )
        Ledger(plan.ledger).add(entry)
        return entry


def made(folder: Path) -> dict[str, Any]:
    """Return how a run was made: commits, machine, date, and seconds of a step."""
    starts = json.loads((folder / "run.json").read_text())["starts"]
    return {
        "commits": list(dict.fromkeys(start["commit"] for start in starts)),
        "machine": environment(),
        "date": str(date.today()),
        "step_s": pace(folder / METRICS),
    }


def pace(metrics: Path) -> float:
    """Return the median seconds of a step, from the lines of training in `metrics.jsonl`; 0 with fewer than two."""
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    marks = [(line["step"], line["seconds"]) for line in lines if "loss" in line]
    paces = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(marks) if b[1] > a[1]]
    return round(statistics.median(paces), 4) if paces else 0.0


def estimate(plan: Plan, group: Sequence[Contender], seeds: Sequence[int], *, steps: int, jobs: int) -> list[str]:
    """Train each contender for a few steps; return a table of their cost, and the hours that the missing runs take."""
    from mambaseg_core.training.run import train

    ledger = Ledger(plan.ledger)
    lines = ["| network | parameters, M | MACs, G | s a step | runs missing | hours |", "|---|---|---|---|---|---|"]
    total = 0.0
    for contender in group:
        config = configuration(plan.config, contender, 0)
        loop = replace(config.loop, steps=steps, epochs=0, log_every=1, validate_samples=1)
        with tempfile.TemporaryDirectory() as folder:
            accelerator = "gpu" if plan.device.type == "cuda" else "cpu"
            train(replace(config, loop=loop), Path(folder), accelerator=accelerator, progress=False)
            step_s = pace(Path(folder, METRICS))
        missing = sum(not ledger.has(contender.name, seed) for seed in seeds)
        hours = missing * plan.config.loop.steps * step_s / 3600
        total += hours
        profile = profile_of(plan.config, contender)
        lines.append(
            f"| {contender.name} | {profile.parameters / 1e6:.2f} | {profile.macs / 1e9:.2f} | {step_s:.2f} | "
            f"{missing} | {hours:.1f} |"
        )
    load = os.getloadavg()[0]
    return [*lines, "", f"{total / jobs:.1f} hours of training with {jobs} at a time; load {load:.1f}"]

"""Loss of mIoU when a sensor fails: networks trained with equal steps on RGB-thermal, evaluated with corrupted inputs.

    mambaseg synth data/thermal --second thermal --benchmark
    python benchmarks/learning/reliability.py data/thermal --models sigma_nano rsgmamba_nano [--steps 1200]
    python benchmarks/learning/reliability.py data/thermal --models mambaseg_nano mambaseg_nano+reliability

Trains one after the other. An interrupted run is resumed, a finished one is not repeated. The Markdown table at the end
covers all finished runs (`--table` prints only the table). `corruption.py` evaluates every run with the weights of its
last step on the whole test split. Training sees no corruptions: `data.modality_dropout` is 0 here, unless `--set`
changes it.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import time
from pathlib import Path

import torch
from corruption import judge, table

from mambaseg_core.checkpoint import create_model
from mambaseg_core.files import write_text
from mambaseg_core.inference import choose_device
from mambaseg_core.training.config import TrainConfig, read_config

CONFIG = Path(__file__).parents[2] / "config" / "train" / "synthetic_thermal.yaml"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the data set")
    parser.add_argument("--models", nargs="+", default=["sigma_nano", "rsgmamba_nano"], metavar="NAME[+reliability]")
    parser.add_argument("--out", type=Path, default=Path("runs/reliability"))
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--samples", type=int, default=0, help="test samples to evaluate; 0: all")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch; more than free cores make it slower")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", action="append", default=[], help="a value of the configuration, section.key=value")
    parser.add_argument("--table", action="store_true", help="print the table only")
    return parser.parse_args()


def configuration(words: argparse.Namespace, model: str, seed: int) -> TrainConfig:
    """Return the configuration of one run; the runs differ in model and seed only."""
    from mambaseg_core.cli.train import parse_changes

    name, plus, option = model.partition("+")
    if plus and option != "reliability":
        raise ValueError(f"--models has {model!r}; expected NAME or NAME+reliability")
    with torch.device("meta"):
        channels = int(create_model(name).bins)
    changes = {
        "data.root": str(words.data),
        "loop.steps": words.steps,
        "loop.batch": words.batch,
        "optimizer.warmup": words.steps // 20,
        "loop.validate_every": 0,
        "loop.validate_samples": 20,
        "data.modality_dropout": 0.0,
        **parse_changes(words.set),
        "model.name": name,
        "model.reliability": bool(plus),
        "data.second_channels": channels,
        "loop.seed": seed,
    }
    return read_config(words.config, changes)


def run(words: argparse.Namespace, name: str, seed: int) -> None:
    """Train and evaluate one network, unless that is done already."""
    from mambaseg_core.training.run import train

    folder = words.out / f"{name}-{seed}"
    if (folder / "corrupted.json").is_file():
        return
    began = time.perf_counter()
    accelerator = "gpu" if choose_device(words.device).type == "cuda" else "cpu"
    result = train(configuration(words, name, seed), folder, resume=True, accelerator=accelerator, progress=False)
    trained = time.perf_counter() - began
    found = judge(result.last, words.data, split="test", samples=words.samples, device=words.device)
    scores = {"model": name, "seed": seed, "train_s": trained, "miou": found}
    write_text(folder / "corrupted.json", json.dumps(scores, indent=1))
    print(
        f"{folder}: {found['clean']:.4f} mIoU clean, trained in {trained:.0f} s, judged in "
        f"{time.perf_counter() - began - trained:.0f} s, load {os.getloadavg()[0]:.1f}",
        flush=True,
    )


def finished(words: argparse.Namespace) -> list[str]:
    """Return the table of all finished runs."""
    columns: dict[str, dict[str, list[float]]] = {}
    runs = [json.loads(path.read_text()) for path in words.out.glob("*/corrupted.json")]
    for found in sorted(runs, key=lambda run: (run["model"], run["seed"])):
        for corruption, miou in found["miou"].items():
            columns.setdefault(found["model"], {}).setdefault(corruption, []).append(miou)
    return table(columns) if columns else ["no run is finished"]


def main() -> None:
    words = parse()
    if not words.table:
        os.nice(10)
        torch.set_num_threads(words.threads)
        logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
        for seed in words.seeds:
            for name in words.models:
                run(words, name, seed)
    print("\n".join(finished(words)))


if __name__ == "__main__":
    main()

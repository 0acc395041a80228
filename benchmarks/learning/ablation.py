"""The gain of fusion: one network trained on the image, on the events and on both, with equal steps and several seeds.

    mambaseg synth data/benchmark --benchmark
    python benchmarks/learning/ablation.py data/benchmark [--steps 1200] [--seeds 0 1 2] [--out runs/ablation]

Trains one after the other. An interrupted run is resumed, a finished one is not repeated. The Markdown table at the end
covers all finished runs (`--table` prints only the table). Every run is evaluated with the weights of its last step on
the whole test split, so nothing is chosen by the test data.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mambaseg_core.checkpoint import load_checkpoint
from mambaseg_core.data.loading import layout_of, open_dataset
from mambaseg_core.evaluation.evaluate import evaluate
from mambaseg_core.evaluation.report import to_json
from mambaseg_core.files import write_text
from mambaseg_core.inference import choose_device
from mambaseg_core.training.config import INPUTS, TrainConfig, read_config

CONFIG = Path(__file__).parents[2] / "config" / "train" / "synthetic.yaml"
# training inputs: evaluation inputs; a model of both is evaluated with a failed sensor too
JUDGED = {"image": ("image",), "second": ("second",), "both": ("both", "image", "second")}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the benchmark")
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1, help="threads of torch; more than free cores make it slower")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", action="append", default=[], help="a value of the configuration, section.key=value")
    parser.add_argument("--table", action="store_true", help="print the table only")
    return parser.parse_args()


def configuration(words: argparse.Namespace, inputs: str, seed: int) -> TrainConfig:
    """Return the configuration of one run; the runs differ in inputs and seed only."""
    from mambaseg_core.cli.train import parse_changes

    changes = {
        "data.root": str(words.data),
        "loop.steps": words.steps,
        "loop.batch": words.batch,
        "loop.validate_every": 0,
        "loop.validate_samples": 20,
        **parse_changes(words.set),
        "data.inputs": inputs,
        "loop.seed": seed,
    }
    config = read_config(words.config, changes)
    if inputs == "both":
        return config
    return replace(config, data=replace(config.data, modality_dropout=0.0))  # one modality is always blanked already


def run(words: argparse.Namespace, inputs: str, seed: int) -> None:
    """Train and evaluate one network, unless that is done already."""
    from mambaseg_core.training.run import train

    folder = words.out / f"{inputs}_{seed}"
    if (folder / "scores.json").is_file():
        return
    began = time.perf_counter()
    device = choose_device(words.device)
    accelerator = "gpu" if device.type == "cuda" else "cpu"
    result = train(configuration(words, inputs, seed), folder, resume=True, accelerator=accelerator, progress=False)
    trained = time.perf_counter() - began
    model, setup = load_checkpoint(result.last)
    dataset = open_dataset(layout_of(setup), str(words.data), "test", setup)
    found = {
        keep: to_json(evaluate(model, dataset, device=device, keep=keep, examples=0), {}) for keep in JUDGED[inputs]
    }
    write_text(folder / "scores.json", json.dumps({"train_s": trained, "judged": found}, indent=1))
    print(
        f"{folder}: {found[inputs]['overall']['miou']:.4f} mIoU, trained in {trained:.0f} s, judged in "
        f"{time.perf_counter() - began - trained:.0f} s, load {os.getloadavg()[0]:.1f}",
        flush=True,
    )


def spread(values: list[float]) -> str:
    """Return mean and standard deviation in percent."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{100 * statistics.mean(values):.1f} ± {100 * deviation:.1f}"


def table(out: Path) -> list[str]:
    """Return the Markdown table of all finished runs: mIoU in %, mean and standard deviation over the seeds."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for path in sorted(out.glob("*/scores.json")):
        trained = path.parent.name.split("_")[0]
        for keep, scores in json.loads(path.read_text())["judged"].items():
            found.setdefault((trained, keep), []).append(scores)
    if not found:
        return ["no run is finished"]
    conditions = sorted(next(iter(found.values()))[0]["conditions"])
    lines = [
        f"| trained on | judged with | seeds | all | {' | '.join(conditions)} |",
        "|---|---|---|" + "---|" * (1 + len(conditions)),
    ]
    for trained, keep in ((t, k) for t in ("image", "second", "both") for k in JUDGED[t] if (t, k) in found):
        runs = found[trained, keep]
        cells = [spread([run["overall"]["miou"] for run in runs])]
        cells += [spread([run["conditions"][name]["miou"] for run in runs]) for name in conditions]
        lines.append(f"| {trained} | {keep} | {len(runs)} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    words = parse()
    if not words.table:
        os.nice(10)
        torch.set_num_threads(words.threads)
        logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
        for seed in words.seeds:
            for inputs in sorted(INPUTS, reverse=True):
                run(words, inputs, seed)
                print("\n".join(table(words.out)), flush=True)
    print("\n".join(table(words.out)))


if __name__ == "__main__":
    main()

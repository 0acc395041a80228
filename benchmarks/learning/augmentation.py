"""What each augmentation for real pictures is worth: short runs with one key on, and one with none, at equal steps.

    mambaseg synth data/benchmark --benchmark
    python benchmarks/learning/augmentation.py data/benchmark [--steps 800] [--seeds 0 1 2] [--pictures data/road]

Trains one after the other. An interrupted run is resumed; a finished one stands in the ledger, a JSON file, and is not
repeated. The Markdown table at the end covers the ledger's runs of these settings (`--table` prints only the table).
Every run is evaluated with the weights of its last step on the whole test split, as it is and as the changes of the
image would show it, and on a folder of labeled pictures, if there is one.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import time
from pathlib import Path
from typing import Any, Final

import torch
from corruption import cell

from mambaseg_core.checkpoint import load_checkpoint
from mambaseg_core.data.camera_effects import camera_effects
from mambaseg_core.data.class_colors import class_colors
from mambaseg_core.data.dataset import Transform
from mambaseg_core.data.loading import open_dataset
from mambaseg_core.data.misalignment import misalign
from mambaseg_core.evaluation.evaluate import evaluate
from mambaseg_core.files import write_text
from mambaseg_core.inference import choose_device
from mambaseg_core.training.config import TrainConfig, read_config

CONFIG: Final = Path(__file__).parents[2] / "config" / "train" / "synthetic.yaml"
OFF: Final = {"data.photometric": 0.0, "data.class_colors": 0.0, "data.camera": 0.0, "data.misalignment_px": 0.0}
ON: Final = {"data.photometric": 0.2, "data.class_colors": 0.5, "data.camera": 0.6, "data.misalignment_px": 2.0}
RUNS: Final = {"none": OFF, **{key.removeprefix("data."): OFF | {key: ON[key]} for key in ON}, "all": ON}
SEEN: Final[dict[str, Transform | None]] = {
    "as it is": None,
    "other colors": lambda sample, generator: class_colors(sample, generator, probability=1.0),
    "other camera": lambda sample, generator: camera_effects(sample, generator, strength=1.0),
    "misaligned by up to 3 px": lambda sample, generator: misalign(sample, generator, pixels=3.0, move_second=False),
}
PICTURES, ACCURACY = "pictures", "pictures, accuracy"


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the benchmark")
    parser.add_argument("--keys", nargs="+", choices=list(RUNS), default=list(RUNS), help="augmentations to try")
    parser.add_argument("--pictures", type=Path, help="folder of labeled pictures, to judge on only")
    parser.add_argument("--out", type=Path, default=Path("runs/augmentation"))
    parser.add_argument("--ledger", type=Path, help="JSON file of finished runs; default: ledger.json in --out")
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--samples", type=int, default=0, help="test samples to evaluate; 0: all")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch; more than free cores make it slower")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", action="append", default=[], help="a value of the configuration, section.key=value")
    parser.add_argument("--table", action="store_true", help="print the table only")
    return parser.parse_args(arguments)


def configuration(words: argparse.Namespace, name: str, seed: int) -> TrainConfig:
    """Return the configuration of one run; the runs differ in augmentation and seed only."""
    from mambaseg_core.cli.train import parse_changes

    changes = {
        "data.root": str(words.data),
        "loop.steps": words.steps,
        "loop.batch": words.batch,
        "optimizer.warmup": words.steps // 20,
        "loop.validate_every": 0,
        "loop.validate_samples": 20,
        **parse_changes(words.set),
        **RUNS[name],
        "loop.seed": seed,
    }
    return read_config(words.config, changes)


def settings_of(words: argparse.Namespace, config: TrainConfig) -> dict[str, Any]:
    """Return what makes two runs comparable: all of the configuration but its augmentation, seed and place."""
    plain = config.to_dict()
    for key in (*OFF, "data.root", "data.workers", "loop.seed"):
        section, _, name = key.partition(".")
        del plain[section][name]
    judged = {"data": words.data.resolve().name, "samples": words.samples}
    return {**plain, **judged, "pictures": words.pictures and words.pictures.resolve().name}


def run(words: argparse.Namespace, name: str, seed: int) -> dict[str, Any]:
    """Train and evaluate one network; return its entry of the ledger."""
    from mambaseg_core.training.run import train

    folder, config = words.out / f"{name}-{words.steps}-{seed}", configuration(words, name, seed)
    began = time.perf_counter()
    accelerator = "gpu" if choose_device(words.device).type == "cuda" else "cpu"
    result = train(config, folder, resume=True, accelerator=accelerator, progress=False)
    trained = time.perf_counter() - began
    found = judge(words, config, result.last)
    code = json.loads((folder / "run.json").read_text())["starts"][-1]
    print(
        f"{folder}: {found['as it is']:.4f} mIoU, trained in {trained:.0f} s, judged in "
        f"{time.perf_counter() - began - trained:.0f} s, load {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    return {
        "augmentation": name, "seed": seed, "settings": settings_of(words, config), "scores": found,
        "commit": code["commit"], "torch": code["torch"], "train_s": round(trained),
    }  # fmt: skip


def judge(words: argparse.Namespace, config: TrainConfig, checkpoint: Path) -> dict[str, float]:
    """Return the mIoU, 0 to 1, of a checkpoint on each kind of test images, and its accuracy on the pictures."""
    model, setup = load_checkpoint(checkpoint)
    sets = {
        name: open_dataset(config.data.layout, str(words.data), "test", setup, change) for name, change in SEEN.items()
    }
    if words.pictures:
        sets[PICTURES] = open_dataset("pictures", str(words.pictures), "test", setup)
    how = {"device": choose_device(words.device), "samples": words.samples, "examples": 0}
    scores = {name: evaluate(model, dataset, **how).overall for name, dataset in sets.items()}
    found = {name: score.miou for name, score in scores.items()}
    return found | ({ACCURACY: scores[PICTURES].accuracy} if PICTURES in scores else {})


def read_ledger(words: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the entries of the ledger, of whatever settings."""
    return json.loads(words.ledger.read_text()) if words.ledger.is_file() else []


def same(words: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the ledger's entries of the given settings."""
    settings = settings_of(words, configuration(words, "none", 0))
    return [entry for entry in read_ledger(words) if entry["settings"] == json.loads(json.dumps(settings))]


def table(words: argparse.Namespace) -> list[str]:
    """Return the Markdown table of the finished runs: mIoU in %, mean and standard deviation over the seeds."""
    columns = [*SEEN, *([PICTURES, ACCURACY] if words.pictures else [])]
    lines = [f"| augmentation | seeds | {' | '.join(columns)} |", "|---|---|" + "---|" * len(columns)]
    for name in RUNS:
        found = [entry["scores"] for entry in same(words) if entry["augmentation"] == name]
        if found:
            cells = (cell([scores[column] for scores in found]) for column in columns)
            lines.append(f"| {name} | {len(found)} | {' | '.join(cells)} |")
    return lines if len(lines) > 2 else ["no run is finished"]


def main(arguments: list[str] | None = None) -> None:
    words = parse(arguments)
    words.ledger = words.ledger or words.out / "ledger.json"
    if not words.table:
        os.nice(10)
        torch.set_num_threads(words.threads)
        logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
        for seed in words.seeds:
            for name in words.keys:
                if not any((entry["augmentation"], entry["seed"]) == (name, seed) for entry in same(words)):
                    entry = run(words, name, seed)
                    write_text(words.ledger, json.dumps([*read_ledger(words), entry], indent=1) + "\n")
    print("\n".join(table(words)))


if __name__ == "__main__":
    main()

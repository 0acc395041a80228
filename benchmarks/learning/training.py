"""Time of a training step on this machine, and of the loading of its samples, as a Markdown table.

    python benchmarks/learning/training.py data/benchmark [--threads 1 2] [--repeats 5]

Rows take turns within each repeat; the table has medians. A step is forward, backward and AdamW on random tensors.
Loading reads one sample of the training split, augmented as in config/train/synthetic.yaml, in one process.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

from mambaseg_core.checkpoint import create_model
from mambaseg_core.data.loading import open_dataset
from mambaseg_core.training.config import read_config
from mambaseg_core.training.data import make_preprocessing, make_transform

CONFIG = Path(__file__).parents[2] / "config" / "train" / "synthetic.yaml"
SHAPES = ((4, 120, 160), (8, 120, 160), (2, 240, 320))


def step_of(batch: int, height: int, width: int, threads: int) -> Callable[[], object]:
    """Return one training step of mambaseg_nano on random tensors."""
    torch.manual_seed(0)
    model = create_model("mambaseg_nano").train()
    optimizer = torch.optim.AdamW(model.parameters())
    image, voxel = torch.rand(batch, 3, height, width), torch.rand(batch, model.bins, height, width)
    label = torch.randint(0, model.num_classes, (batch, height, width))

    def step() -> None:
        torch.set_num_threads(threads)
        F.cross_entropy(model(image, voxel), label).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def loading_of(data: Path) -> Callable[[], object]:
    """Return a function that loads the next augmented training sample at each call."""
    config = read_config(CONFIG, {"data.root": str(data)}).data
    dataset = open_dataset(config.layout, config.root, "train", make_preprocessing(config), make_transform(config))
    numbers = iter(range(10**9))

    def load() -> object:
        torch.set_num_threads(1)
        number = next(numbers)
        return dataset[number % len(dataset), number]

    return load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the benchmark")
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--repeats", type=int, default=5)
    words = parser.parse_args()
    tasks = {
        f"step, batch {shape[0]}, {shape[1]}x{shape[2]}, {threads} threads": step_of(*shape, threads)
        for shape in SHAPES
        for threads in words.threads
    }
    tasks["one augmented sample, 1 process"] = loading_of(words.data)
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for task in tasks.values():
        task()
    for _ in range(words.repeats):
        for name, task in tasks.items():
            began = time.perf_counter()
            task()
            times[name].append(time.perf_counter() - began)
    print("| mambaseg_nano | median ms | fastest ms |\n|---|---|---|")
    for name, seen in times.items():
        print(f"| {name} | {1e3 * statistics.median(seen):.0f} | {1e3 * min(seen):.0f} |")
    print(f"\ntorch {torch.__version__}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()

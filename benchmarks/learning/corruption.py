"""mIoU of models of two cameras when one camera fails at test time only.

    mambaseg synth data/thermal --second thermal --benchmark
    python benchmarks/learning/corruption.py data/thermal --checkpoints runs/a/last.safetensors runs/b/last.safetensors

Prints the mIoU of each checkpoint in %, clean and corrupted, as a Markdown table. With --trust it prints the mean over
samples and pixels of the reliability that the checkpoints estimate for the image and the second input. A corruption
depends on the sample's number only, so it is the same for every checkpoint.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from mambaseg_core.checkpoint import load_checkpoint
from mambaseg_core.data.dataset import Transform
from mambaseg_core.data.loading import evenly, layout_of, open_dataset
from mambaseg_core.data.sample import Sample
from mambaseg_core.evaluation.evaluate import evaluate
from mambaseg_core.inference import choose_device

NOISE = 0.25  # standard deviation; the inputs are 0 to 1
SHIFT_PX = 8  # pixels of the model's input
LEVEL, CAP_NOISE = 10 / 255, 2 / 255  # signal of a sensor behind a lens cap


def noisy(x: Tensor, generator: torch.Generator, *, shared: bool) -> Tensor:
    """Add Gaussian noise to [C, H, W] in 0..1; `shared`: the same on all channels, which repeat one picture."""
    shape = (1, *x.shape[1:]) if shared else x.shape
    return (x + NOISE * torch.randn(shape, generator=generator)).clamp(0, 1)


def shifted(x: Tensor, generator: torch.Generator) -> Tensor:
    """Move [C, H, W] by 8 pixels to the left, right, up or down; pixels without a source are 0."""
    axis, sign = (int(torch.randint(2, (), generator=generator)) for _ in range(2))
    moved = x.roll(SHIFT_PX if sign else -SHIFT_PX, dims=1 + axis)
    moved.narrow(1 + axis, 0 if sign else x.shape[1 + axis] - SHIFT_PX, SHIFT_PX).zero_()
    return moved


def covered(x: Tensor, generator: torch.Generator, *, shared: bool) -> Tensor:
    """Return [C, H, W] as behind a lens cap: the sensor's black level and its noise."""
    shape = (1, *x.shape[1:]) if shared else x.shape
    return (LEVEL + CAP_NOISE * torch.randn(shape, generator=generator)).clamp(0, 1).expand_as(x)


def on_image(change: Callable[[Tensor, torch.Generator], Tensor]) -> Transform:
    return lambda sample, generator: replace(sample, image=change(sample.image, generator))


def on_second(change: Callable[[Tensor, torch.Generator], Tensor]) -> Transform:
    return lambda sample, generator: replace(sample, second=change(sample.second, generator))


def clean(sample: Sample, generator: torch.Generator) -> Sample:
    return sample


CORRUPTIONS: dict[str, Transform] = {
    "clean": clean,
    "image noisy": on_image(lambda x, generator: noisy(x, generator, shared=False)),
    "second noisy": on_second(lambda x, generator: noisy(x, generator, shared=True)),
    f"second moved by {SHIFT_PX} px": on_second(shifted),
    "image missing": on_image(lambda x, _: torch.zeros_like(x)),
    "second missing": on_second(lambda x, _: torch.zeros_like(x)),
}


CAPS: dict[str, Transform] = {
    "image covered": on_image(lambda x, generator: covered(x, generator, shared=False)),
    "second covered": on_second(lambda x, generator: covered(x, generator, shared=True)),
}


def judge(checkpoint: Path, data: Path, *, split: str, samples: int, device: str) -> dict[str, float]:
    """Return the mIoU, 0 to 1, of a checkpoint under each corruption."""
    model, setup = load_checkpoint(checkpoint)
    found = {}
    for name, change in CORRUPTIONS.items():
        dataset = open_dataset(layout_of(setup), str(data), split, setup, change)
        result = evaluate(model, dataset, device=choose_device(device), samples=samples, examples=0)
        found[name] = result.overall.miou
    return found


@torch.inference_mode()
def trust(checkpoint: Path, data: Path, *, split: str, samples: int, device: str) -> dict[str, tuple[float, float]]:
    """Return the mean reliability of image and second input, 0 to 1, under each corruption and behind a lens cap."""
    model, setup = load_checkpoint(checkpoint)
    model = model.eval().to(choose_device(device))
    found = {}
    for name, change in (CORRUPTIONS | CAPS).items():
        dataset = open_dataset(layout_of(setup), str(data), split, setup, change)
        means = []
        for number in evenly(len(dataset), samples):
            sample = dataset[number]
            inputs = (x[None].to(choose_device(device)) for x in (sample.image, sample.second))
            means.append([float(x.mean()) for x in model.reliability(*inputs)])
        image, second = torch.tensor(means).mean(0).tolist()
        found[name] = image, second
    return found


def trust_table(columns: dict[str, dict[str, tuple[float, float]]]) -> list[str]:
    """Return a Markdown table: a row per corruption, a column per model; image / second input."""
    lines = [f"| reliability, image / second | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    for name in CORRUPTIONS | CAPS:
        cells = (f"{image:.2f} / {second:.2f}" for image, second in (values[name] for values in columns.values()))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def table(columns: dict[str, dict[str, list[float]]]) -> list[str]:
    """Return a Markdown table: a row per corruption, a column per model; mIoU in %, with the deviation over runs."""
    lines = [f"| corruption at test time | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    for name in CORRUPTIONS:
        lines.append(f"| {name} | {' | '.join(cell(values[name]) for values in columns.values())} |")
    losses = [
        [
            sum(values["clean"][run] - values[name][run] for name in CORRUPTIONS if name != "clean")
            / (len(CORRUPTIONS) - 1)
            for run in range(len(values["clean"]))
        ]
        for values in columns.values()
    ]
    return [*lines, f"| mean loss by corruption | {' | '.join(map(cell, losses))} |"]


def cell(values: list[float]) -> str:
    """Return the mean in %, and with several values the standard deviation."""
    percent = 100 * torch.tensor(values, dtype=torch.float64)
    return f"{percent.mean():.1f}" + (f" ± {percent.std():.1f}" if len(values) > 1 else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the data set")
    parser.add_argument("--checkpoints", type=Path, nargs="+", required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--samples", type=int, default=0, help="number of samples, evenly spread; 0: all")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch; more than free cores make it slower")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--trust", action="store_true", help="mean reliabilities in place of mIoU")
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    how = {"split": words.split, "samples": words.samples, "device": words.device}
    if words.trust:
        print("\n".join(trust_table({str(path): trust(path, words.data, **how) for path in words.checkpoints})))
        return
    columns = {}
    for path in words.checkpoints:
        found = judge(path, words.data, **how)
        columns[str(path)] = {name: [miou] for name, miou in found.items()}
    print("\n".join(table(columns)))


if __name__ == "__main__":
    main()

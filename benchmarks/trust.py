"""Whether what a model says of its two sensors falls where one of them fails: the reliability that the node publishes.

    mambaseg synth data/thermal --modality thermal --benchmark
    python benchmarks/trust.py data/thermal --checkpoints runs/a/last.safetensors runs/b/last.safetensors

Prints the mean reliability of image and other modality, 0 to 1, under each corruption of corruption.py, and behind a
lens cap, as a Markdown table; the mean over the samples.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from corruption import CORRUPTIONS, on_image, on_other

from mambaseg_core.checkpoint import load_checkpoint
from mambaseg_core.data.dataset import Transform
from mambaseg_core.data.sample import Sample
from mambaseg_core.training.data import layout_of, open_dataset

LEVEL, DEVIATION = 10 / 255, 2 / 255  # of a covered sensor: its black level and its noise


def dark(x: torch.Tensor, generator: torch.Generator, channels: int) -> torch.Tensor:
    """[C, H, W] behind a lens cap; with one channel of noise they repeat one picture."""
    noise = torch.randn((channels, *x.shape[1:]), generator=generator)
    return (LEVEL + DEVIATION * noise).clamp(0, 1).expand_as(x)


def far(sample: Sample, generator: torch.Generator) -> Sample:
    """The other modality of a scene that is not the image's: upside down."""
    return replace(sample, voxel=sample.voxel.flip(1))


SEEN: dict[str, Transform] = {
    **CORRUPTIONS,
    "image covered": on_image(lambda x, generator: dark(x, generator, len(x))),
    "other covered": on_other(lambda x, generator: dark(x, generator, 1)),
    "other upside down": far,
}


def trust(checkpoint: Path, data: Path, *, split: str, every: int) -> dict[str, tuple[float, float]]:
    """Mean reliability of image and other modality under each corruption."""
    model, setup = load_checkpoint(checkpoint)
    model.eval()
    found = {}
    for name, change in SEEN.items():
        dataset = open_dataset(layout_of(setup), str(data), split, setup, change)
        means = []
        for number in range(0, len(dataset), every):
            sample = dataset[number]
            with torch.inference_mode():
                maps = model.reliability(sample.image[None], sample.voxel[None])  # type: ignore[operator]
            means.append([float(one.mean()) for one in maps])
        image, other = np.mean(means, axis=0)
        found[name] = image, other
    return found


def table(columns: dict[str, dict[str, tuple[float, float]]]) -> list[str]:
    """Markdown: a row a corruption, a column a checkpoint."""
    lines = [f"| image / other at test time | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    for name in SEEN:
        cells = [f"{values[name][0]:.2f} / {values[name][1]:.2f}" for values in columns.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the data set")
    parser.add_argument("--checkpoints", type=Path, nargs="+", required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--every", type=int, default=4, help="of so many samples the first is looked at")
    parser.add_argument("--threads", type=int, default=1, help="of torch; more than free cores make it slower")
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    columns = {str(path): trust(path, words.data, split=words.split, every=words.every) for path in words.checkpoints}
    print("\n".join(table(columns)))


if __name__ == "__main__":
    main()

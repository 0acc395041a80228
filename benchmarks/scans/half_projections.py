"""Masks of `mambaseg_nano` with half-precision features, with the scans' first product in float32 and in half.

    mambaseg synth drives --name day --seconds 0.5; mambaseg synth drives --name night --condition night --seconds 0.5
    python benchmarks/scans/half_projections.py drives/day drives/night

A CPU emulates what a GPU rounds: factors and results in half, sums in float32. The last row is what a CPU does in
bfloat16: float32 features, and rounded factors of all products but the last. Prints a Markdown table: pixels with the
class that float32 gives them, largest difference of a logit beside the largest logit, both over all frames. With
`--model NAME` a network has random weights, which says nothing about its masks.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor

from mambaseg_core.checkpoint import create_model
from mambaseg_core.evaluation.predict import open_recording, second_input
from mambaseg_core.fused.form import InferenceForm
from mambaseg_core.inference import Segmenter
from mambaseg_core.ops import scan
from mambaseg_core.precision import lowered


def frames(segmenter: Segmenter, folder: Path) -> list[tuple[Tensor, ...]]:
    """Return image and second input, [1, C, h, w], of each frame of a recording."""
    recording, numbers = open_recording(folder)
    segmenter.calibration = recording.calibration
    found = []
    for number in numbers:
        inputs = segmenter.prepare(recording.image(number), *second_input(recording, number, segmenter.preprocessing))
        found.append(tuple(x[None].clone() for x in inputs if x is not None))
    return found


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("drives", type=Path, nargs="+", help="folders in DSEC's layout")
    parser.add_argument("--model", default="", help="a preset, with random weights")
    args = parser.parse_args()
    torch.manual_seed(0)
    model = create_model(args.model) if args.model else create_model("mambaseg_nano", weights="synthetic")
    segmenter = Segmenter(model, "cpu")
    inputs = [pair for folder in args.drives for pair in frames(segmenter, folder)]
    expected = [segmenter.model(*pair) for pair in inputs]
    largest = max(float(logits.abs().max()) for logits in expected)
    print(f"{args.model or 'mambaseg_nano'}, {len(inputs)} frames, largest logit {largest:.1f}\n")
    print("| features | first product | same class % | worst frame % | largest difference | mean difference |")
    print("|---|---|---|---|---|---|")
    for dtype in (torch.bfloat16, torch.float16):
        lower = lowered(segmenter.model, dtype, torch.device("cpu"))
        for factors in (torch.float32, dtype):
            with mock.patch.object(scan, "_product_dtype", lambda x, factors=factors: factors):
                found = [lower(*(x.to(dtype) for x in pair)).float() for pair in inputs]
            print(row(*(str(x).removeprefix("torch.") for x in (dtype, factors)), found, expected))
    network = InferenceForm(segmenter.model, bfloat16=True).network()
    print(row("float32", "bfloat16, as all products but the last", [network(*pair) for pair in inputs], expected))


def row(features: str, factors: str, found: list[Tensor], expected: list[Tensor]) -> str:
    """Return a row of the table for logits [1, K, h, w] of each frame."""
    pairs = list(zip(found, expected, strict=True))
    same = [float((a.argmax(1) == b.argmax(1)).double().mean()) for a, b in pairs]
    errors = [(a - b).abs() for a, b in pairs]
    numbers = f"{100 * sum(same) / len(same):.3f} | {100 * min(same):.3f}"
    mean = sum(float(x.mean()) for x in errors) / len(errors)
    return f"| {features} | {factors} | {numbers} | {max(float(x.max()) for x in errors):.3f} | {mean:.4f} |"


if __name__ == "__main__":
    main()

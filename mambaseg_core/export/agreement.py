"""The check of an exported file: engines against PyTorch, on frames of synthetic drives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mambaseg_core.engines.engine import Engine
from mambaseg_core.export.network import ExportedNetwork, ExportForm

LEAST_SAME = {"float32": 0.9999, "float16": 0.99}
"""Least share of pixels of the same class, by the file's precision."""
LARGEST_DIFFERENCE = {"float32": 1e-3, "float16": 0.5}
"""Largest difference of logits over their standard deviation, or of confidence, by the file's precision."""


@dataclass(frozen=True)
class Agreement:
    """How well an engine agrees with PyTorch in float32.

    Attributes:
        engine: Its name.
        frames: Frames that were compared.
        pixels: Pixels that were compared.
        differing: Pixels of another class.
        largest: Largest difference of a logit over the logits' standard deviation; of a file without logits, largest
            difference of the confidence.
    """

    engine: str
    frames: int
    pixels: int
    differing: int
    largest: float

    @property
    def same(self) -> float:
        """Share of pixels of the same class, 0 to 1."""
        return 1 - self.differing / self.pixels

    def sentence(self) -> str:
        """Return the numbers in words."""
        return (
            f"{self.engine}: {100 * self.same:.4f} % of {self.pixels} pixels have torch's class ({self.differing} "
            f"differ), largest difference {self.largest:.1e}"
        )

    def refuse_below(self, precision: str) -> None:
        """Raise ValueError if the numbers are worse than a file of this precision may have."""
        least, largest = LEAST_SAME[precision], LARGEST_DIFFERENCE[precision]
        if self.same < least or not self.largest <= largest:
            raise ValueError(
                f"the export does not compute what the network does: {self.sentence()}; expected at least "
                f"{100 * least:g} % and at most {largest:g}: no file was written; report it with the weights"
            )


def compare(engine: Engine, model: nn.Module, form: ExportForm, frames: tuple[Tensor, Tensor]) -> Agreement:
    """Run a file in an engine and its network in PyTorch on the same frames.

    Args:
        engine: An engine with the file.
        model: The network in float32, in eval mode, with inputs of 0 to 1.
        form: The file's inputs and outputs.
        frames: Images [F, C, H, W] and second inputs [F, T, H, W]; the last batch is filled up from the first frames.
    """
    network = ExportedNetwork(model, form)
    pairs: list[tuple[Tensor, Tensor]] = []
    differing = pixels = 0
    for inputs in _batches(frames, form):
        with torch.no_grad():
            expected = network(*inputs.values())
        got = engine.run({name: value.numpy() for name, value in inputs.items()})
        values, ids = _values_and_ids(_named(expected, form), form)
        own_values, own_ids = _values_and_ids({name: torch.from_numpy(array) for name, array in got.items()}, form)
        differing += int((ids != own_ids).sum())
        pixels += ids.numel()
        pairs.append((values, own_values))
    spread = torch.cat([value.flatten() for value, _ in pairs]).std().item() if form.outputs == "logits" else 1.0
    largest = max(float((own - value).abs().max().nan_to_num(torch.inf)) for value, own in pairs) / spread
    return Agreement(engine.name, len(frames[0]), pixels, differing, largest)


def _batches(frames: tuple[Tensor, Tensor], form: ExportForm) -> Iterator[dict[str, Tensor]]:
    """Yield a file's inputs for all frames."""
    named = dict(zip(("image", "second"), frames, strict=True))
    count = len(frames[0])
    for start in range(0, count, form.batch):
        chosen = [number % count for number in range(start, start + form.batch)]
        yield {name: named[name][chosen].contiguous() for name in form.input_names}


def _named(result: Any, form: ExportForm) -> dict[str, Tensor]:
    return dict(zip(form.output_names, result if isinstance(result, tuple) else (result,), strict=True))


def _values_and_ids(outputs: Mapping[str, Tensor], form: ExportForm) -> tuple[Tensor, Tensor]:
    """Return the values whose difference counts, and the class ids."""
    if form.outputs == "logits":
        return outputs["logits"], outputs["logits"].argmax(1)
    return outputs["confidence"], outputs["ids"]

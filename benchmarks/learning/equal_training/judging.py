"""Pixels by class of each test sequence: what the scores and the bootstrap are made of."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from equal_training.ledger import Counts
from mambaseg_core.data.dataset import SampleDataset
from mambaseg_core.evaluation.evaluate import PARTS, evaluate
from mambaseg_core.evaluation.results import Evaluation

BATCH: Final = 8
OLD_MS: Final = 100.0
DETAILS: Final = ("", "100 ms", "saturated", "dark")
"""What is judged apart: everything; an image that is old; regions (`evaluation.regions`)."""


def key(inputs: str, detail: str = "") -> str:
    """Return the name of a judgement: the inputs that are not blanked, and one of `DETAILS`."""
    return f"{inputs}, {detail}" if detail else inputs


def judge(
    model: nn.Module, dataset: SampleDataset, inputs: str, device: torch.device
) -> tuple[dict[str, Counts], dict[str, str]]:
    """Judge a model on a data set, in all details with the inputs that it was trained on.

    A model of both inputs is judged with either one blanked too. What the data set has not, such as old images, is left
    out.

    Returns:
        The counts of each sequence by `key`, and the condition of each sequence.
    """
    whole = evaluate(model, dataset, device=device, keep=inputs, ages_ms=(0.0, OLD_MS), batch=BATCH, examples=0)
    found = {}
    for detail in DETAILS:
        age_ms, region = (OLD_MS, "all") if detail == "100 ms" else (0.0, detail or "all")
        counts = _counts(whole, inputs, age_ms, region)
        if counts:
            found[key(inputs, detail)] = counts
    others = [part for part in PARTS if part != inputs] if inputs == "both" else []
    if others:
        parts = evaluate(model, dataset, device=device, keep=others, batch=BATCH, examples=0)
        found |= {key(part): _counts(parts, part, 0.0, "all") for part in others}
    return found, {sequence.name: sequence.condition for sequence in sorted(whole.main.samples)}


def _counts(evaluation: Evaluation, inputs: str, age_ms: float, region: str) -> Counts:
    tally = next(tally for setting, tally in evaluation.tallies.items() if setting == (age_ms, inputs))
    return {
        sequence.name: counts_of(matrix)
        for sequence, matrix in sorted(tally.confusion.get(region, {}).items())
        if int(matrix.sum())
    }


def counts_of(matrix: Tensor) -> list[list[int]]:
    """Return hits, truth and predicted, each of K classes, of a confusion matrix [K, K], truth by row."""
    return [matrix.diag().tolist(), matrix.sum(1).tolist(), matrix.sum(0).tolist()]

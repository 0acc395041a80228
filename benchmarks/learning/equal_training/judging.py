"""Pixels by class of each test sequence: what the scores and the bootstrap are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from equal_training.ledger import Counts
from mambaseg_core.data.dataset import SampleDataset
from mambaseg_core.data.loading import blanked, plain_loader
from mambaseg_core.evaluation.evaluate import predict_ids
from mambaseg_core.evaluation.metrics import confusion_matrix

BATCH: Final = 8
AGES_MS: Final = (0,)
"""Ages of the image at which networks are judged."""


def key(keep: str, age_ms: int = 0) -> str:
    """Return the name of a judgement: the inputs that are kept, and the age of the image."""
    return f"{keep}, {age_ms} ms" if age_ms else keep


def judge(model: nn.Module, dataset: SampleDataset, keep: str, device: torch.device) -> Counts:
    """Return the counts of each sequence of a data set; `keep` is the input that is not blanked, or "both"."""
    classes = len(dataset.preprocessing.label_set.classes)
    matrices: dict[str, Tensor] = {}
    model = model.eval().to(device)
    for batch in plain_loader(dataset, range(len(dataset)), batch=BATCH, workers=0):
        predicted = predict_ids(model, blanked(batch, keep).to(device)).cpu()
        for row, sequence in enumerate(batch.sequence):
            found = confusion_matrix(predicted[row], batch.label[row], classes)
            matrices[sequence] = matrices.get(sequence, torch.zeros_like(found)) + found
    return {name: counts_of(matrix) for name, matrix in matrices.items()}


def counts_of(matrix: Tensor) -> list[list[int]]:
    """Return hits, truth and predicted, each of K classes, of a confusion matrix [K, K], truth by row."""
    return [matrix.diag().tolist(), matrix.sum(1).tolist(), matrix.sum(0).tolist()]


def conditions_of(dataset: SampleDataset, sequences: Sequence[str]) -> dict[str, str]:
    """Return the condition of each sequence."""
    found = {recording.name: recording.condition for recording, _ in dataset.items}  # type: ignore[attr-defined]
    return {name: found[name] for name in sequences}

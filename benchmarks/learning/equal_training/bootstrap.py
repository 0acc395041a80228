"""A paired bootstrap of a difference in mIoU, over test sequences and seeds.

Each draw takes test sequences with replacement, within each condition, and seeds with replacement, both independently
(Owen, "The pigeonhole bootstrap", 2007). Both networks get the same draw: the same sequences, and the runs of the same
seeds, which saw the same samples in the same order. A draw's difference is that of the mIoU over all its pixels,
averaged over its seeds. The interval lies between the 2.5th and the 97.5th percentile of all draws.

From n sequences or seeds n - 1 are drawn (Rao and Wu, 1988). Drawing n would make the variance too small by the factor
(n - 1) / n: by a third for three seeds. A single seed is always drawn; the interval then ignores the spread of seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

DRAWS: Final = 4000
MARGIN: Final = 0.005
"""What is still "not worse", as a share of 1: 0.5 points of mIoU. Set before the first run, on 2026-11-30."""


@dataclass(frozen=True)
class Difference:
    """A difference of two mIoU, ours less theirs, as shares of 1, and its 95 % interval; NaN without any pixel."""

    value: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """Verdict on ours: "better", "not worse" (by more than the margin: non-inferior), or "not shown"."""
        if self.low > 0:
            return "better"
        return "not worse" if self.low > -MARGIN else "not shown"


def miou(counts: Floats) -> Floats:
    """Return the mean IoU of [..., 3, K] hits, truth and predicted, over the classes that occur in the truth.

    It is NaN without any pixel.
    """
    hits, truth, predicted = counts[..., 0, :], counts[..., 1, :], counts[..., 2, :]
    union = truth + predicted - hits
    present = truth > 0
    classes = present.sum(-1)
    total = np.where(present, hits / np.where(union > 0, union, 1), 0).sum(-1)
    result: Floats = np.where(classes > 0, total / np.maximum(classes, 1), np.nan)
    return result


def compare(
    ours: Floats, theirs: Floats, conditions: Sequence[str], *, draws: int = DRAWS, seed: int = 0
) -> Difference:
    """Return the difference of two networks with its interval.

    Args:
        ours: counts [S, Q, 3, K] of S seeds and Q sequences.
        theirs: the same of the other network: the same seeds and sequences in the same order.
        conditions: condition of each sequence.
        draws: number of draws.
        seed: of the draws.
    """
    random = np.random.default_rng(seed)
    of_sequences = np.zeros((draws, len(conditions)))
    for condition in sorted(set(conditions)):
        places = np.flatnonzero([name == condition for name in conditions])
        of_sequences[:, places] = _draw(random, draws, len(places)) * len(places)
    of_seeds = _draw(random, draws, len(ours))
    differences = np.zeros(draws)
    for number, pair in enumerate(zip(ours, theirs, strict=True)):
        first, second = (miou(np.tensordot(of_sequences, one, axes=1)) for one in pair)
        differences += of_seeds[:, number] * (first - second)
    value = float(np.mean(miou(ours.sum(1)) - miou(theirs.sum(1))))
    drawn = differences[~np.isnan(differences)]
    if np.isnan(value) or not len(drawn):
        return Difference(np.nan, np.nan, np.nan)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Difference(value, float(low), float(high))


def _draw(random: np.random.Generator, draws: int, size: int) -> Floats:
    """Return the share of each of `size` items in each draw of `size - 1` of them, [draws, size]; rows add up to 1."""
    taken = max(1, size - 1)
    shares: Floats = random.multinomial(taken, [1 / size] * size, size=draws) / taken
    return shares

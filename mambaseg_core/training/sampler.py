"""The samples of each step, as a function of seed and step, so that a run can be resumed exactly."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

Key = tuple[int, int]
"""(number of the sample in its data set, seed of its augmentation)."""


def mixed_seed(*numbers: int) -> int:
    """Derive one seed, 0 to 2**63 - 1, from integers from 0; neighboring numbers result in unrelated seeds."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


@lru_cache(maxsize=4)
def order(seed: int, epoch: int, size: int) -> npt.NDArray[np.int64]:
    """Return the order of one pass over `size` samples, int64 [size]."""
    return np.random.default_rng((seed, epoch)).permutation(size)


class StepSampler(Sampler[list[Key]]):
    """Batches of the steps `first_step` to `steps` of one process; a DataLoader's `batch_sampler`.

    A step takes batch * accumulate * world samples, the processes in turn. Every sample is used once per pass over the
    data. A step may span two passes.

    Args:
        size: samples of the data set.
        seed: seed of the order and the augmentation.
        batch: samples per process and forward pass.
        accumulate: forward passes per step.
        first_step: first step; above 0 for a resumed run.
        steps: end of the run.
        rank: rank of this process.
        world: number of processes.
    """

    def __init__(
        self,
        size: int,
        *,
        seed: int,
        batch: int,
        accumulate: int,
        first_step: int,
        steps: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.size, self.seed, self.batch = size, seed, batch
        self.rank, self.world = rank, world
        self.passes = range(first_step * accumulate, steps * accumulate)

    def __len__(self) -> int:
        return len(self.passes)

    def __iter__(self) -> Iterator[list[Key]]:
        for number in self.passes:
            first = (number * self.world + self.rank) * self.batch
            yield [self._key(draw) for draw in range(first, first + self.batch)]

    def _key(self, draw: int) -> Key:
        """Return the key of draw number 0, 1, 2, ... since the beginning of the run."""
        sample = order(self.seed, draw // self.size, self.size)[draw % self.size]
        return int(sample), mixed_seed(self.seed, draw)

"""The order in which a scan by digits reads its steps, as constant indices.

A sequence of L steps has its steps numbered in a mixed radix: step = t1 + T1 (t2 + T2 (t3 + ...)), with T1 T2 ... >= L.
A chunk of the first level is all t1 of one (t2, t3, ...), a chunk of the second all t2 of one (t3, ...), and so on. The
arrays here have the axes t1, t2, ..., so that a level is split on its first axis and what is left is the next level.
Steps from L on are padding at the end, where nothing reads their result; they repeat the last step.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int32]

_LARGEST = 9  # digit
_LEVEL = 6.0  # cost of one more level, in steps of a loop
_WASTE = 50.0  # cost of as much padding as steps, in steps of a loop
_WORK = 30.0  # cost of a level with as many steps as the first, in steps of a loop


def choose_digits(length: int) -> tuple[int, ...]:
    """Return (T1, T2, ...) with a product of at least `length`: few operators, little padding, short upper levels."""
    candidates = _candidates(length)
    return min(candidates, key=lambda digits: (_cost(digits, length), digits))


def _cost(digits: tuple[int, ...], length: int) -> float:
    counts = list(itertools.accumulate(digits, operator.mul))
    work: float = sum(1 / count for count in counts)  # of the levels above, as shares of the first's
    padding: float = counts[-1] / length - 1
    return sum(digits) + _LEVEL * len(digits) + _WASTE * padding + _WORK * work


@functools.cache
def _candidates(length: int) -> frozenset[tuple[int, ...]]:
    """Return the best tuples of digits whose product is at least `length`."""
    if length <= _LARGEST:
        return frozenset({(length,)})
    found = set()
    for digit in range(3, _LARGEST + 1):
        for rest in _candidates(-(-length // digit)):
            found.add((digit, *rest))
    best = sorted(found, key=lambda digits: _cost(digits, length))[:20]
    return frozenset(best)


def step_order(length: int, digits: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the step at each place, [T1 T2 ...] with t1 slowest; places of padding have the last step."""
    steps = np.arange(math.prod(digits)).reshape(digits[::-1]).transpose()
    return np.minimum(steps.reshape(-1), length - 1)


def step_places(length: int, digits: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the place of each step, [L]."""
    places = np.arange(math.prod(digits)).reshape(digits).transpose()
    return places.reshape(-1)[:length]


def map_walks(height: int, width: int) -> NDArray[np.int64]:
    """Return the pixels of a map in the order of `ops.ss2d`'s four directions, [4, L]."""
    rows = np.arange(height * width)
    columns = rows.reshape(height, width).transpose().reshape(-1)
    return np.stack((rows, columns, rows[::-1], columns[::-1]))


def sequence_walks(length: int) -> NDArray[np.int64]:
    """Return the steps of a sequence to and fro, [2, L]."""
    steps = np.arange(length)
    return np.stack((steps, steps[::-1]))


def indices(array: Any) -> Indices:
    """Return indices as the engines read them fastest, int32."""
    return np.ascontiguousarray(array, np.int32)

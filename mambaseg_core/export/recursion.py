"""A selective scan in standard ONNX operators: h_l = exp(dt_l A) h_{l-1} + dt_l B_l u_l, y_l = C_l . h_l.

There is no loop in the graph, nothing is divided and no exponent is positive, so nothing overflows. A level
(`digits`) works in two passes: up, each chunk alone from a state of zero, for what it adds; down, each chunk once more
from its true start. The starts come from the next level, whose steps are the chunks of this one: a chunk adds its last
state, and decays by exp(A sum dt). The last level has one chunk, which starts at zero.

All tensors have at most 6 dimensions: [N, K, B, T, S, C] with T the steps of a level and S its chunks, each 1 where a
value does not vary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from mambaseg_core.export.emitter import Emitter, Value

LARGEST_BYTES: Final = 128 << 20
"""States of a scan that are larger are computed in groups, one after the other: a tensor is at most this large."""

_TIME, _CHUNKS = 3, 4  # axes of [N, K, B, T, S, C]


@dataclass(frozen=True)
class ScanSizes:
    """Sizes of one scan: K directions, B batch, C channels, N states, and the digits of its length."""

    directions: int
    batch: int
    channels: int
    state: int
    digits: tuple[int, ...]

    @property
    def steps(self) -> int:
        """T1, the steps of a chunk of the first level."""
        return self.digits[0]

    @property
    def chunks(self) -> int:
        """Chunks of the first level."""
        return math.prod(self.digits[1:])

    @property
    def places(self) -> int:
        """Steps with padding."""
        return math.prod(self.digits)

    def groups(self) -> list[int]:
        """Return how many states are computed together, for each group."""
        of_one = 4 * self.directions * self.batch * self.places * self.channels
        count = min(self.state, -(-self.state * of_one // LARGEST_BYTES))
        return [len(part) for part in np.array_split(np.arange(self.state), count)]


def scan(emit: Emitter, sizes: ScanSizes, u: Value, dt: Value, A: Any, B: Value, C: Value) -> Value:
    """Write a scan.

    Args:
        emit: Writes the nodes.
        sizes: Sizes of the scan.
        u: [K, B, T1, S1, C].
        dt: [K, B, T1, S1, C], the final step size.
        A: Array [K*C, N].
        B: [1, K, B, T1, S1, N].
        C: [1, K, B, T1, S1, N].

    Returns:
        [K, B, T1, S1, C], or with one more axis of size 1 in front.
    """
    rates = A.reshape(sizes.directions, sizes.channels, sizes.state).transpose(2, 0, 1)  # [N, K, C]
    groups = sizes.groups()
    bs, cs = (emit.split(_states_first(emit, m, sizes.state), 0, groups) for m in (B, C))
    weighted = emit.node("Mul", dt, u)
    sums = []
    for b, c, rate in zip(bs, cs, np.split(rates, np.cumsum(groups)[:-1]), strict=True):
        level = _Levels(emit, sizes, emit.constant(rate[:, :, None, None, None]), len(rate))
        h = _joined(emit, level.states(dt, emit.node("Mul", weighted, b)))
        product = emit.node("Mul", h, c)
        sums.append(product if len(rate) == 1 else emit.sum(product, 0, keep=False))
    y = sums[0]
    for more in sums[1:]:
        y = emit.node("Add", y, more)
    return y


def _states_first(emit: Emitter, rows: Value, state: int) -> Value:
    """Rearrange [1, K, B, T, S, N] to [N, K, B, T, S, 1]."""
    return rows if state == 1 else emit.transpose(rows, 5, 1, 2, 3, 4, 0)


def _joined(emit: Emitter, states: list[Value]) -> Value:
    return states[0] if len(states) == 1 else emit.node("Concat", *states, axis=_TIME)


@dataclass(frozen=True)
class _Levels:
    """The levels of one scan, or of some of its states.

    Attributes:
        emit: Writes the nodes.
        sizes: Sizes of the whole scan.
        rate: A, [N, K, 1, 1, 1, C].
        states_count: N of `rate`.
    """

    emit: Emitter
    sizes: ScanSizes
    rate: Value
    states_count: int

    def states(self, dt: Value, added: Value) -> list[Value]:
        """Return the states after each step of the first level, each [N, K, B, 1, S, C].

        Args:
            dt: [K, B, T, S, C].
            added: What each step adds to the state, [N, K, B, T, S, C].
        """
        return self._run(*self._level(dt, added, self.sizes.digits))

    def _level(self, dt: Value, added: Value, digits: tuple[int, ...]) -> tuple[list[Value], list[Value], Value | None]:
        """Return the decays and what is added, step by step, and the state before each chunk; None: zero.

        Args:
            dt: [K, B, T, S, C].
            added: [N, K, B, T, S, C].
            digits: Those of this level and the levels above.
        """
        decay = self.emit.node("Exp", self.emit.node("Mul", dt, self.rate))
        decays, adds = (self.emit.split(value, _TIME, [1] * digits[0]) for value in (decay, added))
        if len(digits) == 1:
            return decays, adds, None
        ends = self._run(decays, adds, None)[-1]
        return decays, adds, self._starts(self.emit.sum(dt, 2, keep=False), ends, digits[1:])

    def _starts(self, dt: Value, ends: Value, digits: tuple[int, ...]) -> Value:
        """Return the state before each chunk, [N, K, B, 1, S, C].

        Args:
            dt: Sums over the chunks, [K, B, S, C].
            ends: What each chunk adds to the state, [N, K, B, 1, S, C].
            digits: Those of the levels whose steps these chunks are.
        """
        emit, sizes, chunks = self.emit, self.sizes, math.prod(digits[1:])
        head, level = (sizes.directions, sizes.batch), (digits[0], chunks, sizes.channels)
        steps = emit.reshape(dt, *head, *level), emit.reshape(ends, self.states_count, *head, *level)
        decays, adds, start = self._level(*steps, digits)
        first = emit.zeros(self.states_count, *head, 1, chunks, sizes.channels) if start is None else start
        before = _joined(emit, [first, *self._run(decays[:-1], adds[:-1], start)])
        return emit.reshape(before, self.states_count, *head, 1, math.prod(digits), sizes.channels)

    def _run(self, decays: list[Value], adds: list[Value], start: Value | None) -> list[Value]:
        """Return the state after each step, of all chunks side by side."""
        state, states = start, []
        for decay, added in zip(decays, adds, strict=True):
            state = added if state is None else self.emit.node("Add", self.emit.node("Mul", decay, state), added)
            states.append(state)
        return states

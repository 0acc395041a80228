"""The scan operators of `mambaseg_core.ops` in standard ONNX operators: in front of a scan by digits, and behind it.

One Gather by constant indices brings a tensor into the order of the scan: walks, reversals and padding at once. Another
brings the result back. Arguments are named as in `ops.schemas`; those with weights are arrays, the others values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mambaseg_core.export.digits import (
    choose_digits,
    indices,
    map_walks,
    sequence_walks,
    step_order,
    step_places,
)
from mambaseg_core.export.emitter import Emitter, Value
from mambaseg_core.export.recursion import ScanSizes, scan

Array = NDArray[np.float32]


def ss2d(
    emit: Emitter, size: tuple[int, ...], x: Value, proj: Value, weight: Array, bias: Array, A: Array, D: Array
) -> Value:
    """Write `ops.ss2d` from its first product on; `size` is x's, [B, H, W, C].

    Returns:
        [B, H, W, C].
    """
    batch, height, width, channels = size
    length = height * width
    sizes = _sizes(batch, 4, channels, A, length)
    pixels = map_walks(height, width)[:, None, step_order(length, sizes.digits)]  # [4, 1, P]
    pixels = pixels + length * np.arange(batch)[None, :, None]
    rows = 4 * pixels + np.arange(4)[:, None, None]
    tokens = emit.reshape(x, batch * length, channels)
    u = emit.gather_rows(tokens, _by_level(pixels, sizes))
    gathered = emit.gather_rows(emit.reshape(proj, batch * length * 4, -1), _by_level(rows, sizes)[None])
    y = _projected_scan(emit, sizes, u, gathered, weight, bias, A)
    back = _places(sizes, np.argsort(map_walks(height, width), axis=1))
    added = emit.sum(emit.gather_rows(emit.reshape(y, -1, channels), indices(back)), 0, keep=False)  # [B, L, C]
    skip = emit.node("Mul", x, emit.constant(D.reshape(4, channels).sum(0, dtype=np.float64).astype(np.float32)))
    return emit.node("Add", emit.reshape(added, *size), skip)


def bidirectional_scan(
    emit: Emitter, size: tuple[int, ...], x: Value, proj: Value, weight: Array, bias: Array, A: Array, D: Array
) -> Value:
    """Write `ops.bidirectional_scan` from its first product on; `size` is x's, [B, C, L].

    Returns:
        [B, 2, C, L].
    """
    batch, channels, length = size
    sizes = _sizes(batch, 2, channels, A, length)
    steps = sequence_walks(length)[:, None, step_order(length, sizes.digits)]  # [2, 1, P]
    numbers = np.arange(batch)[None, :, None]
    of_x = steps + length * numbers
    of_proj = steps + length * (2 * numbers + np.arange(2)[:, None, None])
    tokens = emit.reshape(emit.transpose(x, 0, 2, 1), batch * length, channels)
    rows = emit.reshape(emit.transpose(proj, 0, 1, 3, 2), batch * 2 * length, -1)
    u = emit.gather_rows(tokens, _by_level(of_x, sizes))
    gathered = emit.gather_rows(rows, _by_level(of_proj, sizes)[None])
    y = _projected_scan(emit, sizes, u, gathered, weight, bias, A)
    return _in_scan_order(emit, sizes, _with_skip(emit, sizes, y, u, D), length)


def selective_scan(
    emit: Emitter, size: tuple[int, ...], u: Value, delta: Value, B: Value, C: Value, A: Array, D: Array, bias: Array
) -> Value:
    """Write `ops.selective_scan` with D, a bias and softplus; `size` is [B, K, C, L].

    Returns:
        [B, K*C, L].
    """
    batch, directions, channels, length = size
    sizes = _sizes(batch, directions, channels, A, length)
    steps = step_order(length, sizes.digits)[None, None]
    places = steps + length * (directions * np.arange(batch)[None, :, None] + np.arange(directions)[:, None, None])

    def gathered(value: Value, rows: int, chosen: Any) -> Value:
        split = emit.transpose(emit.reshape(value, batch, directions, rows, length), 0, 1, 3, 2)
        return emit.gather_rows(emit.reshape(split, batch * directions * length, rows), chosen)

    chosen = _by_level(places, sizes)
    x, step = gathered(u, channels, chosen), gathered(delta, channels, chosen)
    dt = emit.softplus(emit.node("Add", step, _by_direction(emit, sizes, bias)))
    b, c = (gathered(value, sizes.state, chosen[None]) for value in (B, C))
    y = scan(emit, sizes, x, dt, A, b, c)
    y = _in_scan_order(emit, sizes, _with_skip(emit, sizes, y, x, D), length)
    return emit.reshape(y, batch, directions * channels, length)


class Writer(NamedTuple):
    """Function that writes an operator; of the symbol's inputs the first `values` are values, the others weights."""

    write: Callable[..., Value]
    values: int


WRITERS: Final = {
    "ss2d": Writer(ss2d, 2),
    "bidirectional_scan": Writer(bidirectional_scan, 2),
    "selective_scan": Writer(selective_scan, 4),
}
"""By the operator's name in `mambaseg_core.ops`."""


def _sizes(batch: int, directions: int, channels: int, A: Array, length: int) -> ScanSizes:
    return ScanSizes(directions, batch, channels, A.shape[1], choose_digits(length))


def _by_level(places: Any, sizes: ScanSizes) -> Any:
    """Return indices [K, B, T1, S1] of places [K, B, T1 S1]."""
    return indices(places.reshape(sizes.directions, sizes.batch, sizes.steps, sizes.chunks))


def _by_direction(emit: Emitter, sizes: ScanSizes, vector: Array) -> Value:
    """Return a constant [K, 1, 1, 1, C] of a vector [K*C] or [K, C]."""
    return emit.constant(vector.reshape(sizes.directions, 1, 1, 1, sizes.channels))


def _projected_scan(
    emit: Emitter, sizes: ScanSizes, u: Value, proj: Value, weight: Array, bias: Array, A: Array
) -> Value:
    """Scan u [K, B, T1, S1, C] with step size, B and C from proj [1, K, B, T1, S1, R+2N]; weight is [K, C, R]."""
    rank = weight.shape[2]
    low, b, c = emit.split(proj, 5, [rank, sizes.state, sizes.state])
    whole = emit.reshape(low, sizes.directions, sizes.batch * sizes.places, rank)  # one product a direction
    product = emit.node("MatMul", whole, emit.constant(weight.transpose(0, 2, 1)))
    shape = (sizes.directions, sizes.batch, sizes.steps, sizes.chunks, sizes.channels)
    step = emit.node("Add", emit.reshape(product, *shape), _by_direction(emit, sizes, bias))
    return scan(emit, sizes, u, emit.softplus(step), A, b, c)


def _with_skip(emit: Emitter, sizes: ScanSizes, y: Value, u: Value, D: Array) -> Value:
    return emit.node("Add", y, emit.node("Mul", u, _by_direction(emit, sizes, D)))


def _places(sizes: ScanSizes, steps: Any) -> Any:
    """Return where y [K, B, P, C], as rows, has the steps [K, L], as [K, B, L]."""
    own = step_places(int(steps.shape[1]), sizes.digits)[steps]
    first = sizes.places * np.arange(sizes.directions * sizes.batch).reshape(sizes.directions, sizes.batch, 1)
    return first + own[:, None]


def _in_scan_order(emit: Emitter, sizes: ScanSizes, y: Value, length: int) -> Value:
    """Return y [K, B, P, C] without padding, each direction in scan order: [B, K, C, L]."""
    steps = np.tile(np.arange(length), (sizes.directions, 1))
    back = _places(sizes, steps).transpose(1, 0, 2)
    rows = emit.gather_rows(emit.reshape(y, -1, sizes.channels), indices(back))
    return emit.transpose(rows, 0, 1, 3, 2)

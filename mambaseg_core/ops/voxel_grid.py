"""Events to a voxel grid: the released code's bilinear one and the paper's binned one."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from mambaseg_core.events.array import Events
from mambaseg_core.events.window import equal_edges

_BLOCK: Final = 65536  # events at a time, so that intermediate results stay in the cache


def voxel_grid(
    events: Events,
    bins: int = 10,
    mode: str = "bilinear",
    edges_ns: Sequence[int] | NDArray[np.int64] | None = None,
) -> torch.Tensor:
    """Sum the polarities of events into T bins of time.

    `bilinear` (the released MambaSeg code): tn = (T - 1) * (t - first) / (last - first), the divisor being 1
    where first = last; an event adds p * (1 - frac(tn)) to bin floor(tn) and p * frac(tn) to the next.
    Events with t < first or t > last are left out: both ends belong to the grid, as the last event lies
    exactly on the last bin. Only simultaneous events all fall in bin 0.

    `binned` (the paper's text, E(t, x, y)): an event adds p to the one bin k that has it,
    edges[k] <= t < edges[k + 1]; events outside the edges are left out. A bin between equal edges is empty.

    No events give zeros. Time is taken relative to the first edge in integers before any floating point;
    sums are float32, added in the order of the events, so the result is the same on every run.

    Args:
        events: N events; rectified ones with the `edges_ns` of the raw window, so that time is normalised as
            before.
        bins: T.
        mode: `bilinear` or `binned`.
        edges_ns: from `Window.edges_ns`: (first, last) for `bilinear`, the T + 1 bin edges for `binned`.
            None takes the events' own first and last, and T equal steps from the first to the last + 1 ns.

    Returns:
        float32 [T, H, W], on the CPU.

    Raises:
        TypeError: the edges are not integers.
        ValueError: no bins, another mode, or edges of another number or out of order.
    """
    if operator.index(bins) < 1:
        raise ValueError(f"bins is {bins}, expected 1 or more; the models take 10")
    if mode not in ("bilinear", "binned"):
        raise ValueError(f"mode is {mode!r}, expected 'bilinear' or 'binned'; choose one")
    edges = None if edges_ns is None else _checked_edges(edges_ns, 2 if mode == "bilinear" else bins + 1)
    grid = np.zeros((bins, events.height, events.width), dtype=np.float32)
    if len(events):
        first, last = int(events.t_ns[0]), int(events.t_ns[-1])
        if mode == "binned":
            _add_binned(grid, events, equal_edges(first, last + 1, bins) if edges is None else edges)
        elif edges is None:
            _add_bilinear(grid, events, first, last)
        else:
            _add_bilinear(grid, events, int(edges[0]), int(edges[1]))
    return torch.from_numpy(grid)


def _checked_edges(edges_ns: Sequence[int] | NDArray[np.int64], number: int) -> NDArray[np.int64]:
    edges = np.asarray(edges_ns)
    if edges.dtype.kind not in "iu":
        raise TypeError(f"edges_ns is {edges.dtype}, expected integers; give whole nanoseconds")
    if edges.shape != (number,):
        raise ValueError(
            f"edges_ns has shape {list(edges.shape)}, expected [{number}]; take it from Window.edges_ns "
            f"with the "
            f"same bins and mode"
        )
    if (edges[1:] < edges[:-1]).any():
        raise ValueError(f"edges_ns is {edges.tolist()}, expected edges that do not decrease; sort them")
    return edges.astype(np.int64)


def _pixel(events: Events) -> NDArray[np.int64]:
    """Place of each event in a plane, [N]."""
    return events.y.astype(np.int64) * events.width + events.x


def _add_bilinear(grid: NDArray[np.float32], events: Events, first_ns: int, last_ns: int) -> None:
    """Add the two taps of each event to the grid, [T, H, W]; first_ns <= last_ns."""
    bins, plane = len(grid), events.height * events.width
    cells = grid.reshape(-1)  # a view
    inside = events.between(first_ns, last_ns + 1)
    span = max(last_ns - first_ns, 1)
    for start in range(0, len(inside), _BLOCK):
        block = inside.part(start, min(start + _BLOCK, len(inside)))
        tn = (block.t_ns - first_ns).astype(np.float64)
        tn *= bins - 1
        tn /= span
        bin_index = tn.astype(np.int64)  # the floor: tn is not negative
        tn -= bin_index
        cell = bin_index * plane + _pixel(block)
        weight = block.p.astype(np.float32)
        to_next = tn.astype(np.float32) * weight
        np.add.at(cells, cell, weight - to_next)
        # on the last bin frac is 0: its tap to the bin after adds nothing, so any cell will do
        np.add.at(cells, np.minimum(cell + plane, len(cells) - 1), to_next)


def _add_binned(grid: NDArray[np.float32], events: Events, edges: NDArray[np.int64]) -> None:
    """Add each event to its bin of the grid, [T, H, W]."""
    bounds = np.searchsorted(events.t_ns, edges, side="left")  # events are in time order
    for plane, start, stop in zip(grid, bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        part = events.part(start, stop)
        np.add.at(plane.reshape(-1), _pixel(part), part.p.astype(np.float32))

"""Voxel grids from events: bilinear in time as in the released code, or binned as in the paper."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from mambaseg_core.events.array import Events
from mambaseg_core.events.window import equal_edges
from mambaseg_core.ops import (
    schemas,  # noqa: F401  defines the operator
    selection,
)
from mambaseg_core.ops.voxel_packed import pack_events, scatter_reference_

Edges = Sequence[int] | NDArray[np.int64]

_MAX_SPAN_NS: Final = 2**62  # largest product of time and bins, which must fit in int64


def voxel_grid(
    events: Events,
    bins: int = 10,
    mode: str = "bilinear",
    edges_ns: Edges | None = None,
    *,
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """Sum the polarities of events into T bins of time.

    `bilinear` (the released MambaSeg code): tn = (T - 1) * (t - first) / (last - first), with divisor 1 if
    first = last. An event adds p * (1 - frac(tn)) to bin floor(tn) and p * frac(tn) to the next. Events with
    t < first or t > last are left out. Both ends belong to the grid, since the last event lies exactly on the
    last bin. If all events are simultaneous, they fall in bin 0.

    `binned` (the paper's text, E(t, x, y)): an event adds p to the one bin k with edges[k] <= t < edges[k + 1].
    Events outside the edges are left out. A bin between equal edges is empty.

    Without events the grid is zero. Time is taken relative to the first edge in integers before any floating point;
    sums are float32. On the CPU each cell adds in the order of the events, so the result is the same on every run
    and for any number of threads (`torch.set_num_threads`). On CUDA the order, and so the last bits, may change.

    Args:
        events: N events. For rectified events pass the `edges_ns` of the raw window, so that time is normalized as
            before rectification.
        bins: T.
        mode: `bilinear` or `binned`.
        edges_ns: From `Window.edges_ns`: (first, last) for `bilinear`, the T + 1 bin edges for `binned`. None: the
            events' own first and last time, or T equal steps from the first to the last + 1 ns.
        out: float32 [T, H, W], contiguous, on any device; overwritten and returned. Allocating a grid costs more
            than adding its events, so pass the last grid again once it is no longer needed.

    Returns:
        float32 [T, H, W]: `out`, or a new grid on the CPU.

    Raises:
        TypeError: The edges are not integers.
        ValueError: No bins, an unknown mode, edges of a wrong number or out of order, or an `out` that does not fit.
    """
    edges, size = _edges(events, bins, mode, edges_ns), (bins, events.height, events.width)
    grid = torch.empty(size) if out is None else _checked_out(out, size)
    if not len(events):
        return grid.zero_()
    if grid.device.type != "cpu":
        packed = torch.from_numpy(pack_events(events, edges, bins=bins, mode=mode))
        scatter_(grid, packed.to(grid.device))
    else:
        torch.ops.mambaseg.voxel_grid_(grid, *_columns(events, edges), mode == "bilinear")
    return grid


def scatter_(grid: torch.Tensor, packed: torch.Tensor) -> None:
    """Overwrite a grid [T, H, W] with packed events [M] on its device, with the back end for that device.

    Atomic additions run in any order, so on CUDA the last bits of a sum differ from run to run.
    """
    if selection.choose(grid.device, None) == "triton":
        from mambaseg_core.ops import triton_voxel

        triton_voxel.scatter_(grid, packed)
    else:
        scatter_reference_(grid, packed)


def packed_events(events: Events, *, bins: int, mode: str, edges_ns: Edges | None) -> NDArray[np.int64]:
    """Return events for `scatter_` on a device, int64 [M]; arguments and errors as of `voxel_grid`."""
    edges = _edges(events, bins, mode, edges_ns)
    return pack_events(events, edges, bins=bins, mode=mode) if len(events) else np.empty(0, np.int64)


def voxel_grid_resized(
    events: Events, bins: int, mode: str, edges_ns: Edges | None, *, rows: int, size: tuple[int, int]
) -> torch.Tensor:
    """Return the upper rows of a `voxel_grid`, resized by `area_resize`: the same bits, in half the time on the CPU.

    Args:
        events: See `voxel_grid`.
        bins: T.
        mode: See `voxel_grid`.
        edges_ns: See `voxel_grid`.
        rows: Number of rows to resize, from the grid's top; events below them are left out.
        size: (height, width) of the result.

    Returns:
        float32 [T, height, width] on the CPU.

    Raises:
        TypeError: See `voxel_grid`.
        ValueError: See `voxel_grid`.
    """
    edges, grid = _edges(events, bins, mode, edges_ns), torch.empty(bins, *size)
    if not len(events):
        return grid.zero_()
    torch.ops.mambaseg.voxel_grid_resized_(grid, *_columns(events, edges), mode == "bilinear", rows, events.width)
    return grid


def _edges(events: Events, bins: int, mode: str, edges_ns: Edges | None) -> NDArray[np.int64]:
    """Check bins and mode; return the edges to use."""
    if operator.index(bins) < 1:
        raise ValueError(f"bins is {bins}, expected 1 or more; the models take 10")
    if mode not in ("bilinear", "binned"):
        raise ValueError(f"mode is {mode!r}, expected 'bilinear' or 'binned'; choose one")
    return _own_edges(events, bins, mode) if edges_ns is None else _checked_edges(edges_ns, bins, mode)


def _own_edges(events: Events, bins: int, mode: str) -> NDArray[np.int64]:
    first, last = (int(events.t_ns[0]), int(events.t_ns[-1])) if len(events) else (0, 0)
    own = np.array([first, last]) if mode == "bilinear" else equal_edges(first, last + 1, bins)
    return _within_span(own, bins)


def _checked_edges(edges_ns: Edges, bins: int, mode: str) -> NDArray[np.int64]:
    edges, number = np.asarray(edges_ns), 2 if mode == "bilinear" else bins + 1
    if edges.dtype.kind not in "iu":
        raise TypeError(f"edges_ns is {edges.dtype}, expected integers; give whole nanoseconds")
    if edges.shape != (number,):
        raise ValueError(
            f"edges_ns has shape {list(edges.shape)}, expected [{number}]; take it from Window.edges_ns "
            f"with the same bins and mode"
        )
    if (edges[1:] < edges[:-1]).any():
        raise ValueError(f"edges_ns is {edges.tolist()}, expected edges that do not decrease; sort them")
    return _within_span(edges.astype(np.int64), bins)


def _within_span(edges: NDArray[np.int64], bins: int) -> NDArray[np.int64]:
    span = int(edges[-1]) - int(edges[0])
    if span > _MAX_SPAN_NS // bins:
        raise ValueError(
            f"the edges span {span} ns, expected {_MAX_SPAN_NS // bins} at most for {bins} bins; check the times"
        )
    return edges


def _checked_out(out: torch.Tensor, size: tuple[int, int, int]) -> torch.Tensor:
    if out.dtype != torch.float32 or tuple(out.shape) != size or not out.is_contiguous():
        order = "contiguous" if out.is_contiguous() else "strided"
        raise ValueError(
            f"out is {order} {out.dtype} {list(out.shape)}, expected contiguous torch.float32 {list(size)}; "
            f"make it with torch.empty{size}"
        )
    return out


class _Writable:
    """Read-only array that claims to be writable: `torch.from_numpy` warns otherwise, and no operator writes to it."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array  # keeps the memory alive
        self.__array_interface__ = {**array.__array_interface__, "data": (array.ctypes.data, False)}


def _columns(events: Events, edges_ns: NDArray[np.int64]) -> list[torch.Tensor]:
    return [_as_tensor(column) for column in (events.x, events.y, events.t_ns, events.p, edges_ns)]


def _as_tensor(column: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.asarray(_Writable(np.ascontiguousarray(column))))

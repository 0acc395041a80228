"""Tensors computed from a network's weights, once, and again as soon as the weights have changed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from mambaseg_core.ops.checksums import checksums


class _Entry(NamedTuple):
    packed: Tensor
    make: Callable[..., Tensor]
    sources: tuple[Tensor, ...]
    shapes: list[torch.Size]


class PackedWeights:
    """All tensors that an inference form computes from weights: packed panels, products of weights, rates of scans.

    Each keeps its memory for good, so that a trace may hold it: new values are written in place. Changes are found by
    a checksum of all values. Torch's count of writes (`Tensor._version`) misses those through `weight.data` and NumPy,
    and new memory (`weight.data = ...`).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: list[_Entry] = []
        self._sources: list[Tensor] = []  # each once
        self._sums: list[int] = []

    @torch.inference_mode(False)  # whose tensors could not be written later
    @torch.no_grad()
    def add(self, make: Callable[..., Tensor], *sources: Tensor) -> Tensor:
        """Return `make(*sources)`, a tensor of its own memory."""
        packed = make(*(source.detach() for source in sources))
        self._entries.append(_Entry(packed, make, sources, [source.shape for source in sources]))
        return packed

    def count(self) -> int:
        """Return the number of tensors."""
        return len(self._entries)

    def drop_from(self, count: int) -> None:
        """Drop all tensors but so many."""
        del self._entries[count:]

    def watch(self) -> None:
        """Take the weights' values as those that the tensors were computed from."""
        self._sources = list({id(source): source for entry in self._entries for source in entry.sources}.values())
        self._sums = checksums(self._sources)

    def refresh(self) -> bool:
        """Compute again what came from weights that have changed; return False if one has another shape or dtype."""
        try:
            if checksums(self._sources) == self._sums:
                return True
        except RuntimeError:  # no longer float32 on the CPU
            return False
        with self._lock:  # another thread may have been here in the meantime
            sums = checksums(self._sources)
            now = zip(self._sources, self._sums, sums, strict=True)
            changed = {id(source) for source, before, after in now if before != after}
            if any([source.shape for source in entry.sources] != entry.shapes for entry in self._entries):
                return False
            self._pack(changed)
            self._sums = sums
        return True

    @torch.inference_mode(False)
    @torch.no_grad()
    def _pack(self, changed: set[int]) -> None:
        for packed, make, sources, _ in self._entries:
            if any(id(source) in changed for source in sources):
                packed.copy_(make(*(source.detach() for source in sources)))

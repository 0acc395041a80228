"""Tensors computed from a network's weights, once, and again as soon as the weights have changed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mambaseg_core.ops.checksums import checksums


class _Entry(NamedTuple):
    packed: Tensor
    make: Callable[..., Tensor]
    sources: tuple[Tensor, ...]


class PackedWeights:
    """All tensors that an inference form computes from weights: packed panels, products of weights, rates of scans.

    Each keeps its memory for good, so that a trace may hold it: new values are written in place. `refresh` sees writes
    that torch counts (`Tensor._version`), memory that was exchanged (`weight.data = ...`), and other values in the same
    memory, which torch does not count (`weight.data.mul_(...)`, a write through NumPy).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: list[_Entry] = []
        self._sources: dict[int, Tensor] = {}
        self._seen: list[tuple[int, ...]] = []
        self._memory: list[Tensor] = []  # aliases of the sources' memory, so that no other takes its address

    @torch.inference_mode(False)  # whose tensors could not be written later
    @torch.no_grad()
    def add(self, make: Callable[..., Tensor], *sources: Tensor) -> Tensor:
        """Return `make(*sources)`, a tensor of its own memory, which `refresh` keeps up to date."""
        new = {id(source): source for source in sources if id(source) not in self._sources}
        self._sources |= new
        self._seen += _state(list(new.values()))
        self._memory += [source.detach() for source in new.values()]
        packed = make(*(source.detach() for source in sources))
        self._entries.append(_Entry(packed, make, sources))
        return packed

    def mark(self) -> tuple[int, int]:
        """Return what `forget_since` takes."""
        return len(self._entries), len(self._sources)

    def forget_since(self, mark: tuple[int, int]) -> None:
        """Drop what was added since a mark."""
        entries, sources = mark
        self._entries, self._sources = self._entries[:entries], dict(list(self._sources.items())[:sources])
        self._seen, self._memory = self._seen[:sources], self._memory[:sources]

    def refresh(self) -> bool:
        """Compute again what came from weights that have changed; return False if one has another shape or dtype."""
        if self._seen == _state(list(self._sources.values())):
            return True
        with self._lock:  # another thread may have been here in the meantime
            sources = list(self._sources.values())
            state = _state(sources)
            pairs = zip(self._sources, self._seen, state, strict=True)
            changed = {key for key, before, now in pairs if before != now}
            if any(not _alike(*pair) for pair in zip(sources, self._memory, strict=True)):
                return False
            self._pack(changed)
            self._seen, self._memory = state, [source.detach() for source in sources]
        return True

    @torch.inference_mode(False)
    @torch.no_grad()
    def _pack(self, changed: set[int]) -> None:
        for packed, make, sources in self._entries:
            if any(id(source) in changed for source in sources):
                packed.copy_(make(*(source.detach() for source in sources)))


def _state(sources: Sequence[Tensor]) -> list[tuple[int, ...]]:
    """Return the version, address and checksum of each tensor; those of `torch.inference_mode` have no version."""
    versions = [0 if source.is_inference() else source._version for source in sources]
    addresses = [source.data_ptr() for source in sources]
    return list(zip(versions, addresses, checksums(sources), strict=True))


def _alike(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and a.device == b.device

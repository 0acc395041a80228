"""Tensors computed from a network's weights, once, and again as soon as the weights have changed."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mambaseg_core.ops.checksums import PHASES, checksums


def as_it_is(weight: Tensor) -> Tensor:
    """Return the weight."""
    return weight


class _Entry(NamedTuple):
    packed: Tensor
    make: Callable[..., Tensor]
    sources: tuple[Tensor, ...]
    shapes: list[torch.Size]


class _Seen(NamedTuple):
    """A weight as it was before anything was computed from it."""

    tensor: Tensor
    writes: tuple[int, int]
    sums: list[list[int]]  # by phase, of one tensor


class PackedWeights:
    """All tensors that an inference form computes from weights: packed panels, products of weights, rates of scans.

    Each keeps its memory for good, so that a trace may hold it: new values are written in place. Changes are found by
    torch's count of writes (`Tensor._version`), by the memory's address, and by checksums of the values. The count
    misses writes through `weight.data` and NumPy: if these change less than a block of values of a large weight
    (`ops.checksums`), they are found within `PHASES` frames, else at once.

    Args:
        bfloat16: Whether weights of products are packed in bfloat16, to which the products then round both factors.
    """

    def __init__(self, *, bfloat16: bool = False) -> None:
        self._bfloat16 = bfloat16
        self._lock = threading.Lock()
        self._entries: list[_Entry] = []
        self._seen: dict[int, _Seen] = {}
        self._sources: list[Tensor] = []  # each once
        self._writes: list[tuple[int, int]] = []
        self._sums: list[list[int]] = []  # by phase
        self._turns = itertools.count()

    @torch.inference_mode(False)  # whose tensors could not be written later
    @torch.no_grad()
    def add(self, make: Callable[..., Tensor], *sources: Tensor) -> Tensor:
        """Return `make(*sources)`, a tensor of its own memory."""
        for source in sources:  # before its values are used: another thread may change them at any time
            if id(source) not in self._seen:
                self._seen[id(source)] = _Seen(source, _writes([source])[0], _all_sums([source]))
        packed = make(*(source.detach() for source in sources))
        self._entries.append(_Entry(packed, make, sources, [source.shape for source in sources]))
        return packed

    def add_linear(self, make: Callable[..., Tensor], *sources: Tensor, exact: bool = False) -> Tensor:
        """Return the packed weight of a linear layer whose weight [O, I] is `make(*sources)`.

        Args:
            make: Computes the weight.
            sources: Weights of the network.
            exact: Whether this product is computed in float32 in any case.
        """
        half = self._bfloat16 and not exact
        return self.add(lambda *values: torch.ops.mambaseg.pack_linear(make(*values), half), *sources)

    def add_conv3x3(self, weight: Tensor) -> Tensor:
        """Return the packed weight [O, I, 3, 3] of a convolution."""
        return self.add(lambda value: torch.ops.mambaseg.pack_conv3x3(value, self._bfloat16), weight)

    def count(self) -> int:
        """Return the number of tensors."""
        return len(self._entries)

    def drop_from(self, count: int) -> None:
        """Drop all tensors but so many."""
        del self._entries[count:]

    def watch(self) -> None:
        """Begin to watch the weights that the tensors were computed from, all of which were added."""
        seen = [self._seen[key] for key in {id(source): None for entry in self._entries for source in entry.sources}]
        self._sources, self._writes = [weight.tensor for weight in seen], [weight.writes for weight in seen]
        self._sums = [[weight.sums[phase][0] for weight in seen] for phase in range(PHASES)]
        self._seen.clear()

    def refresh(self) -> bool:
        """Compute again what came from weights that have changed; return False if one has another shape or dtype."""
        try:
            phase = next(self._turns) % PHASES
            same = checksums(self._sources, phase) == self._sums[phase]
        except RuntimeError:  # no longer float32 on the CPU
            return False
        if same and _writes(self._sources) == self._writes:
            return True
        with self._lock:  # another thread may have been here in the meantime
            writes, sums = _writes(self._sources), _all_sums(self._sources)
            now = zip(self._sources, zip(*self._sums, strict=True), zip(*sums, strict=True), strict=True)
            changed = {id(source) for source, before, after in now if before != after}
            if any([source.shape for source in entry.sources] != entry.shapes for entry in self._entries):
                return False
            self._pack(changed)
            self._writes, self._sums = writes, sums
        return True

    @torch.inference_mode(False)
    @torch.no_grad()
    def _pack(self, changed: set[int]) -> None:
        for packed, make, sources, _ in self._entries:
            if any(id(source) in changed for source in sources):
                packed.copy_(make(*(source.detach() for source in sources)))


def _all_sums(tensors: Sequence[Tensor]) -> list[list[int]]:
    return [checksums(tensors, phase) for phase in range(PHASES)]


def _writes(tensors: Sequence[Tensor]) -> list[tuple[int, int]]:
    """Return how often each tensor was written, as far as torch counts it, and its address."""
    return [(-1 if tensor.is_inference() else tensor._version, tensor.data_ptr()) for tensor in tensors]

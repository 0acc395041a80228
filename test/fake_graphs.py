"""CUDA graphs, streams and events on a CPU, for tests of the code around them.

A fake graph records the operators that run while it is captured, and runs them again on the very same memory: an input
that is not static stays at its captured value, as on a card. Results of the capture itself are spoiled, because a card
computes nothing then.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class FakeGraph(TorchDispatchMode):
    """A `torch.cuda.CUDAGraph`; `replays` counts."""

    def __init__(self) -> None:
        super().__init__()
        self.replays = 0
        self._steps: list[tuple[Any, Any, Any, list[Tensor]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {x.untyped_storage().data_ptr() for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
        found = [x for x in tree_leaves(result) if isinstance(x, Tensor)]
        own = [x if x.untyped_storage().data_ptr() not in given else None for x in found]
        self._steps.append((func, args, kwargs or {}, own))
        return result

    def pool(self) -> tuple[int, int]:
        return 0, 0

    def replay(self) -> None:
        self.replays += 1
        with torch.autocast("cpu", enabled=False):  # a replay runs what was captured, whatever Python has set
            self._replay()

    def _replay(self) -> None:
        for func, args, kwargs, kept in self._steps:
            found = [x for x in tree_leaves(func(*args, **kwargs)) if isinstance(x, Tensor)]
            for mine, new in zip(kept, found, strict=True):
                if mine is not None:
                    mine.copy_(new)


class FakeCuda:
    """What `graphs.CapturedModel` uses of `torch.cuda`. `waits` counts how often the host waits for the device."""

    def __init__(self, *, fails: bool = False) -> None:
        self.waits, self.graphs, self._fails = 0, [], fails

    def Stream(self, device: torch.device) -> Any:  # noqa: N802
        return SimpleNamespace(cuda_stream=id(object()), wait_stream=lambda other: None, synchronize=self._wait)

    def Event(self) -> Any:  # noqa: N802
        return SimpleNamespace(record=lambda: None, synchronize=self._wait)

    def CUDAGraph(self) -> FakeGraph:  # noqa: N802
        self.graphs.append(FakeGraph())
        return self.graphs[-1]

    def current_stream(self, device: torch.device) -> None:
        return None

    def stream(self, stream: Any) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def graph(self, graph: FakeGraph, *, pool: Any, stream: Any, capture_error_mode: str) -> Iterator[None]:
        if self._fails:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore lines")
        assert capture_error_mode == "thread_local"
        with graph:
            yield

    def _wait(self) -> None:
        self.waits += 1

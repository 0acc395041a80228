"""Compare the CPU time of one frame with that of the same weights on a sequential scan, as a Markdown table.

    python benchmarks/scans/sequential.py [sigma_tiny] [--size 480x640] [--repeats 7]

The sequential scan is that of VMamba's fallback in plain PyTorch (`contenders.loop`): directions and both inputs
are copied, all steps are discretized at once, and a loop runs over the tokens.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from contenders import copying_ss2d, loop, project_and_scan
from torch import Tensor

from mambaseg_core import ops
from mambaseg_core.bench.model import frame, network, on_backend
from mambaseg_core.bench.timing import HEADER, Row, Task, environment
from mambaseg_core.memory import keep_memory
from mambaseg_core.models import Network
from mambaseg_core.models.scans import DirectionalScan, SequenceScan

TARGET = 20.0


def _selective_scan(*tensors: Tensor, delta_softplus: bool) -> Tensor:
    if not delta_softplus:
        raise ValueError("delta_softplus is False; expected True, as in all networks here")
    return loop(*tensors)


def _ss2d(*tensors: Tensor) -> Tensor:
    return copying_ss2d(*tensors, scan=loop)


def _bidirectional_scan(x: Tensor, *weights: Tensor) -> Tensor:
    return project_and_scan(torch.stack((x, x.flip(-1)), 1), *weights, scan=loop)


_SEQUENTIAL: dict[Callable[..., Tensor], Callable[..., Tensor]] = {
    ops.selective_scan: _selective_scan,
    ops.ss2d: _ss2d,
    ops.bidirectional_scan: _bidirectional_scan,
}


def on_sequential_scans(model: Network) -> Network:
    """Return a copy of a network, with the same tensors, whose scans run one step after the other."""
    memo: dict[int, Any] = {id(x): x for x in (*model.parameters(), *model.buffers())}
    slow = copy.deepcopy(model, memo)
    for part in slow.modules():
        if isinstance(part, (DirectionalScan, SequenceScan)):
            part.op = _SEQUENTIAL[part.op]
    return slow


def cpu_ms(task: Task) -> float:
    """Return the CPU time of one run over all threads, milliseconds; other processes hardly change it."""
    start = time.process_time()
    task()
    return 1e3 * (time.process_time() - start)


@torch.inference_mode()
def sequential_table(name: str, size: tuple[int, int] | None, repeats: int) -> Iterator[str]:
    """Measure CPU times on one thread and yield a Markdown table, line by line. The sequential scan runs once.

    Args:
        name: One of `list_models()`.
        size: (height, width) of the frame in pixels; None: the preset's.
        repeats: Runs of our scans, after one untimed run; the table has the median.

    Raises:
        ValueError: The name is unknown.
    """
    torch.set_num_threads(1)
    keep_memory()
    model = network(name, "float32", size)
    inputs = frame(model)
    backend = ops.backends()[0]
    ours = on_backend(backend, lambda: model(*inputs))
    expected = cast(Tensor, ours())
    times = [cpu_ms(ours) for _ in range(repeats)]
    answers: list[Tensor] = []
    slow = on_sequential_scans(model)
    slow_ms = cpu_ms(lambda: answers.append(slow(*inputs)))
    apart = float((answers[0] - expected).abs().max() / expected.std())
    height, width = model.image_size
    yield environment()
    yield ""
    yield HEADER
    label = f"{name}, {height}x{width}, CPU time of a frame, back end {backend}"
    yield str(Row(label, statistics.median(times), "sequential scan, one run", slow_ms, TARGET))
    yield ""
    yield f"largest difference of the logits: {apart:.1e} of their standard deviation"


def main() -> None:
    """Print the table; at 480x640 the sequential scan takes minutes and several GB."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="sigma_tiny", help="a name that `mambaseg info` lists")
    parser.add_argument("--size", metavar="HxW", help="rows and columns of the frame; by default the preset's")
    parser.add_argument("--repeats", type=int, default=7, help="runs of our scans; the median counts")
    words = parser.parse_args()
    size = tuple(map(int, words.size.split("x"))) if words.size else None
    for line in sequential_table(words.model, size, words.repeats):
        print(line, flush=True)


if __name__ == "__main__":
    main()

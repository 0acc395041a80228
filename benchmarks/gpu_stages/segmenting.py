"""Stage `segmenter`: what a user of `Segmenter` waits for, from an empty cache of compiled kernels on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gpu_stages.results import Run
from gpu_stages.street import Picture, random_events
from gpu_stages.subjects import make_network
from gpu_stages.timing import median_ms, p95_ms
from mambaseg_core import Events, Segmenter
from mambaseg_core.precision import PRECISIONS

FIRST_COUNTS = (100_000, 99_999, 41_233, 1, 0)  # events of the first frames, which compiled a kernel each once
NETWORKS = ("mambaseg_nano", "mambaseg_dsec", "mambaseg_compact")


def segmenter(run: Run) -> None:
    """Time starts in new processes, and frames in each precision in this one: those of the targets first."""
    names = NETWORKS[:1] if run.tiny else NETWORKS
    precisions = _precisions(run)
    _time_all(run, names, precisions[:1])
    for name in names[:2]:
        with tempfile.TemporaryDirectory() as cache:
            for start in ("cold", "warm"):
                with run.part(f"{start} start of {name}"):
                    row = _start_elsewhere(run, name, precisions[0], Path(cache))
                    run.add(table="start", model=name, precision=precisions[0], start=start, **row)
    _time_all(run, names, precisions[1:])


def _time_all(run: Run, names: tuple[str, ...], precisions: list[str]) -> None:
    for precision in precisions:
        for name in names:
            with run.part(f"frames of {name} in {precision}"):
                _time_frames(run, name, precision)


def _precisions(run: Run) -> list[str]:
    """Return the precisions, half precision first; on a CPU those that it takes."""
    known = [name for name in reversed(list(PRECISIONS)) if run.on_gpu or name in ("float32", "bfloat16")]
    return known[-1:] if run.tiny else known


def _start_elsewhere(run: Run, name: str, precision: str, cache: Path) -> dict[str, Any]:
    """Return what a new process measures whose compiled kernels are kept in `cache`."""
    code = "import sys; from gpu_stages.segmenting import print_start; print_start(*sys.argv[1:])"
    words = [sys.executable, "-c", code, name, precision, run.device, str(time.monotonic()), "tiny" if run.tiny else ""]
    benchmarks = str(Path(__file__).parents[1])
    paths = os.pathsep.join([benchmarks, os.environ.get("PYTHONPATH", "")])
    around = {**os.environ, "TRITON_CACHE_DIR": str(cache), "PYTHONPATH": paths}
    found = subprocess.run(words, env=around, stdout=subprocess.PIPE, text=True, check=True)
    measured: dict[str, Any] = json.loads(found.stdout.splitlines()[-1])
    return measured | {"kernels_in_cache": len(list(cache.rglob("*.cubin")))}


def print_start(name: str, precision: str, device: str, started: str, tiny: str) -> None:
    """Make a Segmenter, warm it up, and segment frames with changing numbers of events; print the times as JSON.

    `started` is when the process was asked for, on the monotonic clock, which all processes share.
    """
    times = {"imports_s": time.monotonic() - float(started)}
    began = time.perf_counter()
    if device != "cpu":
        torch.zeros(1, device=device)
    times["cuda_context_s"] = time.perf_counter() - began
    model, _ = make_network(name, (32, 48) if tiny else (440, 640))
    began = time.perf_counter()
    made = Segmenter(model, device, precision=precision, warn=lambda text: print(text, file=sys.stderr))
    times["construct_s"] = time.perf_counter() - began
    began = time.perf_counter()
    made.warm_up()
    times["warm_up_s"] = time.perf_counter() - began
    times["ready_s"] = time.monotonic() - float(started)
    with _counted_compilations() as compiled:
        first = [_timed(made, count, seed)[0] for seed, count in enumerate(FIRST_COUNTS)]
    row: dict[str, Any] = {key: round(value, 2) for key, value in times.items()}
    row["first_frames_ms"] = [median_ms([took]) for took in first]
    row["compiled_after_warm_up"] = None if compiled is None else len(compiled)
    print(json.dumps(row))


@contextmanager
def _counted_compilations() -> Iterator[list[str] | None]:
    """Collect the names of the Triton kernels that are compiled meanwhile; None where Triton cannot say so."""
    names: list[str] = []
    try:
        from triton.knobs import runtime
    except ImportError:  # no Triton, or one before 3.4
        yield None
        return

    def note(*_: Any, **facts: Any) -> None:
        names.append(str(facts.get("repr", "")))

    before, runtime.jit_post_compile_hook = runtime.jit_post_compile_hook, note
    try:
        yield names
    finally:
        runtime.jit_post_compile_hook = before


def _time_frames(run: Run, name: str, precision: str) -> None:
    model, weights = make_network(name, (32, 48) if run.tiny else (440, 640))
    made = Segmenter(model, run.device, precision=precision, warn=print)
    made.warm_up()
    count = 3 if run.tiny else 50
    for case in ("both", "image only", "second only"):
        times = [_timed(made, 100_000, seed, case) for seed in range(count + 3)][3:]
        total, prepare, inference = zip(*times, strict=True)
        run.add(
            table="frames",
            model=name,
            weights=weights,
            precision=precision,
            input=case,
            total_ms=median_ms(total),
            total_p95_ms=p95_ms(total),
            prepare_ms=median_ms(prepare),
            inference_ms=median_ms(inference),
            warning=made.warning,
        )


def _timed(made: Segmenter, count: int, seed: int, case: str = "both") -> tuple[float, float, float]:
    """Return the seconds from image to mask of one frame, in all, for its preparation and for its inference."""
    image, events = _frame(made, count, seed)
    start = time.perf_counter()
    mask = made.segment(None if case == "second only" else image, None if case == "image only" else events)
    took = time.perf_counter() - start
    return took, mask.prepare_ms / 1e3, mask.inference_ms / 1e3


def _frame(made: Segmenter, count: int, seed: int) -> tuple[Picture, Events]:
    size = made.preprocessing.view_size
    image = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    return image, random_events(size, count, seed)

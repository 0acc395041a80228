"""Stages on whole networks at batch 1: speed and memory, the kernels that take longest, and torch.compile."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn
from torch.autograd import DeviceType

from gpu_stages.results import Run
from gpu_stages.subjects import Format, Size, cast, formats, make_network, networks, noise
from gpu_stages.timing import Task, busy_ms, call_ms, peak_mib, replayed, seconds, wait_for


@torch.inference_mode()
def speed(run: Run) -> None:
    """Time one frame of each network in each format: called from Python, and replayed as a CUDA graph."""
    for name, size in networks(run.tiny):
        model, _ = make_network(name, size)
        inputs = noise(model)
        for form in reversed(formats(run.device)):  # half precision first: it is what is asked for
            with run.part(f"{name} {size} {form[0]}"), cast(model, form, run.device) as copy:
                task = partial(copy, *(x.to(run.device, form[1]) for x in inputs))
                run.add(model=name, size=list(size), format=form[0], **_times(run, task))


def _times(run: Run, task: Task) -> dict[str, Any]:
    repeats = 2 if run.tiny else 20
    found: dict[str, Any] = {"first_s": round(seconds(task, run.device), 2)}
    found["eager_ms"] = call_ms(task, run.device, repeats)
    found["peak_MiB"] = peak_mib(task, run.device)
    if run.on_gpu:
        expected = task()
        replay, result = replayed(task)
        replay()
        found["graph_ms"] = busy_ms(replay, run.device, repeats, inner=5)
        found["graph_gives_same_bits"] = torch.equal(result, expected)  # type: ignore[arg-type]
    return found


@torch.inference_mode()
def profile(run: Run) -> None:
    """Write the profiler's table of three networks into profile.txt, and their longest kernels into the results."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if run.on_gpu else [])]
    form = formats(run.device)[-1]
    for name, size in networks(run.tiny)[: 1 if run.tiny else 3]:
        with run.part(f"{name} {size}"):
            model, _ = make_network(name, size)
            with cast(model, form, run.device) as copy:
                task = partial(copy, *(x.to(run.device, form[1]) for x in noise(model)))
                for _ in range(1 if run.tiny else 3):
                    task()
                wait_for(run.device)
                with profiler(activities=activities) as found:
                    task()
                    wait_for(run.device)
            _write_profile(run, f"{name} {size} {form[0]}", found.key_averages())


def _write_profile(run: Run, title: str, averages: Any) -> None:
    attribute = "self_device_time_total" if run.on_gpu else "self_cpu_time_total"
    table = averages.table(sort_by=attribute, row_limit=60, max_name_column_width=80)
    with (run.out / "profile.txt").open("a", encoding="utf-8") as file:
        file.write(f"{title}\n{table}\n\n")
    # on a GPU the operators have the time of their kernels, which are rows of their own
    rows = [item for item in averages if (item.device_type == DeviceType.CUDA) == run.on_gpu]
    total, calls = sum(getattr(item, attribute) for item in rows), sum(item.count for item in rows)
    run.add(model=title, kernel="all", ms=total / 1e3, calls=calls, share_percent=100.0)
    for item in sorted(rows, key=lambda item: -getattr(item, attribute))[:10]:
        ms = getattr(item, attribute) / 1e3
        share = 1e5 * ms / total if total else 0.0
        run.add(model=title, kernel=item.key[:90], ms=ms, calls=item.count, share_percent=share)


@torch.inference_mode()
def compile(run: Run) -> None:  # noqa: A001  (the stage's name)
    """Compile networks with torch.compile and compare with the network itself: values and time."""
    wanted = networks(run.tiny)[:1] if run.tiny else networks(run.tiny)[:3]
    half = formats(run.device)[-1]
    for name, size in wanted:
        for form in (formats(run.device)[0],) if run.tiny else (half, formats(run.device)[0]):
            with run.part(f"{name} {size} {form[0]}"):
                _compile_one(run, name, size, form)


def _compile_one(run: Run, name: str, size: Size, form: Format) -> None:
    model, _ = make_network(name, size)
    # a trial only traces: to compile for a CPU takes a minute
    backend = "eager" if run.tiny else "inductor"
    with cast(model, form, run.device) as copy:
        inputs = [x.to(run.device, form[1]) for x in noise(model)]
        expected = copy(*inputs)
        compiled: nn.Module = torch.compile(copy, backend=backend)  # type: ignore[assignment]
        first = seconds(partial(compiled, *inputs), run.device)
        got = compiled(*inputs)
        repeats = 2 if run.tiny else 20
        run.add(
            model=name,
            size=list(size),
            format=form[0],
            first_s=round(first, 1),
            relative_error=float((got.float() - expected.float()).norm() / expected.float().norm()),
            compiled_ms=call_ms(partial(compiled, *inputs), run.device, repeats),
            eager_ms=call_ms(partial(copy, *inputs), run.device, repeats),
        )

"""`mambaseg synth`: sequences with exact labels."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from mambaseg_core.cli.app import app, console, progress_bar, size_of

SECONDS, IMAGE_SIZE = 2.0, (540, 720)  # of a single sequence; the benchmark has its own


@app.command()
def synth(
    out: Annotated[Path, typer.Argument(help="folder for the sequence, or for the benchmark's two parts")],
    name: Annotated[str, typer.Option(help="name of the sequence")] = "synthetic_00_a",
    condition: Annotated[str, typer.Option(help="day, night, glare, tunnel, rain, fast or turn")] = "day",
    seconds: Annotated[
        float | None, typer.Option(help="length of a drive, seconds; default 2, benchmark 0.35 (pairs: 1)")
    ] = None,
    fps: Annotated[float, typer.Option(help="images and labels per second")] = 20.0,
    seed: Annotated[int, typer.Option(help="the same seed always makes the same sequence")] = 0,
    event_size: Annotated[str, typer.Option(help="event camera, height x width")] = "480x640",
    image_size: Annotated[
        str | None,
        typer.Option(help="frame camera, height x width; default 540x720. Benchmark: 240x320 for both cameras"),
    ] = None,
    sensor: Annotated[
        str | None, typer.Option(help="event camera: davis346 or gen3; default gen3. The benchmark has both")
    ] = None,
    benchmark: Annotated[
        bool, typer.Option("--benchmark", help="write one fixed train and test split, all conditions")
    ] = False,
    sequences: Annotated[
        tuple[int, int] | None,
        typer.Option(help="drives of each condition, train and test; default: benchmark 56 12, pairs 1 1"),
    ] = None,
    second: Annotated[str, typer.Option(help="second input: events, thermal or depth")] = "events",
    jobs: Annotated[int, typer.Option(help="processes, for parts train and test")] = os.cpu_count() or 1,
) -> None:
    """Write a synthetic driving sequence with exact labels, in DSEC's layout; or the benchmark.

    With thermal or depth images, it writes a data set in MFNet's layout: one drive for training and one for testing, or
    all drives of the benchmark. Published numbers use the benchmark's default length, size and sequences.

    Example: mambaseg synth data --seconds 2 --condition night --seed 1
    """
    from mambaseg_core.synth.benchmark_set import write_benchmark
    from mambaseg_core.synth.dsec_drive import write_sequence
    from mambaseg_core.synth.rgbx_pairs import write_pairs

    if sensor is not None and (benchmark or second != "events"):
        without = f"--second {second}, which has no events" if second != "events" else "--benchmark, which has all"
        raise ValueError(f"sensor is {sensor!r}, expected none with {without}; leave it out")
    given: dict[str, Any] = {} if seconds is None else {"seconds": seconds}
    if image_size is not None:
        given["size"] = size_of("image_size", image_size)
    if sequences is not None:
        given["sequences"] = dict(zip(("train", "test"), sequences, strict=True))
    if second != "events":
        alone = {"conditions": (condition,), "sequences": {"train": 1, "test": 1}, "fps": fps, "seed": seed}
        alone |= {"seconds": SECONDS, "size": IMAGE_SIZE}
        with progress_bar("rendering drives") as progress:
            pairs = write_pairs(out, second, **{**({} if benchmark else alone), **given}, jobs=jobs, progress=progress)
        console.print(f"{out}: {pairs} labelled pairs, parts train and test", highlight=False, soft_wrap=True)
        return
    if benchmark:
        with progress_bar("rendering sequences") as progress:
            labels = write_benchmark(out, **given, jobs=jobs, progress=progress)
        console.print(f"{out}: {labels} labelled images, parts train and test", highlight=False, soft_wrap=True)
        return
    with progress_bar("rendering") as progress:
        summary = write_sequence(
            out,
            name=name,
            condition=condition,
            seconds=given.get("seconds", SECONDS),
            fps=fps,
            seed=seed,
            image_size=given.get("size", IMAGE_SIZE),
            event_size=size_of("event_size", event_size),
            sensor=sensor or "gen3",
            progress=progress,
        )
    console.print(f"{summary.path}: {summary.images} images, {summary.events} events, {summary.labels} labels")

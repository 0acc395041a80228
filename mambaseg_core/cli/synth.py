"""`mambaseg synth`: sequences with exact labels."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from mambaseg_core.cli.app import app, console, progress_bar


@app.command()
def synth(
    out: Annotated[Path, typer.Argument(help="folder that gets the sequence, or the benchmark's two parts")],
    name: Annotated[str, typer.Option(help="name of the sequence")] = "synthetic_00_a",
    condition: Annotated[str, typer.Option(help="day, night, glare or fast")] = "day",
    seconds: Annotated[float, typer.Option(help="length, seconds")] = 2.0,
    fps: Annotated[float, typer.Option(help="images and labels per second")] = 20.0,
    seed: Annotated[int, typer.Option(help="the same seed gives the same sequence")] = 0,
    event_size: Annotated[str, typer.Option(help="event camera, height x width")] = "480x640",
    image_size: Annotated[str, typer.Option(help="frame camera, height x width")] = "540x720",
    benchmark: Annotated[
        bool, typer.Option("--benchmark", help="one fixed train and test split instead, 240x320, all conditions")
    ] = False,
    modality: Annotated[str, typer.Option(help="beside the images: events; or thermal or depth pictures")] = "events",
    jobs: Annotated[int, typer.Option(help="processes, for parts train and test")] = os.cpu_count() or 1,
) -> None:
    """Write a synthetic driving sequence with exact labels, in DSEC's layout; or the benchmark.

    With thermal or depth pictures: a data set in MFNet's layout with a drive for training and one for testing, or with
    all those of the benchmark.

    Example: mambaseg synth data --seconds 2 --condition night --seed 1
    """
    from mambaseg_core.synth.benchmark_set import SEQUENCES, SIZE, write_benchmark
    from mambaseg_core.synth.conditions import CONDITIONS
    from mambaseg_core.synth.dsec_drive import write_sequence
    from mambaseg_core.synth.rgbx_pairs import FPS, SECONDS, write_pairs

    if modality != "events":
        with progress_bar("rendering drives") as progress:
            pairs = write_pairs(
                out,
                modality,
                conditions=tuple(CONDITIONS) if benchmark else (condition,),
                sequences=SEQUENCES if benchmark else {"train": 1, "test": 1},
                seconds=SECONDS if benchmark else seconds,
                fps=FPS if benchmark else fps,
                size=SIZE if benchmark else _size("image_size", image_size),
                seed=0 if benchmark else seed,
                jobs=jobs,
                progress=progress,
            )
        console.print(f"{out}: {pairs} labelled pairs, parts train and test", highlight=False, soft_wrap=True)
        return
    if benchmark:
        with progress_bar("rendering sequences") as progress:
            labels = write_benchmark(out, jobs=jobs, progress=progress)
        console.print(f"{out}: {labels} labelled images, parts train and test")
        return
    with progress_bar("rendering") as progress:
        summary = write_sequence(
            out,
            name=name,
            condition=condition,
            seconds=seconds,
            fps=fps,
            seed=seed,
            image_size=_size("image_size", image_size),
            event_size=_size("event_size", event_size),
            progress=progress,
        )
    console.print(f"{summary.path}: {summary.images} images, {summary.events} events, {summary.labels} labels")


def _size(what: str, text: str) -> tuple[int, int]:
    parts = text.split("x")
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        raise ValueError(f"{what} is {text!r}, expected height x width in pixels, such as 240x320")
    return int(parts[0]), int(parts[1])

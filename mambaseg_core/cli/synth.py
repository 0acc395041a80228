"""`mambaseg synth`: sequences with exact labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mambaseg_core.cli.app import app, console, progress_bar


@app.command()
def synth(
    out: Annotated[Path, typer.Argument(help="folder that gets the sequence as a subfolder")],
    name: Annotated[str, typer.Option(help="name of the sequence")] = "synthetic_00_a",
    seconds: Annotated[float, typer.Option(help="length, seconds")] = 2.0,
    seed: Annotated[int, typer.Option(help="the same seed gives the same sequence")] = 0,
) -> None:
    """Write a synthetic driving sequence with exact labels, in DSEC's layout.

    Example: mambaseg synth data --seconds 2 --seed 1
    """
    from mambaseg_core.data.synthetic import write_sequence

    with progress_bar("rendering") as progress:
        summary = write_sequence(out, name=name, seconds=seconds, seed=seed, progress=progress)
    console.print(f"{summary.path}: {summary.images} images, {summary.events} events, {summary.labels} labels")

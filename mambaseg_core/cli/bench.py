"""`mambaseg bench`: what this machine does in which time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from mambaseg_core.cli.app import app, console

bench = typer.Typer(help="Measure this machine: the scans, a whole network.", no_args_is_help=True)
app.add_typer(bench, name="bench")
Repeats = Annotated[int, typer.Option(help="runs of each task; the median counts", min=1)]
Threads = Annotated[int, typer.Option(help="threads of torch", min=1)]


def _print_lines(lines: Iterator[str]) -> None:
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


@bench.command()
def kernels(
    repeats: Repeats = 9,
    threads: Threads = 2,
    slow: Annotated[bool, typer.Option(help="time the sequential loop too, half a minute")] = True,
) -> None:
    """Time the compiled scans against other ways to compute them, as a Markdown table.

    Example: mambaseg bench kernels --repeats 7 --no-slow
    """
    from mambaseg_core.bench.kernels import kernel_table

    _print_lines(kernel_table(repeats, threads, slow=slow))


@bench.command()
def model(
    name: Annotated[str, typer.Argument(help="a model's name, as `mambaseg info` lists them")] = "mambaseg_ddd17",
    repeats: Repeats = 7,
    threads: Threads = 2,
) -> None:
    """Time one frame of a whole network by precision and back end, and its memory, as a Markdown table.

    Example: mambaseg bench model mambaseg_ddd17
    """
    from mambaseg_core.bench.model import model_table

    _print_lines(model_table(name, repeats, threads))


@bench.command()
def sequential(
    name: Annotated[str, typer.Argument(help="a model's name, as `mambaseg info` lists them")] = "sigma_tiny",
    height: Annotated[int, typer.Option(help="rows of the frame; 0: the preset's")] = 0,
    width: Annotated[int, typer.Option(help="columns of the frame; 0: the preset's")] = 0,
    repeats: Repeats = 7,
) -> None:
    """Compare the CPU time of one frame with that of the same weights on a sequential scan, as a Markdown table.

    The sequential scan runs once: at 480x640 it takes minutes and several GB.

    Example: mambaseg bench sequential sigma_tiny --height 240 --width 320
    """
    from mambaseg_core.bench.sequential import sequential_table
    from mambaseg_core.cli.convert import sensor_size

    _print_lines(sequential_table(name, sensor_size(height, width), repeats))

"""`mambaseg bench`: time and memory on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from mambaseg_core.cli.app import app, console

bench = typer.Typer(help="Measure this machine with a whole network.", no_args_is_help=True)
app.add_typer(bench, name="bench")
Repeats = Annotated[int, typer.Option(help="runs of each task; the median counts", min=1)]
Threads = Annotated[int, typer.Option(help="threads of torch", min=1)]


def _print_lines(lines: Iterator[str]) -> None:
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


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

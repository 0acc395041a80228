"""The `mambaseg` command: what needs no ROS. `mambaseg_ros.cli` adds `bag`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

app = typer.Typer(
    help="Semantic masks of the road scene from a camera and an event camera.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
console = Console()


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar as a callable that takes steps done and steps in all."""
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(what)
        yield lambda done, total: bar.update(task, completed=done, total=total)


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


@app.command()
def info(
    name: Annotated[str, typer.Argument(help="a model's name; without one all are listed")] = "",
    height: Annotated[int, typer.Option(help="rows of the input, pixels; 0: as the model was made")] = 0,
    width: Annotated[int, typer.Option(help="columns of the input, pixels; 0: as the model was made")] = 0,
) -> None:
    """Print a model's size: every parameter and every multiply-add, the scans included.

    Example: mambaseg info mambaseg_ddd17
    """
    import torch

    from mambaseg_core.models import create_model, list_models
    from mambaseg_core.profile import profile_model

    if bool(height) != bool(width):
        raise ValueError(f"height is {height} and width is {width}; expected both or none: give both")
    table = Table("model", "input", "classes", "parameters", "MACs in products", "MACs in scans", "MACs")
    for model_name in [name] if name else list_models():
        with torch.device("meta"):
            model = create_model(model_name, image_size=(height, width) if height and width else None)
        size = model.image_size
        profile = profile_model(model)
        table.add_row(
            model_name,
            f"{size[0]}x{size[1]}",
            str(model.num_classes),
            f"{profile.parameters / 1e6:.2f} M",
            f"{profile.product_macs / 1e9:.2f} G",
            f"{profile.scan_macs / 1e9:.2f} G",
            f"{profile.macs / 1e9:.2f} G",
        )
    console.print(table)


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

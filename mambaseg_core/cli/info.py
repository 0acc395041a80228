"""`mambaseg info`: size of a model, or content of a recording."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table

from mambaseg_core.cli.app import app, console, progress_bar
from mambaseg_core.cli.convert import Columns, Encoding, TimeUnit, Topic, settings

if TYPE_CHECKING:
    from mambaseg_core.recordings.open import Settings

_MOST_HOT = 5  # pixels listed


@app.command()
def info(
    name: Annotated[str, typer.Argument(help="a model's name or a file of events; default: all models")] = "",
    height: Annotated[int, typer.Option(help="rows of the model's input or of the sensor; 0: default")] = 0,
    width: Annotated[int, typer.Option(help="columns of the model's input or of the sensor; 0: default")] = 0,
    topic: Topic = "",
    encoding: Encoding = "",
    time_unit: TimeUnit = "",
    columns: Columns = "",
) -> None:
    """Print a model's size, including the scans, or the content of a file of events.

    Files: DSEC's events.h5, DDD17 folders, HDF5 of Metavision, MVSEC, M3ED, DDD17 and DDD20, .raw, .dat, AEDAT 2, 3.1
    and 4, tables (.npy, .npz, CSV) and ROS bags. An argument that exists as a path is a file.

    Example: mambaseg info mambaseg_ddd17

    Example: mambaseg info recording.raw
    """
    given = settings(height, width, topic=topic, encoding=encoding, time_unit=time_unit, columns=columns)
    if Path(name).suffix or "/" in name or (name and Path(name).exists()):
        _print_file(Path(name), given)
    else:
        _print_models(name, given.size)


def _print_file(path: Path, given: Settings) -> None:
    from mambaseg_core.recordings import open_events
    from mambaseg_core.recordings.summary import summarise

    with open_events(path, **given._asdict()) as reader, progress_bar("reading") as progress:
        summary = summarise(reader, progress)
    hot = ", ".join(f"({x}, {y}): {count}" for x, y, count in summary.hot_pixels[:_MOST_HOT])
    rows = {
        "format": f"{reader.format}, {reader.encoding}",
        "sensor": f"{reader.width}x{reader.height}",
        "events": f"{summary.events}",
        "duration": f"{summary.duration_s:.6f} s",
        "first, last": f"{summary.start_ns} ns, {max(summary.start_ns, summary.end_ns - 1)} ns",
        "rate": f"{summary.rate / 1e6:.3f} M/s, at most {max(summary.rate, summary.peak_rate) / 1e6:.3f} M/s in 10 ms",
        "ON, OFF": f"{summary.on}, {summary.events - summary.on} ({summary.on / max(1, summary.events):.1%} ON)",
        "hot pixels": f"{len(summary.hot_pixels)}{f'; (column, row): events {hot}' if hot else ''}",
    }
    met = {name: count for name, count in summary.counters.items() if count and name not in ("events", "packets")}
    if met:
        rows["faults"] = ", ".join(f"{name} {count}" for name, count in met.items())
    table = Table(show_header=False)
    for label, value in rows.items():
        table.add_row(label, value)
    console.print(table)


def _print_models(name: str, size: tuple[int, int] | None) -> None:
    import torch

    from mambaseg_core.checkpoint import create_model
    from mambaseg_core.models import list_models
    from mambaseg_core.profile import profile_model

    numbers = ("input", "classes", "parameters", "MACs in products", "MACs in scans", "MACs")
    table = Table(Column("model", no_wrap=True), *numbers)
    for model_name in [name] if name else list_models():
        with torch.device("meta"):
            model = create_model(model_name, image_size=size)
        profile = profile_model(model)
        table.add_row(
            model_name,
            f"{model.image_size[0]}x{model.image_size[1]}",
            str(model.num_classes),
            f"{profile.parameters / 1e6:.2f} M",
            f"{profile.product_macs / 1e9:.2f} G",
            f"{profile.scan_macs / 1e9:.2f} G",
            f"{profile.macs / 1e9:.2f} G",
        )
    console.print(table)

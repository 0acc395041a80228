"""`mambaseg info`: what a model is."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Column, Table

from mambaseg_core.cli.app import app, console


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
    numbers = ("input", "classes", "parameters", "MACs in products", "MACs in scans", "MACs")
    table = Table(Column("model", no_wrap=True), *numbers)
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

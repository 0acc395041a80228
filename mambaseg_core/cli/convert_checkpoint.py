"""`mambaseg convert checkpoint`: the authors' weights to our checkpoint format, and ours to half the size."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mambaseg_core.cli.app import console, warn
from mambaseg_core.cli.convert import convert


@convert.command("checkpoint")
def checkpoint(
    source: Annotated[Path, typer.Argument(help="a file of weights: the authors' best_model.pth, or ours")],
    out: Annotated[Path, typer.Argument(help="the checkpoint to write, .safetensors")],
    model: Annotated[str, typer.Option(help="model of a .pth, such as mambaseg_ddd17 or sigma_tiny")] = "mambaseg_dsec",
    half: Annotated[bool, typer.Option("--half", help="store float16, half the size")] = False,
) -> None:
    """Convert a released checkpoint of MambaSeg or Sigma to safetensors, with configuration and preprocessing inside.

    Example: mambaseg convert checkpoint best_model.pth mambaseg_ddd17.safetensors --model mambaseg_ddd17
    """
    from mambaseg_core.checkpoint import create_model, load_checkpoint, names_model, save_checkpoint

    if out.suffix != ".safetensors":
        raise ValueError(f"out is {out}; expected a name that ends in .safetensors")
    network = load_checkpoint(source)[0] if names_model(source) else create_model(model, weights=source, warn=warn)
    out.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(out, network.half() if half else network)
    size = out.stat().st_size / 1e6
    console.print(f"{out}: {network.name}, {size:.1f} MB", highlight=False, soft_wrap=True)

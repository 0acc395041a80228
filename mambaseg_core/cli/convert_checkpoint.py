"""`mambaseg convert checkpoint`: the authors' weights as a checkpoint of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mambaseg_core.cli.app import console
from mambaseg_core.cli.convert import convert


@convert.command("checkpoint")
def checkpoint(
    source: Annotated[Path, typer.Argument(help="the authors' best_model.pth")],
    out: Annotated[Path, typer.Argument(help="the checkpoint to write, .safetensors")],
    model: Annotated[str, typer.Option(help="mambaseg_dsec or mambaseg_ddd17")] = "mambaseg_dsec",
) -> None:
    """Convert a checkpoint of the released MambaSeg code to safetensors, with configuration and preprocessing inside.

    Example: mambaseg convert checkpoint best_model.pth mambaseg_ddd17.safetensors --model mambaseg_ddd17
    """
    from mambaseg_core.checkpoint import load_weights, save_checkpoint
    from mambaseg_core.models import create_model
    from mambaseg_core.preprocessing import preset_preprocessing

    if source.suffix not in (".pth", ".pt"):
        raise ValueError(f"source is {source}; expected the authors' file, whose name ends in .pth")
    if out.suffix != ".safetensors":
        raise ValueError(f"out is {out}; expected a name that ends in .safetensors")
    network = create_model(model)
    setup = preset_preprocessing(model, size=network.image_size, channels=network.in_channels)
    load_weights(network, source)
    out.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(out, network, setup)
    console.print(f"{out}: {model}", highlight=False, soft_wrap=True)

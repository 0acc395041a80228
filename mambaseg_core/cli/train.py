"""`mambaseg train`: from data to weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from mambaseg_core.cli.app import app, console, warn


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="a YAML file such as config/train/dsec.yaml")],
    out: Annotated[Path, typer.Option(help="folder of the run: weights, metrics, state")] = Path("runs/run"),
    data: Annotated[str, typer.Option(help="folder of the data set; replaces data.root")] = "",
    resume: Annotated[bool, typer.Option(help="resume the run in the folder, if there is one")] = False,
    change: Annotated[
        list[str] | None, typer.Option("--set", help="a value of the configuration, such as loop.steps=500")
    ] = None,
    accelerator: Annotated[str, typer.Option(help="auto, cpu or gpu")] = "auto",
    wait: Annotated[float, typer.Option(help="longest wait for the run's other processes, seconds", min=0.0)] = 30.0,
    threads: Annotated[int, typer.Option(help="torch's CPU threads; 0: all cores; use 1 on a busy machine", min=0)] = 0,
) -> None:
    """Train a model. Ctrl-C stops it after the step; the same command with --resume continues.

    Example: mambaseg train config/train/synthetic.yaml --data data/benchmark --out runs/nano
    """
    from mambaseg_core.training.config import read_config

    changes = parse_changes(change or [])
    if data:
        changes["data.root"] = data
    settings = read_config(config, changes)
    require_lightning()
    import logging

    import torch

    from mambaseg_core.training.callbacks import StoppedError
    from mambaseg_core.training.run import train as run

    if threads:
        torch.set_num_threads(threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    try:
        result = run(
            settings,
            out,
            resume=resume,
            accelerator=accelerator,
            progress=console.is_terminal,
            wait_s=wait,
            warn=warn,
        )
    except StoppedError as stopped:
        console.print(f"{out}: {stopped}", highlight=False, soft_wrap=True)
        raise typer.Exit(130) from None
    console.print(f"{result.last}: validation mIoU {100 * result.miou:.2f} %", highlight=False, soft_wrap=True)


def parse_changes(words: list[str]) -> dict[str, Any]:
    """Parse words such as `loop.steps=500` to values by "section.key".

    Raises:
        ValueError: a word has no "=" or no ".", or its value is no YAML.
    """
    changes = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or "." not in name:
            raise ValueError(f"--set is {word!r}; expected section.key=value, such as loop.steps=500")
        try:
            changes[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ValueError(f"--set is {word!r}; expected a value of YAML, as loop.steps=500") from error
    return changes


def require_lightning() -> None:
    """Raise ValueError, with what to install, if training's libraries are missing.

    Raises:
        ValueError: Lightning or TensorBoard cannot be imported.
    """
    for name in ("lightning", "tensorboard"):
        try:
            __import__(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
            raise ValueError(
                f"training needs {name}, which is not installed; install it with: pip install 'mambaseg[train]'"
            ) from error

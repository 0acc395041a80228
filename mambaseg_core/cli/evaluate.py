"""`mambaseg eval`: scores of a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from mambaseg_core.cli.app import app, console, progress_bar
from mambaseg_core.cli.convert import Registered


@app.command("eval")
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="a .safetensors file, such as runs/nano/best.safetensors")],
    data: Annotated[str, typer.Argument(help="folder of the data set")],
    split: Annotated[str, typer.Option(help="split of the data set")] = "test",
    keep: Annotated[str, typer.Option(help="both, image or second; the other input is blanked")] = "both",
    out: Annotated[Path | None, typer.Option(help="folder for report.html and scores.json")] = None,
    batch: Annotated[int, typer.Option(help="samples per forward pass", min=1)] = 4,
    workers: Annotated[int, typer.Option(help="processes that load data", min=0)] = 2,
    samples: Annotated[int, typer.Option(help="number of samples, evenly spread; 0: all", min=0)] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
    scales: Annotated[
        list[float] | None, typer.Option(help="factors of the inputs' size, such as: --scales 0.75 1.0 1.25")
    ] = None,
    flip: Annotated[bool, typer.Option("--flip", help="also use the mirrored inputs")] = False,
    registered: Registered = False,
    more_scales: Annotated[list[float] | None, typer.Argument(hidden=True)] = None,
) -> None:
    """Evaluate a checkpoint: mIoU, IoU of each class, accuracy and confusion, by condition.

    Example: mambaseg eval runs/nano/best.safetensors data/benchmark --out out/eval
    """
    from mambaseg_core.checkpoint import load_checkpoint
    from mambaseg_core.data.loading import layout_of, open_dataset
    from mambaseg_core.evaluation.evaluate import evaluate as judge
    from mambaseg_core.evaluation.report import absent_sentence, class_rows, summary_rows, write_html, write_json
    from mambaseg_core.inference import choose_device
    from mambaseg_core.training.config import INPUTS

    if more_scales and not scales:
        raise ValueError(f"got {more_scales} after the data set; expected nothing there, or --scales before: add it")
    factors = [*(scales or [1.0]), *(more_scales or [])]
    if keep not in INPUTS:
        raise ValueError(f"--keep is {keep!r}; expected one of {', '.join(INPUTS)}")
    chosen = choose_device(device)
    model, setup = load_checkpoint(checkpoint)
    dataset = open_dataset(layout_of(setup, data), data, split, setup, registered=registered)
    with progress_bar("evaluating") as progress:
        found = judge(
            model,
            dataset,
            device=chosen,
            keep=keep,
            scales=factors,
            flip=flip,
            batch=batch,
            workers=workers,
            samples=samples,
            progress=progress,
        )
    for head, rows in (
        (("condition", "samples", "mIoU %", "accuracy %"), summary_rows(found)),
        (("class: IoU %", "all", *found.by_condition), class_rows(found)),
    ):
        table = Table(*head)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    console.print(absent_sentence(found), highlight=False)
    if out is not None:
        about: dict[str, Any] = {"checkpoint": str(checkpoint), "data": data, "split": split, "inputs": keep}
        about |= {"scales": factors, "flip": flip}
        write_json(out / "scores.json", found, about)
        write_html(out / "report.html", found, about)
        console.print(f"{out / 'report.html'}, {out / 'scores.json'}", highlight=False, soft_wrap=True)

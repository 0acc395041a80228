"""`mambaseg eval`: scores of a checkpoint."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from mambaseg_core.cli.app import Engine, app, console, progress_bar, warn
from mambaseg_core.cli.convert import Registered

if TYPE_CHECKING:
    from torch import nn

    from mambaseg_core.evaluation.results import Evaluation


@app.command("eval")
def evaluate(
    checkpoint: Annotated[
        Path, typer.Argument(help="a .safetensors file, such as runs/nano/best.safetensors, or an exported file")
    ],
    data: Annotated[str, typer.Argument(help="folder of the data set")],
    split: Annotated[str, typer.Option(help="split of the data set")] = "test",
    keep: Annotated[str, typer.Option(help="both, image or second; the other input is blanked")] = "both",
    ages: Annotated[
        str, typer.Option(help="ages of the image in ms, such as 0,33,66,100; events are always new")
    ] = "0",
    full: Annotated[
        bool, typer.Option("--full", help="ages 0,33,66,100 with both inputs, the image and the second alone: slow")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="folder for report.html and scores.json")] = None,
    batch: Annotated[int, typer.Option(help="samples per forward pass", min=1)] = 4,
    workers: Annotated[int, typer.Option(help="processes that load data", min=0)] = 2,
    samples: Annotated[int, typer.Option(help="number of samples, evenly spread; 0: all", min=0)] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
    engine: Engine = "auto",
    scales: Annotated[
        list[float] | None, typer.Option(help="factors of the inputs' size, such as: --scales 0.75 1.0 1.25")
    ] = None,
    flip: Annotated[bool, typer.Option("--flip", help="also use the mirrored inputs")] = False,
    registered: Registered = False,
    more_scales: Annotated[list[float] | None, typer.Argument(hidden=True)] = None,
) -> None:
    """Evaluate a checkpoint: mIoU, IoU of each class, accuracy and confusion, by condition and region.

    Example: mambaseg eval runs/nano/best.safetensors data/benchmark --out out/eval

    --full runs the model nine times for each sample and not once: it tells where events count, and what is left with an
    old image. Regions are boundary, dark, saturated, moving and, for old images, changed.
    """
    import torch

    from mambaseg_core.checkpoint import load_checkpoint
    from mambaseg_core.data.loading import layout_of, open_dataset
    from mambaseg_core.engines.open import check_engine, is_exported, open_network
    from mambaseg_core.evaluation.evaluate import AGES_MS, PARTS
    from mambaseg_core.evaluation.evaluate import evaluate as judge
    from mambaseg_core.evaluation.prior import find_prior
    from mambaseg_core.evaluation.report import write_html, write_json
    from mambaseg_core.inference import choose_device
    from mambaseg_core.models.presets import preprocessing_of
    from mambaseg_core.training.config import INPUTS

    if more_scales and not scales:
        raise ValueError(f"got {more_scales} after the data set; expected nothing there, or --scales before: add it")
    factors = [*(scales or [1.0]), *(more_scales or [])]
    if keep not in INPUTS:
        raise ValueError(f"--keep is {keep!r}; expected one of {', '.join(INPUTS)}")
    if full and (keep, ages) != ("both", "0"):
        raise ValueError(
            f"--full came with --keep {keep} and --ages {ages}; expected it alone, as it stands for all inputs and the "
            "ages 0,33,66,100: leave out one or the other"
        )
    ages_ms = AGES_MS if full else _numbers(ages)
    check_engine(engine, checkpoint)
    if is_exported(checkpoint):
        model: nn.Module = open_network(checkpoint, engine=engine, device=device, warn=warn)
        setup, chosen = preprocessing_of(model), torch.device("cpu")  # what feeds the engine
    else:
        chosen = choose_device(device)
        model, setup = load_checkpoint(checkpoint)
    opened = partial(open_dataset, layout_of(setup, data), data, preprocessing=setup, registered=registered)
    dataset = opened(split)
    prior = find_prior(opened, dataset, split)
    with progress_bar("evaluating") as progress:
        found = judge(
            model,
            dataset,
            device=chosen,
            keep=PARTS if full else keep,
            ages_ms=ages_ms,
            prior=prior,
            scales=factors,
            flip=flip,
            batch=batch,
            workers=workers,
            samples=samples,
            progress=progress,
        )
    _print(found)
    if out is not None:
        about: dict[str, Any] = {"checkpoint": str(checkpoint), "data": data, "split": split}
        about |= {"inputs": found.inputs if full else keep, "ages_ms": found.ages_ms, "scales": factors, "flip": flip}
        write_json(out / "scores.json", found, about)
        write_html(out / "report.html", found, about)
        console.print(f"{out / 'report.html'}, {out / 'scores.json'}", highlight=False, soft_wrap=True)


def _print(found: Evaluation) -> None:
    from mambaseg_core.evaluation import tables

    settings = ((tables.setting_head(found, "condition"), tables.condition_rows(found)),)
    for head, rows in (
        (tables.SUMMARY, tables.summary_rows(found)),
        (("class: IoU %", "all", *found.by_condition), tables.class_rows(found)),
        *(settings if len(found.tallies) > 1 else ()),
        (tables.setting_head(found, "region: mIoU %"), tables.region_rows(found)),
    ):
        table = Table(*head)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    notes = (tables.absent_sentence(found), *tables.age_sentences(found), tables.prior_sentence(found))
    for note in filter(None, notes):
        console.print(note, highlight=False)


def _numbers(text: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",")]
    except ValueError as error:
        raise ValueError(
            f"--ages is {text!r}; expected numbers with commas between them, such as 0,33,66,100"
        ) from error

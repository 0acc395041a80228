"""`mambaseg view`: a recording and its masks in the viewer of Rerun."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mambaseg_core.cli.app import app, console, progress_bar, warn
from mambaseg_core.cli.convert import Height, Registered, Width
from mambaseg_core.cli.predict import CalibrationFiles, EventsTopic, ImageTopic, open_source


@app.command()
def view(
    source: Annotated[Path, typer.Argument(help="any recording that `predict` takes")],
    weights: Annotated[
        str, typer.Option(help="make masks with this .safetensors file or exported file; default: no masks")
    ] = "",
    save: Annotated[Path | None, typer.Option(help="write this .rrd file instead of opening the viewer")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
    registered: Registered = False,
    calibration: CalibrationFiles = "",
    image_topic: ImageTopic = "",
    events_topic: EventsTopic = "",
    height: Height = 0,
    width: Width = 0,
) -> None:
    """Show a recording in Rerun: images, events, masks and times on one time line. Needs `pip install rerun-sdk`.

    Example: mambaseg view data/zurich_city_13_a --weights runs/nano/best.safetensors --save 13_a.rrd
    """
    from mambaseg_core.evaluation.predict import is_recorded
    from mambaseg_core.evaluation.rerun_view import import_rerun, write_view
    from mambaseg_core.inference import Segmenter

    import_rerun()
    segmenter = Segmenter(weights, device, warn=warn) if weights else None
    recording, numbers = open_source(
        source,
        "events" if segmenter is None else segmenter.preprocessing.second,
        registered=registered or (segmenter is None and not calibration and is_recorded(source)),  # none is laid over
        calibration=calibration,
        topics=(image_topic, events_topic),
        size=(height, width),
    )
    if segmenter is not None:
        segmenter.calibration = recording.calibration
    with progress_bar("reading") as progress:
        name = source.resolve().name
        write_view(recording, numbers, save, name=name, segmenter=segmenter, progress=progress)
    console.print(f"{save or 'the viewer'}: {len(numbers)} images", highlight=False, soft_wrap=True)

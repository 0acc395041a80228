"""`mambaseg predict`: masks of a recorded sequence."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import typer

from mambaseg_core.cli.app import Engine, app, console, progress_bar, warn
from mambaseg_core.cli.convert import Registered


@app.command()
def predict(
    checkpoint: Annotated[
        Path, typer.Argument(help="a .safetensors file, such as runs/nano/best.safetensors, or an exported file")
    ],
    sequence: Annotated[
        Path, typer.Argument(help="folder of a sequence in DSEC's or DDD17's layout, of pairs, or of pictures")
    ],
    out: Annotated[Path, typer.Argument(help="folder for masks, overlays and the video")],
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
    precision: Annotated[
        str, typer.Option(help="float32, bfloat16 (if the processor has units for it), or tf32 or float16 (GPU only)")
    ] = "float32",
    engine: Engine = "auto",
    fps: Annotated[float, typer.Option(help="frames per second of the video", min=0.1)] = 20.0,
    registered: Registered = False,
) -> None:
    """Segment every image of a sequence: masks, overlays and a video. Repeat an interrupted call to continue it.

    Example: mambaseg predict runs/nano/best.safetensors data/benchmark/test/night_00 out/night_00
    """
    from mambaseg_core.evaluation.predict import open_recording, predict_sequence
    from mambaseg_core.inference import Segmenter

    segmenter = Segmenter(checkpoint, device, precision=precision, engine=engine, warn=warn)
    recording, numbers = open_recording(sequence, segmenter.preprocessing.second, registered=registered)
    segmenter.calibration = recording.calibration
    changed = checkpoint.stat().st_mtime_ns
    about = {"checkpoint": f"{checkpoint.resolve()} of {changed}", "sequence": str(sequence.resolve())}
    about["calibration"] = "none" if recording.calibration is None else recording.calibration.digest
    if names := getattr(recording, "names", ()):  # masks have the numbers of the pictures, which a new one shifts
        digest = hashlib.sha256("\n".join(names).encode(errors="surrogateescape")).hexdigest()
        about["names"] = f"{len(names)} of digest {digest[:12]}"
    with progress_bar("segmenting") as progress:
        found = predict_sequence(segmenter, recording, numbers, out, about=about, fps=fps, progress=progress)
    console.print(f"{found.video}: {found.written} masks written, {found.kept} kept", highlight=False, soft_wrap=True)

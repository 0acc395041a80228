"""`mambaseg predict`: masks of a recorded sequence."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mambaseg_core.cli.app import Engine, app, console, progress_bar, warn
from mambaseg_core.cli.convert import Height, Registered, Width, settings

if TYPE_CHECKING:
    from mambaseg_core.data.recorded_sequence import OpenBag
    from mambaseg_core.evaluation.predict import Recording

CalibrationFiles = Annotated[
    str, typer.Option("--calibration", help="the cameras of a bag or file, if their views differ: cam_to_cam.yaml, ...")
]
ImageTopic = Annotated[str, typer.Option(help="images of a bag or camera of a file; default: found by type")]
EventsTopic = Annotated[str, typer.Option(help="events of a bag or camera of a file; default: found by type")]
open_bag: OpenBag | None = None  # set by mambaseg_ros.cli: the core reads no messages of ROS


@app.command()
def predict(
    checkpoint: Annotated[
        Path, typer.Argument(help="a .safetensors file, such as runs/nano/best.safetensors, or an exported file")
    ],
    sequence: Annotated[
        Path,
        typer.Argument(
            help="folder of a sequence in DSEC's or DDD17's layout, of a DAVIS export, of pairs, or of pictures; a "
            "bag; or a file with images and events: AEDAT, HDF5 of MVSEC, M3ED, DDD17 or DDD20"
        ),
    ],
    out: Annotated[Path, typer.Argument(help="folder for masks, overlays and the video")],
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
    precision: Annotated[
        str, typer.Option(help="float32, bfloat16 (if the processor has units for it), or tf32 or float16 (GPU only)")
    ] = "float32",
    engine: Engine = "auto",
    fps: Annotated[float, typer.Option(help="frames per second of the video", min=0.1)] = 20.0,
    registered: Registered = False,
    calibration: CalibrationFiles = "",
    image_topic: ImageTopic = "",
    events_topic: EventsTopic = "",
    height: Height = 0,
    width: Width = 0,
) -> None:
    """Segment every image of a recording: masks, overlays and a video. Repeat an interrupted call to continue it.

    Example: mambaseg predict runs/nano/best.safetensors data/benchmark/test/night_00 out/night_00

    Example: mambaseg predict runs/nano/best.safetensors drive.mcap out/drive --calibration cam_to_cam.yaml
    """
    from mambaseg_core.evaluation.predict import predict_sequence
    from mambaseg_core.inference import Segmenter

    segmenter = Segmenter(checkpoint, device, precision=precision, engine=engine, warn=warn)
    recording, numbers = open_source(
        sequence,
        segmenter.preprocessing.second,
        registered=registered,
        calibration=calibration,
        topics=(image_topic, events_topic),
        size=(height, width),
    )
    segmenter.calibration = recording.calibration
    changed = checkpoint.stat().st_mtime_ns
    about = {"checkpoint": f"{checkpoint.resolve()} of {changed}", "sequence": str(sequence.resolve())}
    about["calibration"] = "none" if recording.calibration is None else recording.calibration.digest
    if image_topic or events_topic:
        about["topics"] = f"{image_topic} {events_topic}"
    if names := getattr(recording, "names", ()):  # masks have the numbers of the pictures, which a new one shifts
        digest = hashlib.sha256("\n".join(names).encode(errors="surrogateescape")).hexdigest()
        about["names"] = f"{len(names)} of digest {digest[:12]}"
    with progress_bar("segmenting") as progress:
        found = predict_sequence(segmenter, recording, numbers, out, about=about, fps=fps, progress=progress)
    if found.without_events:
        warn(
            f"{found.without_events} of {found.written} images have no events in their window: their clocks may differ"
        )
    console.print(f"{found.video}: {found.written} masks written, {found.kept} kept", highlight=False, soft_wrap=True)


def open_source(
    source: Path,
    second: str,
    *,
    registered: bool,
    calibration: str,
    topics: tuple[str, str],
    size: tuple[int, int],
) -> tuple[Recording, list[int]]:
    """Open the recording that the options of a command describe, and number its images.

    Args:
        source: the recording.
        second: as of `open_recording`.
        registered: as of `open_recording`.
        calibration: path of the cameras' file; "": none.
        topics: of images and events; "": found by type.
        size: (height, width) of the sensor; zeros: the recording's.

    Raises:
        ValueError: as of `open_recording`, or the calibration cannot be read.
    """
    from mambaseg_core.cameras import calibration_files
    from mambaseg_core.evaluation.predict import open_recording

    image_topic, events_topic = topics
    return open_recording(
        source,
        second,
        registered=registered,
        calibration=calibration_files.read(calibration) if calibration else None,
        settings=settings(*size, topic=events_topic),
        image_topic=image_topic,
        open_bag=open_bag,
    )

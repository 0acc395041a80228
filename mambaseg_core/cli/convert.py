"""`mambaseg convert`: conversion of recordings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mambaseg_core.cli.app import app, console, progress_bar

if TYPE_CHECKING:
    from mambaseg_core.recordings.open import Settings

convert = typer.Typer(help="Convert recordings: images to the event view, events to a video.", no_args_is_help=True)
app.add_typer(convert, name="convert")

Height = Annotated[int, typer.Option(help="rows of the sensor, if the file does not contain them", min=0)]
Width = Annotated[int, typer.Option(help="columns of the sensor, if the file does not contain them", min=0)]
Topic = Annotated[str, typer.Option(help="event topic of a bag, or camera of MVSEC or M3ED, of several")]
Encoding = Annotated[
    str, typer.Option(help="of a .raw file: evt2, evt21, evt21_legacy or evt3; default: its header's, if its words fit")
]
TimeUnit = Annotated[str, typer.Option(help="of a table's times: s, ms, us or ns; default: guessed, info shows it")]
Columns = Annotated[
    str, typer.Option(help="order of a table's nameless columns, as txyp; default: guessed, info shows it")
]
Registered = Annotated[
    bool, typer.Option("--registered", help="images and events have one view: DSEC's layout without calibration")
]


@convert.command("ev-inf")
def ev_inf(
    sequence: Annotated[Path, typer.Argument(help="folder of a DSEC sequence with its calibration")],
) -> None:
    """Warp a sequence's images to the event view: images/left/ev_inf/*.png. Can be interrupted and repeated.

    Example: mambaseg convert ev-inf data/zurich_city_13_a
    """
    from mambaseg_core.data.dsec import DsecSequence
    from mambaseg_core.data.ev_inf import write_ev_inf

    with progress_bar("warping") as progress:
        summary = write_ev_inf(DsecSequence(sequence), progress)
    console.print(f"{summary.folder}: {summary.written} images written, {summary.kept} kept", soft_wrap=True)


@convert.command("events-to-video")
def events_to_video(
    file: Annotated[Path, typer.Argument(help="a recording, a folder of DSEC or DDD17, or a bag")],
    out: Annotated[Path, typer.Argument(help="the video, .mp4 or .avi")],
    window: Annotated[float, typer.Option(help="events shown in one frame, ms")] = 40.0,
    fps: Annotated[float, typer.Option(help="frames per second")] = 25.0,
    slowdown: Annotated[float, typer.Option(help="10: ten times slower than recorded")] = 1.0,
    start: Annotated[float, typer.Option(help="start of the video, seconds after the first event")] = 0.0,
    seconds: Annotated[float, typer.Option(help="length of the part shown, seconds; 0: all")] = 0.0,
    height: Height = 0,
    width: Width = 0,
    topic: Topic = "",
    encoding: Encoding = "",
    time_unit: TimeUnit = "",
    columns: Columns = "",
) -> None:
    """Draw events as a video: ON (brighter) blue, OFF (darker) vermilion, on white.

    Example: mambaseg convert events-to-video recording.raw film.mp4 --window 10 --slowdown 10
    """
    from mambaseg_core.recordings import open_events
    from mambaseg_core.recordings.video import VideoTiming, write_video

    length_ns = round(seconds * 1e9) if seconds else None
    timing = VideoTiming(fps, round(window * 1e6), slowdown, round(start * 1e9), length_ns)
    given = settings(height, width, topic=topic, encoding=encoding, time_unit=time_unit, columns=columns)
    with open_events(file, **given._asdict()) as reader, progress_bar("drawing") as progress:
        frames = write_video(reader, out, timing, progress)
    console.print(f"{out}: {frames} frames of {reader.width}x{reader.height}", soft_wrap=True)


def sensor_size(height: int, width: int) -> tuple[int, int] | None:
    """Return (height, width) from the command line; None if both are 0.

    Raises:
        ValueError: only one is 0.
    """
    if bool(height) != bool(width):
        raise ValueError(f"height is {height} and width is {width}; expected both or none: give both")
    return (height, width) if height else None


def settings(height: int, width: int, **texts: str) -> Settings:
    """Return what the command line says about a recording; 0 and an empty text are not said.

    Raises:
        ValueError: only one of height and width is 0.
    """
    from mambaseg_core.recordings.open import Settings

    return Settings(sensor_size(height, width), **{name: text or None for name, text in texts.items()})

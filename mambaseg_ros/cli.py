"""The whole `mambaseg` command: that of mambaseg_core, and `bag`."""

from __future__ import annotations

import sys
from decimal import Decimal
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

import typer

from mambaseg_core.cli import app, console, predict, progress_bar, say, shown_warnings, warn
from mambaseg_core.cli.app import Engine
from mambaseg_core.cli.convert import Columns, Encoding, Height, TimeUnit, Width, settings

bag = typer.Typer(help="Convert, play, record and look at ROS 2 bags.", no_args_is_help=True)
app.add_typer(bag, name="bag")


def _open_bag(path: Path, image_topic: str, events_topic: str) -> tuple[Any, Any]:
    from mambaseg_ros.bag.bag_windows import open_bag_windows

    return open_bag_windows(path, image_topic, events_topic)


predict.open_bag = _open_bag


@bag.command()
def convert(
    source: Annotated[
        Path,
        typer.Argument(help="folder of a DSEC or DDD17 sequence or DAVIS export; a bag; a file that `info` reads"),
    ],
    out: Annotated[Path, typer.Argument(help="folder of the new bag")],
    images: Annotated[
        Path | None, typer.Option(help="folder of pictures with their timestamps.txt, for files of events alone")
    ] = None,
    images_unit: Annotated[str, typer.Option(help="unit of the times in timestamps.txt: s, ms, us or ns")] = "us",
    align: Annotated[
        str,
        typer.Option(
            help="two clocks: first (the first event at the first image), stamp (as they are, unchecked), or a time "
            "to add to the events, such as 1.5s or -20ms; default: as they are, refused if they cannot be one clock"
        ),
    ] = "",
    storage: Annotated[str, typer.Option(help="mcap or sqlite3")] = "mcap",
    image_topic: Annotated[str, typer.Option(help="images of a bag with several such topics")] = "",
    events_topic: Annotated[
        str, typer.Option("--events-topic", "--topic", help="events of a bag with several such topics")
    ] = "",
    height: Height = 0,
    width: Width = 0,
    encoding: Encoding = "",
    time_unit: TimeUnit = "",
    columns: Columns = "",
) -> None:
    """Write a recorded sequence to a bag with the topics /image and /events.

    Example: mambaseg bag convert data/zurich_city_13_a bags/13_a
    """
    from mambaseg_ros.bag.convert import convert

    given = settings(height, width, encoding=encoding, time_unit=time_unit, columns=columns)
    with progress_bar("converting") as progress:
        how: dict[str, Any] = {"images_unit": images_unit, "align": align, "settings": given}
        how |= {"image_topic": image_topic, "events_topic": events_topic}
        summary = convert(source, out, images=images, storage=storage, warn=warn, progress=progress, **how)
    console.print(f"{out}: {summary.images} images, {summary.events} events in {summary.packets} packets")
    if summary.shift_ns:
        console.print(f"events are {Decimal(summary.shift_ns).scaleb(-9)} s later than recorded", highlight=False)


@bag.command()
def play(
    source: Annotated[Path, typer.Argument(help="folder of a bag (mcap or sqlite3)")],
    rate: Annotated[float, typer.Option(help="1 is as recorded, 0.5 half as fast")] = 1.0,
    start: Annotated[float, typer.Option(help="seconds left out at the beginning")] = 0.0,
    loops: Annotated[int, typer.Option(help="how often the bag is played", min=1)] = 1,
    clock: Annotated[bool, typer.Option("--clock", help="publish the bag's time as /clock (use_sim_time)")] = False,
    wait: Annotated[float, typer.Option(help="longest wait for subscribers before the start, seconds")] = 10.0,
    need_subscriber: Annotated[
        bool, typer.Option("--need-subscriber", help="end with 1 where no topic has a subscriber after the wait")
    ] = False,
    topic: Annotated[list[str], typer.Option(help="publish this topic; repeat for more; default: all")] = [],  # noqa: B006
    exclude: Annotated[list[str], typer.Option(help="leave this topic out; repeat for more")] = [],  # noqa: B006
    longest_gap: Annotated[float, typer.Option(help="a longer time without a message is skipped, seconds")] = 60.0,
) -> None:
    """Publish a bag over DDS (needs rclpy). Topics of types that are not installed are left out with a warning.

    Example: mambaseg bag play bags/13_a --rate 0.5
    """
    from mambaseg_ros.bag.play import play

    counts = play(
        source,
        rate=rate,
        start_s=start,
        loops=loops,
        clock=clock,
        wait_for_subscribers_s=wait,
        need_subscriber=need_subscriber,
        topics=topic,
        exclude=exclude,
        longest_gap_s=longest_gap,
        say=lambda sentence: console.print(sentence, highlight=False, soft_wrap=True),
        warn=warn,
    )
    for name, count in counts.items():
        console.print(f"{name}: {count} messages")


@bag.command()
def record(
    out: Annotated[Path, typer.Argument(help="folder of the new mcap bag")],
    topics: Annotated[list[str], typer.Argument(help="absolute topic names")],
    idle: Annotated[
        float, typer.Option(help="end when nothing came for so many seconds after the first message; 0: never", min=0)
    ] = 0.0,
) -> None:
    """Write topics into a new mcap bag (needs rclpy).

    Example: mambaseg bag record bags/masks /mambaseg/mask /mambaseg/status
    """
    from mambaseg_ros.bag.record import record

    for topic, count in record(out, topics, idle_s=idle or None).items():
        console.print(f"{topic}: {count} messages")


@bag.command()
def segment(
    source: Annotated[Path, typer.Argument(help="bag with an image and an event topic, or one of a second camera")],
    out: Annotated[Path, typer.Argument(help="folder of the new bag with /mambaseg/mask")],
    weights: Annotated[
        str, typer.Option(help="checkpoint, exported file, or random; default: what ships with the model")
    ] = "",
    model: Annotated[str, typer.Option(help="the model's name, where the weights do not tell it: mambaseg_nano")] = "",
    calibration: Annotated[
        str, typer.Option(help="cam_to_cam.yaml, camchain.yaml or EVENT.yaml,IMAGE.yaml, where the views differ")
    ] = "",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
    engine: Engine = "auto",
    image_topic: Annotated[str, typer.Option(help="images; default: the bag's only topic of images, or /image")] = "",
    events_topic: Annotated[
        str,
        typer.Option(
            "--events-topic",
            "--second-topic",
            help="events, or thermal or depth images; default: the bag's only such topic, or /events",
        ),
    ] = "",
    registered: Annotated[
        bool, typer.Option("--registered", help="images and events of different sizes have one view")
    ] = False,
    rate: Annotated[
        float, typer.Option(help="masks a second of the stamps, from the newest image and the events; 0: one an image")
    ] = 0.0,
    image_age_max: Annotated[
        float | None, typer.Option(help="with --rate: maximum age of an image at a mask's time, milliseconds")
    ] = None,
    set_: Annotated[list[str], typer.Option("--set", help="a parameter of the node, as event_clock=sensor")] = [],  # noqa: B006
) -> None:
    """Make the mask of every image of a bag, or at a rate, offline; an interrupted run is taken up again.

    Example: mambaseg bag segment bags/13_a bags/13_a_masks --weights nano.safetensors --rate 30
    """
    from mambaseg_ros.bag.segment import segment
    from mambaseg_ros.parameters import read_parameters

    if image_age_max is not None and not rate:
        raise ValueError(
            f"--image-age-max is {image_age_max:g} and --rate is 0; expected a rate above 0: an image is as old as its "
            "own mask: give --rate too, or neither"
        )
    named: dict[str, Any] = {"weights": weights, "model": model, "calibration": calibration, "device": device}
    named["engine"] = engine
    named |= {"mask_rate_hz": rate, "image_age_max_ms": image_age_max}
    given = [f"{name}={value}" for name, value in named.items() if value not in ("", None)]
    with progress_bar("segmenting") as progress:
        result = segment(
            source,
            out,
            parameters=read_parameters([*given, *set_]),
            image_topic=image_topic,
            events_topic=events_topic,
            registered=registered,
            warn=warn,
            progress=progress,
        )
    for sentence, times in result.complaints.most_common():
        console.print(f"{times} times: {sentence}", markup=False, highlight=False, soft_wrap=True)
    if result.lost:
        warn(f"{result.lost} messages of events are missing by their seq: the driver or the recorder lost them")
    if result.outside:
        warn(f"{result.outside} events are left out: they lie outside the sensor, or are not of its encoding")
    at_times = f" at {result.mask_times} mask times" if result.mask_times else ""
    console.print(
        f"{out}: {result.masks} masks of {result.images} images{at_times}, {result.resumed} from an earlier run"
    )


@bag.command()
def pictures(
    source: Annotated[Path, typer.Argument(help="bag with an image and an event topic")],
    masks: Annotated[Path, typer.Argument(help="bag with the masks made from it")],
    out: Annotated[Path, typer.Argument(help="folder for the pictures")],
    labels: Annotated[str, typer.Option(help="label set of the masks: dsec_11 or ddd17_6")] = "dsec_11",
    image_topic: Annotated[str, typer.Option(help="images; default: the bag's only topic of images, or /image")] = "",
    events_topic: Annotated[str, typer.Option(help="events; default: the bag's only topic of events, or /events")] = "",
    fps: Annotated[float, typer.Option(help="pictures of the film per second", min=0.1)] = 20.0,
) -> None:
    """Draw masks over their images: pictures, a film, and a contact sheet.

    Example: mambaseg bag pictures bags/13_a bags/masks out
    """
    from mambaseg_ros.bag.pictures import draw_pictures

    topics = {"image_topic": image_topic, "events_topic": events_topic}
    summary = draw_pictures(source, masks, out, **topics, labels=labels, fps=fps)
    console.print(f"{summary.contact_sheet}: {summary.images} images, {summary.masks} masks")


def main() -> None:
    """Run the command; an error of the user's is one sentence and exit status 1."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path may hold any bytes
    try:
        with shown_warnings():
            app()
    except (ValueError, OSError) as error:
        say("mambaseg", str(error), "red")
        sys.exit(1)
    except ModuleNotFoundError as error:
        if error.name not in ("rclpy", "mambaseg_ros.msg"):
            raise
        text = f"Python cannot import {error.name}; this command needs ROS 2: source its setup.bash "
        say("mambaseg", f"{text}and this workspace's install/setup.bash", "red")
        sys.exit(1)

"""The main job, end to end: a synthetic drive, a bag, two processes over DDS, masks, pictures.

`make demo` runs it with the folder for the results as its argument.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mambaseg_core.data.dsec import DsecSequence
from mambaseg_core.recordings.bag import Bag
from mambaseg_ros.messages.stamps import stamp_to_ns
from mambaseg_ros.messages.types import STATUS_TYPE
from mambaseg_ros.resources import share_folder

SECONDS = 2.0
SEED = 18  # a street with a crossing, people, traffic lights and trees
RATE = 0.15  # slow enough for a CPU to keep up
CALIBRATION = "calibration/cam_to_cam.yaml"


def say(text: str) -> None:
    """Print one step of the demo."""
    print(f"demo: {text}", flush=True)


def command(*words: object) -> list[str]:
    """Return a `mambaseg` command line."""
    return ["mambaseg", *map(str, words)]


@contextmanager
def process(child: subprocess.Popen[bytes], *, stop: bool = True) -> Iterator[None]:
    """Stop a process by SIGINT when the block ends; without `stop`, wait until it ends by itself."""
    try:
        yield
        if not stop:
            child.wait(timeout=120)
    except subprocess.TimeoutExpired:
        sys.exit(f"demo: no message came to `{' '.join(child.args[:4])}`; see the node's log above")
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGINT)
        child.wait(timeout=60)


def node_command(sequence: Path) -> list[str]:
    """Return the command of the installed node that `ros2 run mambaseg_ros segmentation_node` starts."""
    executable = share_folder().parents[1] / "lib" / "mambaseg_ros" / "segmentation_node"
    return [str(executable), "--ros-args", "-p", f"calibration:={sequence / CALIBRATION}", "-p", "use_sim_time:=true"]


def read_answers(bag: Path) -> tuple[set[int], list[Any]]:
    """Read the stamps of the masks and all messages of ~/status from the recording."""
    masks, statuses = set(), []
    with Bag(bag) as reader:
        for topic, _, data in reader.messages():
            message = reader.deserialize(topic, data)
            if topic.type == STATUS_TYPE:
                statuses.append(message)
            else:
                masks.add(stamp_to_ns(message.header.stamp))
    return masks, statuses


def account(stamps: list[int], masks: set[int], statuses: list[Any]) -> list[str]:
    """Return what became of every image: the count of each fate, then each image without a mask or with a remark.

    Args:
        stamps: Stamps of all images that were played.
        masks: Stamps of the masks that were recorded.
        statuses: All statuses of the node, in order; at least one.
    """
    last = statuses[-1]
    fates = {"masks": last.masks_published, "replaced": last.images_replaced, "dropped": last.images_dropped}
    fates |= {"refused": last.images_refused, "failed": last.images_failed, "lost": last.images_lost}
    fates["never seen by the node"] = max(0, len(stamps) - sum(fates.values()))
    unanswered = {
        "replaced": "replaced by a newer image while the model was busy",
        "lost": "lost on the way to the node",
        "never seen by the node": "sent before the node had subscribed, or not received by its last status",
    }
    silent = "; or ".join(text for fate, text in unanswered.items() if fates[fate]) or "its status was not recorded"
    remarks = {stamp_to_ns(status.header.stamp): status.message for status in statuses}
    lines = [f"images in: {len(stamps)}; " + ", ".join(f"{fate}: {number}" for fate, number in fates.items())]
    for stamp in stamps:
        remark = remarks.get(stamp, silent)
        if stamp not in masks:
            lines.append(f"image {stamp}: no mask: {remark or 'it was published, but not recorded'}")
        elif remark:
            lines.append(f"image {stamp}: mask, but {remark}")
    return lines


def main() -> None:
    """Run the demo into the folder given on the command line."""
    out = Path(sys.argv[1])
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    sequence, bag, masks = out / "synthetic_00_a", out / "drive", out / "masks"

    say(f"writing {SECONDS:g} s of a synthetic drive in DSEC's layout")
    subprocess.run(command("synth", out, "--seconds", SECONDS, "--seed", SEED), check=True)
    say("converting it to an mcap bag")
    subprocess.run(command("bag", "convert", sequence, bag), check=True)
    say("starting segmentation_node with its defaults, mambaseg_nano trained on synthetic drives only, and a recorder")
    recorder = command("bag", "record", masks, "/mambaseg/mask", "/mambaseg/status", "--idle", 15)
    recording = subprocess.Popen(recorder)  # before the node, so that it receives the first mask
    with process(subprocess.Popen(node_command(sequence))), process(recording, stop=False):
        say(f"playing the bag over DDS at {RATE:g} of its rate")
        subprocess.run(command("bag", "play", bag, "--clock", "--rate", RATE, "--wait", 120), check=True)
        say("waiting until no more masks come")
    say("drawing the masks over the images")
    subprocess.run(command("bag", "pictures", bag, masks, out), check=True)

    recorded, statuses = read_answers(masks)
    if not statuses:
        sys.exit("demo: no status of the node was recorded; see its log above")
    for line in account(DsecSequence(sequence).image_times_ns.tolist(), recorded, statuses):
        say(line)
    times = [status.total_ms for status in statuses if status.inference_ms > 0] or [0.0]
    first, median, largest = times[0], np.median(times), max(times)
    say(f"latency from image to mask: first {first:.0f} ms, median {median:.0f} ms, largest {largest:.0f} ms")
    say(f"picture: {out / 'contact_sheet.png'}")
    if not recorded:
        sys.exit("demo: no mask came out")


if __name__ == "__main__":
    main()

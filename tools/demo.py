"""The main job, end to end: a synthetic drive, a bag, two processes over DDS, masks, pictures.

Run by `make demo` with the folder for the results as its argument.
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

import numpy as np

from mambaseg_ros.bag.types import STATUS_TYPE, open_bag
from mambaseg_ros.resources import share_folder

SECONDS = 2.0
MODEL, WEIGHTS = "mambaseg_nano", "synthetic"  # trained on other drives of `mambaseg synth`: docs/training.md
RATE = 0.15  # the bag is played so slowly that a CPU keeps up
CALIBRATION = "calibration/cam_to_cam.yaml"


def say(text: str) -> None:
    """Print one step of the demo."""
    print(f"demo: {text}", flush=True)


def command(*words: object) -> list[str]:
    """A `mambaseg` command line."""
    return ["mambaseg", *map(str, words)]


@contextmanager
def process(child: subprocess.Popen[bytes], *, stop: bool = True) -> Iterator[None]:
    """A process that is stopped by SIGINT when the block ends; one that ends by itself (not `stop`) is waited for."""
    try:
        yield
        if not stop:
            child.wait(timeout=120)
    except subprocess.TimeoutExpired:
        sys.exit(f"demo: no message came to `{' '.join(child.args[:4])}`; see what the node said above")
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGINT)
        child.wait(timeout=60)


def node_command(sequence: Path) -> list[str]:
    """The installed node, as `ros2 run mambaseg_ros segmentation_node` starts it."""
    parameters = {
        "model": MODEL,
        "weights": WEIGHTS,
        "calibration": sequence / CALIBRATION,
    }
    words = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
    executable = share_folder().parents[1] / "lib" / "mambaseg_ros" / "segmentation_node"
    return [str(executable), "--ros-args", *words]


def latencies_ms(bag: Path) -> list[float]:
    """Time from each image's arrival to its mask, as ~/status has it."""
    values = []
    with open_bag(bag) as reader:
        for connection, _, data in reader.messages():
            if connection.msgtype == STATUS_TYPE:
                status = reader.deserialize(data, connection.msgtype)
                if status.message:
                    say(f"status: {status.message}")
                values.append(float(status.total_ms))
    return values


def main() -> None:
    """Run the demo into the folder given on the command line."""
    out = Path(sys.argv[1])
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    sequence, bag, masks = out / "synthetic_00_a", out / "drive", out / "masks"

    say(f"writing {SECONDS:g} s of a synthetic drive in DSEC's layout")
    subprocess.run(command("synth", out, "--seconds", SECONDS), check=True)
    say("converting it to an mcap bag")
    subprocess.run(command("bag", "convert", sequence, bag), check=True)
    say(f"starting segmentation_node ({MODEL}, weights '{WEIGHTS}', trained on synthetic drives only) and a recorder")
    recorder = command("bag", "record", masks, "/mambaseg/mask", "/mambaseg/status", "--idle", 15)
    recording = subprocess.Popen(recorder)  # before the node, so that it is there for the first mask
    with process(subprocess.Popen(node_command(sequence))), process(recording, stop=False):
        say(f"playing the bag over DDS at {RATE:g} of its rate")
        subprocess.run(command("bag", "play", bag, "--rate", RATE, "--wait", 120), check=True)
        say("waiting until no more masks come")
    say("drawing the masks over the images")
    subprocess.run(command("bag", "pictures", bag, masks, out), check=True)

    times = latencies_ms(masks)
    images = len(list((sequence / "images" / "left" / "rectified").glob("*.png")))
    count = len(list(out.glob("overlay_*.png")))
    say(f"images in: {images}, masks out: {count}")
    say(f"latency from image to mask: median {np.median(times):.0f} ms, largest {max(times):.0f} ms")
    say(f"picture: {out / 'contact_sheet.png'}")
    if count == 0:
        sys.exit("demo: no mask came out")


if __name__ == "__main__":
    main()

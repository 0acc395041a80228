"""Statistics of event recordings beside those of the simulated sensors; prints a table in Markdown.

    python benchmarks/events/sensor_statistics.py [RECORDING ...] [--seconds 0.5]

A recording is any file or bag that `open_events` reads. The simulated rows are a wall that does not change, by day and
in the dark, and drives by day and at night, in front of each sensor of `mambaseg synth` at its own resolution.

    events/px/s   events per pixel and second
    ON            share of ON events
    active        share of the pixels that fire in 50 ms, mean over the recording
    intervals     quantiles 1, 25 and 50 % of the time between two events of one pixel, ms
    quiet         events per pixel and second in blocks of 8x8 pixels of which less than a quarter fires in any 50 ms,
                  without pixels above 20 Hz: noise, as far as the scene lets it be seen
    above 20 Hz   share of the pixels of these blocks that fire faster than 20 Hz
    hottest       the three fastest pixels, Hz
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from mambaseg_core.events import Events
from mambaseg_core.recordings.open import open_events
from mambaseg_core.synth.conditions import draw_conditions
from mambaseg_core.synth.event_camera import EventSimulator
from mambaseg_core.synth.event_model import SENSORS
from mambaseg_core.synth.rig import RawEventCamera, make_calibration
from mambaseg_core.synth.scene import build_scene
from mambaseg_core.synth.textures import Plane

SIZES = {"davis346": (260, 346), "gen3": (480, 640)}
WALLS = {"a wall by day": 0.3, "a wall in the dark": 5e-5}
DRIVES = ("day", "night")
WINDOW_NS, BLOCK, STEP_US = 50_000_000, 8, 5000
FAST_HZ = 20.0
COLUMNS = ("events/px/s", "ON", "active", "intervals, ms", "quiet", "above 20 Hz", "hottest, Hz")


def row(name: str, events: Events) -> str:
    """Return a row of the table."""
    height, width, t_ns = events.height, events.width, events.t_ns - events.t_ns[0]
    seconds, pixels = float(t_ns[-1]) * 1e-9, height * width
    index = events.y.astype(np.int64) * width + events.x
    rate_hz = (np.bincount(index, minlength=pixels) / seconds).reshape(height, width)
    windows = [index[t_ns // WINDOW_NS == number] for number in range(max(1, int(t_ns[-1] // WINDOW_NS)))]
    fired = [np.bincount(window, minlength=pixels).reshape(height, width) > 0 for window in windows]
    order = np.lexsort((t_ns, index))
    intervals_ms = np.diff(t_ns[order])[np.diff(index[order]) == 0] * 1e-6
    quiet = _whole_blocks(np.max([_block_shares(active) for active in fired], axis=0) < 0.25, (height, width))
    slow = quiet & (rate_hz <= FAST_HZ)
    cells = [
        f"{len(events) / pixels / seconds:.2f}",
        f"{(events.p > 0).mean():.2f}",
        f"{np.mean(fired):.1%}",
        " ".join(f"{value:.2g}" for value in np.percentile(intervals_ms, (1, 25, 50))),
        f"{rate_hz[slow].mean():.2f} (in {quiet.mean():.0%})" if slow.any() else "no such block",
        f"{(rate_hz[quiet] > FAST_HZ).mean():.2%}" if quiet.any() else "",
        " ".join(f"{value:.0f}" for value in np.sort(rate_hz, axis=None)[:-4:-1]),
    ]
    return f"| {name}, {width}x{height}, {seconds:.2g} s | {' | '.join(cells)} |"


def _block_shares(active: np.ndarray) -> np.ndarray:
    """Return the share of active pixels in each whole block."""
    height, width = (length // BLOCK * BLOCK for length in active.shape)
    blocks = active[:height, :width].reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    return np.asarray(blocks.mean(axis=(1, 3)))


def _whole_blocks(blocks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a mask of the pixels in blocks, False outside any whole block."""
    mask = np.zeros(size, bool)
    pixels = np.kron(blocks, np.ones((BLOCK, BLOCK), bool))
    mask[: pixels.shape[0], : pixels.shape[1]] = pixels
    return mask


def recorded(path: Path) -> Events:
    with open_events(path) as reader:
        return reader.between(reader.start_ns, reader.end_ns + 1).events


def wall(sensor: str, light: float, seconds: float) -> Events:
    frame = np.full(SIZES[sensor], light, np.float32)
    return _simulate(sensor, lambda _: frame, seconds)


def drive(sensor: str, condition: str, seconds: float) -> Events:
    conditions = draw_conditions(condition, np.random.default_rng(1), seconds)
    calibration = make_calibration(SIZES[sensor], SIZES[sensor], conditions.motion.focal)
    camera = RawEventCamera(build_scene(np.random.default_rng(2), seconds, conditions), calibration, conditions)
    return _simulate(sensor, camera.intensity, seconds)


def _simulate(sensor: str, intensity: Callable[[float], Plane], seconds: float) -> Events:
    simulator = EventSimulator(intensity(0.0), 0, rng=np.random.default_rng(3), model=SENSORS[sensor])
    steps = range(STEP_US, round(seconds * 1e6) + 1, STEP_US)
    return Events.concatenate([simulator.step(intensity(t_us * 1e-6), t_us) for t_us in steps])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", nargs="*", type=Path)
    parser.add_argument("--seconds", type=float, default=0.5, help="length of the simulated drives")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    print(f"| | {' | '.join(COLUMNS)} |\n|---|{'---|' * len(COLUMNS)}")
    for path in options.recordings:
        print(row(f"recorded: `{path.name}`", recorded(path)), flush=True)
    for sensor in SENSORS:
        for name, light in WALLS.items():
            print(row(f"`{sensor}`: {name}", wall(sensor, light, 4 * options.seconds)), flush=True)
        for condition in DRIVES:
            print(row(f"`{sensor}`: drive, {condition}", drive(sensor, condition, options.seconds)), flush=True)


if __name__ == "__main__":
    main()

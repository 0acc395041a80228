"""What the node makes of a mask for those who listen, on one core, as a Markdown table.

    python benchmarks/node/outputs.py

The mask is made up: 1440x1080 pixels, 11 classes in smooth areas with the steps of a model's 160x120 output.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import cv2
import numpy as np

from mambaseg_core.labels import DSEC_11
from mambaseg_core.pictures import RUNS, encode_png
from mambaseg_ros.topics.class_topics import class_tables

WIDTH, HEIGHT = 1440, 1080
REPEATS = 30


def made_up_mask() -> np.ndarray:
    """Return class ids, uint8 [H, W]; 255 in the lowest rows."""
    rng = np.random.default_rng(0)
    fields = [cv2.GaussianBlur(rng.standard_normal((120, 160)), (0, 0), 4) for _ in DSEC_11.classes]
    ids = np.stack(fields).argmax(0).astype(np.uint8)
    ids[-10:] = 255
    return cv2.resize(ids, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST_EXACT)  # type: ignore[no-any-return]


def median_ms(work: Callable[[], object]) -> float:
    """Return the median time of the processor for a call, milliseconds."""
    work()
    times = []
    for _ in range(REPEATS):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return 1e3 * float(np.median(times))


def main() -> None:
    """Measure and print."""
    cv2.setNumThreads(1)
    ids = made_up_mask()
    image = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    table = class_tables("drivable=road+sidewalk", DSEC_11)["drivable"]
    works: dict[str, Callable[[], object]] = {
        "`~/color_mask`": lambda: DSEC_11.color_mask(ids),
        "`~/overlay`": lambda: DSEC_11.overlay(image, ids),
        "`~/overlay` of a gray image": lambda: DSEC_11.overlay(image[..., 0], ids),
        "`~/classes/drivable`": lambda: cv2.LUT(ids, table),
        "`class_shares`": lambda: DSEC_11.shares(ids),
        f"`~/mask/compressed`, {len(encode_png(ids, RUNS)) / 1e3:.0f} of {ids.size / 1e3:.0f} kB": lambda: encode_png(
            ids, RUNS
        ),
    }
    print("| output, 1440x1080 | ms |\n|---|---|")
    for name, work in works.items():
        print(f"| {name} | {median_ms(work):.1f} |")


if __name__ == "__main__":
    main()

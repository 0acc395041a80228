"""Brightness, dynamic range and evidence of boundaries in each condition of `mambaseg synth`; tables in Markdown.

    python benchmarks/events/condition_statistics.py [--drives 6] [--conditions day night ...] [--pictures FOLDER]

Each drive is rendered for a moment: an image in the event camera's view, the events of the 50 ms before it, the labels.

    median, saturated, black   of the image's gray levels: the middle one, share of 250 and above, of 5 and below
    radiance, intensity        quantiles 1, 50 and 99 % of what reaches the frame camera's lens, and of what passes the
                               event camera's; a white wall by day has 1
    range                      from quantile 0.1 % to 99.9 % of the intensity, dB (20 log10)
    AUC                        how well a quantity tells label boundaries from all other pixels (0.5: not at all): the
                               gradient of the image, the density of events, both after the same blur; also among the
                               pixels whose 5x5 neighborhood is saturated, or dark (a mean of 12 or less)
    active                     share of the boundary's pixels there with an event
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mambaseg_core.labels import DSEC_11
from mambaseg_core.pictures import write_png
from mambaseg_core.synth.conditions import CONDITIONS, draw_conditions
from mambaseg_core.synth.event_camera import EventSimulator
from mambaseg_core.synth.event_model import SENSORS, draw_sensor
from mambaseg_core.synth.pinhole import PinholeView
from mambaseg_core.synth.render import Renderer
from mambaseg_core.synth.rig import RawEventCamera, event_view, frame_camera, image_view, make_calibration
from mambaseg_core.synth.scene import build_scene

SIZE = (240, 320)
SECONDS, STEP_US, WINDOW_US = 1.0, 5000, 50_000
DARK_LEVEL = 12
ENOUGH = 50  # pixels of each kind in a region, or its AUC is not counted
BRIGHTNESS = ("median", "saturated", "black", "radiance", "intensity", "range, dB", "events/px/s")
IN_REGION = ("share of boundary", "image", "events", "active")
EVIDENCE = ("image", "events", *(f"{region}: {name}" for region in ("saturated", "dark") for name in IN_REGION))


@dataclass(frozen=True)
class Moment:
    """One moment of a drive.

    Attributes:
        image: gray image in the rectified event view, uint8 [H, W].
        events: number of events of each pixel, float32 [H, W].
        labels: class ids, uint8 [H, W].
        radiance: gray radiance at the frame camera, float32 [H, W].
        intensity: intensity at the event camera, float32 [H, W].
        picture: image, events and labels side by side, uint8 [H, 3 * W, 3].
    """

    image: np.ndarray
    events: np.ndarray
    labels: np.ndarray
    radiance: np.ndarray
    intensity: np.ndarray
    picture: np.ndarray


def moment(condition: str, seed: int) -> Moment:
    """Render the middle of a drive, as `mambaseg synth --seed` draws it for `SECONDS`."""
    rngs = [np.random.default_rng(part) for part in np.random.SeedSequence(seed).spawn(5)]
    conditions = draw_conditions(condition, rngs[0], SECONDS)
    scene = build_scene(rngs[1], SECONDS, conditions)
    calibration = make_calibration(SIZE, SIZE, conditions.motion.focal)
    frames, camera = (
        frame_camera(scene, calibration, conditions, rngs[2]),
        RawEventCamera(scene, calibration, conditions),
    )
    end_us = round(0.5e6 * SECONDS)
    image = [frames.take((end_us - early_us) * 1e-6) for early_us in (66_667, 33_333, 0)][-1]
    sensor = draw_sensor(list(SENSORS)[seed % 2], rngs[4])
    first_us = end_us - 2 * WINDOW_US
    simulator = EventSimulator(camera.intensity(first_us * 1e-6), first_us, rng=rngs[3], model=sensor)
    signs = np.zeros((2, *SIZE), np.float32)
    for t_us in range(first_us + STEP_US, end_us + 1, STEP_US):
        events = calibration.rectify(simulator.step(camera.intensity(t_us * 1e-6), t_us))
        if t_us > end_us - WINDOW_US:
            np.add.at(signs, ((events.p > 0).astype(int), events.y, events.x), 1)
    pose = conditions.motion.pose(end_us * 1e-6)

    def render(view: PinholeView) -> tuple[np.ndarray, np.ndarray]:
        frame = Renderer(scene.quads, scene.ground, view, gray=True, light=conditions.light).render(pose, end_us * 1e-6)
        return frame.color[..., 0], frame.labels

    labels = render(event_view(calibration))[1]
    warped = calibration.warp_image(image)
    colors = np.full((*SIZE, 3), 255, np.uint8)
    colors[signs[1] > signs[0]], colors[signs[0] > signs[1]] = (220, 60, 60), (60, 60, 220)
    return Moment(
        cv2.cvtColor(warped, cv2.COLOR_RGB2GRAY),
        signs.sum(axis=0),
        labels,
        render(image_view(calibration))[0],
        camera.intensity(end_us * 1e-6),
        np.hstack([warped, colors, DSEC_11.color_mask(labels)]),
    )


def brightness(found: Moment) -> list[float]:
    image, quantiles = found.image, (1, 50, 99)
    low, high = np.percentile(found.intensity, (0.1, 99.9))
    return [
        float(np.median(image)),
        float((image >= 250).mean()),
        float((image <= 5).mean()),
        *np.percentile(found.radiance, quantiles).tolist(),
        *np.percentile(found.intensity, quantiles).tolist(),
        float(20 * np.log10((high + 1e-9) / (low + 1e-9))),
        float(found.events.mean()) / (WINDOW_US * 1e-6),
    ]


def evidence(found: Moment) -> list[float]:
    """Return AUC of image and events everywhere, then share, both AUC and active share where saturated, and dark."""
    square = np.ones((3, 3), np.uint8)
    border = cv2.dilate(found.labels, square) != cv2.erode(found.labels, square)
    smooth = cv2.GaussianBlur(found.image.astype(np.float32), (0, 0), 1)
    gradient = np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
    density = cv2.GaussianBlur(found.events, (0, 0), 1)
    everywhere = np.ones(SIZE, bool)
    values = [auc(gradient, border, everywhere), auc(density, border, everywhere)]
    saturated = cv2.erode((found.image >= 250).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    dark = cv2.blur(found.image.astype(np.float32), (5, 5)) <= DARK_LEVEL
    for region in (saturated, dark):
        inside = border & region
        active = float((found.events[inside] > 0).mean()) if inside.any() else np.nan
        values += [inside.sum() / border.sum(), auc(gradient, border, region), auc(density, border, region), active]
    return [float(value) for value in values]


def auc(values: np.ndarray, positive: np.ndarray, region: np.ndarray) -> float:
    """Return the area under the ROC curve of some values in a region; nan if too few pixels are of one kind."""
    values, positive = values[region], positive[region]
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if min(positives, negatives) < ENOUGH:
        return float("nan")
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    return float((ranks[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def table(title: str, columns: tuple[str, ...], rows: dict[str, list[str]]) -> None:
    print(f"\n| {title} | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for name, cells in rows.items():
        print(f"| {name} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drives", type=int, default=6, help="drives of each condition")
    parser.add_argument("--conditions", nargs="+", default=list(CONDITIONS), choices=list(CONDITIONS))
    parser.add_argument("--pictures", type=Path, help="folder for image, events and labels side by side")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    light: dict[str, list[str]] = {}
    borders: dict[str, list[str]] = {}
    for condition in options.conditions:
        found = [moment(condition, seed) for seed in range(options.drives)]
        if options.pictures:
            options.pictures.mkdir(parents=True, exist_ok=True)
            write_png(options.pictures / f"{condition}.png", np.vstack([one.picture for one in found]))
        median, white, black, *levels, decibel, rate = np.median([brightness(one) for one in found], axis=0).tolist()
        spans = [" ".join(f"{value:.1e}" for value in levels[first : first + 3]) for first in (0, 3)]
        light[condition] = [f"{median:.0f}", f"{white:.1%}", f"{black:.1%}", *spans, f"{decibel:.0f}", f"{rate:.1f}"]
        values = np.asarray([evidence(one) for one in found])
        means = [float(np.nanmean(column)) if np.isfinite(column).any() else np.nan for column in values.T]
        borders[condition] = [
            "" if np.isnan(value) else f"{value:.0%}" if number in (2, 5, 6, 9) else f"{value:.2f}"
            for number, value in enumerate(means)
        ]
    table(f"medians of {options.drives} drives", BRIGHTNESS, light)
    table(f"AUC, means of {options.drives} drives", EVIDENCE, borders)


if __name__ == "__main__":
    main()

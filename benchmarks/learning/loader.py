"""Data-loader throughput against a loader written after the released training code, as a Markdown table.

    python benchmarks/learning/loader.py                # on a synthetic sequence of DSEC's size that it writes itself
    python benchmarks/learning/loader.py --root DATA    # on the training split of a data set in DSEC's layout

Both read the same samples one after the other in one process: image in the event view, the last 100,000 events,
rectified, their voxel grid, label. The released way is written from its description: the file is opened once, events
are float64 [N, 4], and the forward rectification map is read for every event. np.add.at adds float64 weights to a
float32 grid for each of the two bins, and the picture goes through float64 to a tensor. The released pictures are in
the event view already, so their warp is left out of the measurement.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import h5py
import hdf5plugin  # noqa: F401  (registers the filter)
import numpy as np
import torch

from mambaseg_core.data.dsec import DsecSequence
from mambaseg_core.data.dsec_dataset import DsecDataset
from mambaseg_core.models.presets import preset_preprocessing
from mambaseg_core.synth.dsec_drive import write_sequence

BINS, COUNT = 10, 100_000
Tensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class ReleasedWay:
    """Samples of one sequence, made as in the released code."""

    def __init__(self, sequence: DsecSequence) -> None:
        self.sequence = sequence
        assert sequence.calibration is not None
        self.rows = int(sequence.label(0).shape[0])
        self.pictures = [sequence.calibration.warp_image(sequence.image(index)) for index in range(len(sequence))]
        self.encoded = [cv2.imencode(".png", picture[..., ::-1])[1] for picture in self.pictures]  # `ev_inf` pictures
        events = sequence.root / "events/left"
        self.file = h5py.File(events / "events.h5")
        with h5py.File(events / "rectify_map.h5") as file:
            self.rectify = file["rectify_map"][()]
        self.offset = int(self.file["t_offset"][()])
        self.ms_to_idx = np.asarray(self.file["ms_to_idx"], dtype="int64")

    def __call__(self, index: int) -> Tensors:
        """Return image, voxel grid and label of one image."""
        end_us = int(self.sequence.image_times_ns[index]) // 1000 - self.offset
        first = int(self.ms_to_idx[min(end_us // 1000, len(self.ms_to_idx) - 1)])
        stop = first + int(np.searchsorted(self.file["events/t"][first : first + 100_000], end_us))
        rows = slice(max(0, stop - COUNT), stop)
        x, y, t, p = (np.asarray(self.file[f"events/{name}"][rows]) for name in "xytp")
        moved = self.rectify[y, x]
        events = np.stack([moved[:, 0], moved[:, 1], t.astype(np.float64), p.astype(np.float64)], axis=-1)
        height, width = self.sequence.event_size
        voxel = torch.from_numpy(released_grid(events, height, width))[:, : self.rows]
        picture = cv2.cvtColor(cv2.imdecode(self.encoded[index], cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        image = torch.from_numpy(np.moveaxis(picture, -1, 0) / 255.0).float()[:, : self.rows]
        return image, voxel, torch.from_numpy(self.sequence.label(index).astype(np.int64))


def released_grid(events: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a grid float32 [T, H, W] of events float64 [N, 4] (x, y, t, p)."""
    grid = np.zeros((BINS, height, width), np.float32).ravel()
    span = events[-1, 2] - events[0, 2] or 1.0
    times = (BINS - 1) * (events[:, 2] - events[0, 2]) / span
    xs, ys = events[:, 0].astype(int), events[:, 1].astype(int)
    signs = np.where(events[:, 3] == 1, 1.0, -1.0)
    bins = times.astype(int)
    share = times - bins
    inside = (xs >= 0) & (xs < width) & (ys >= 0) & (ys < height)
    for offset, weight in ((0, signs * (1 - share)), (1, signs * share)):
        kept = inside & (bins + offset < BINS)
        np.add.at(grid, xs[kept] + ys[kept] * width + (bins[kept] + offset) * width * height, weight[kept])
    return grid.reshape(BINS, height, width)


def measure(ways: dict[str, Callable[[int], object]], indices: list[int], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each sample; the ways take turns."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for index in indices:
            for name, way in ways.items():
                start = time.perf_counter()
                way(index)
                taken[name].append(time.perf_counter() - start)
    return taken


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="a data set in DSEC's layout with splits.yaml")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = arguments.root or Path(folder)
        if arguments.root is None:
            write_sequence(root, name="drive", seconds=0.5)
            (root / "splits.yaml").write_text("train: [drive]\n")
        report(root, Path(folder, "cache"), arguments.rounds)


def report(root: Path, cache: Path, rounds: int) -> None:
    """Print the table for the first sequence of a training split; views are kept in `cache`."""
    tiny = preset_preprocessing("mambaseg_dsec", size=(1, 1), channels=3)
    sequence = DsecSequence(DsecDataset(root, "train", tiny).items[0][0].root)  # type: ignore[attr-defined]
    size = int(sequence.label(0).shape[0]), sequence.event_size[1]
    setup = preset_preprocessing("mambaseg_dsec", size=size, channels=3)
    dataset = DsecDataset(root, "train", setup)
    cached = DsecDataset(root, "train", setup, cache=cache)
    released = ReleasedWay(sequence)
    indices = [index for recording, index in dataset.items if recording.name == sequence.name]
    numbers = {index: number for number, index in enumerate(indices)}

    expected, sample = released(indices[-1]), dataset[numbers[indices[-1]]]
    print(f"largest difference of the grids: {float((expected[1] - sample.second).abs().max()):.1e}")
    ways: dict[str, Callable[[int], object]] = {
        "as the released code": released,
        "DsecDataset": lambda index: dataset[numbers[index]],
        "DsecDataset with cache, from the second epoch on": lambda index: cached[numbers[index]],
    }
    for number in numbers.values():
        cached[number]  # the first epoch
    taken = measure(ways, indices[1:], rounds)
    base = statistics.median(taken["as the released code"])
    print(
        f"\n{sequence.event_size[0]}x{sequence.event_size[1]} events, windows of up to {COUNT} events, one process, "
        f"{len(indices) - 1} samples x {rounds} rounds, load {os.getloadavg()[0]:.1f}\n"
    )
    print("| loader | median ms per sample | samples/s | ratio |\n| --- | --- | --- | --- |")
    for name, seconds in taken.items():
        middle = statistics.median(seconds)
        print(f"| {name} | {1e3 * middle:.1f} | {1 / middle:.1f} | {base / middle:.2f} |")


if __name__ == "__main__":
    main()

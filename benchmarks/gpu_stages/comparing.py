"""Stage `compare`: mambaseg_compact and the released layout, trained in turns on the same samples of rendered streets.

Both have the same number of steps whenever the stage is ended, so its last rows are a comparison. All samples are on
the device. One seed and few steps: it shows the way to a proof, and is none.
"""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import count
from multiprocessing import get_context

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpu_stages.results import Run
from gpu_stages.street import drive, rig
from gpu_stages.subjects import Size
from mambaseg_core import Segmenter, create_model
from mambaseg_core.evaluation.metrics import Scores, confusion_matrix
from mambaseg_core.labels import IGNORE
from mambaseg_core.synth.conditions import CONDITIONS

CONTENDERS = ("mambaseg_compact", "mambaseg_dsec")


@dataclass(frozen=True)
class Scale:
    """How much is trained: input size, event camera, drives of each split, frames of each, batch, steps."""

    size: Size
    event_size: Size
    drives: tuple[int, int]
    frames: int
    batch: int
    steps_between: int
    steps: int


WHOLE = Scale((240, 320), (240, 320), (28, 14), 12, 8, 50, 2000)
TINY = Scale((32, 48), (48, 64), (1, 1), 2, 2, 1, 1)
Samples = tuple[Tensor, Tensor, Tensor]  # images, voxel grids, labels


def compare(run: Run) -> None:
    """Train both in turns, and write their loss and mIoU after each turn."""
    scale = TINY if run.tiny else WHOLE
    start = time.perf_counter()
    training, test = (tuple(part.to(run.device) for part in split) for split in _both_splits(run, scale))
    run.add(
        table="samples", training=len(training[0]), test=len(test[0]), seconds=round(time.perf_counter() - start, 1)
    )
    learners = {name: Learner(name, scale, run) for name in CONTENDERS}
    for turn in count(1):
        for name, learner in learners.items():
            loss, took = learner.train(training, turn)
            scores = learner.scores(test)
            steps = turn * scale.steps_between
            run.add(
                steps=steps,
                model=name,
                loss=loss,
                mIoU_percent=100 * scores.miou,
                accuracy_percent=100 * scores.accuracy,
                step_ms=1e3 * took / scale.steps_between,
            )
        if steps >= scale.steps:
            break


class Learner:
    """A network in training: AdamW, a learning rate that warms up, batches that depend on the step alone."""

    def __init__(self, name: str, scale: Scale, run: Run) -> None:
        torch.manual_seed(0)
        self._model = create_model(name, image_size=scale.size).to(run.device)
        self._optimizer = torch.optim.AdamW(self._model.parameters(), 3e-4, weight_decay=0.01)
        self._scale, self._device = scale, run.device

    def train(self, samples: Samples, turn: int) -> tuple[float, float]:
        """Train for one turn; return the mean loss and the seconds."""
        self._model.train()
        start, losses = time.perf_counter(), []
        first = (turn - 1) * self._scale.steps_between
        for step in range(first, first + self._scale.steps_between):
            chosen = np.random.default_rng(step).integers(0, len(samples[0]), self._scale.batch)
            image, grid, label = (part[torch.as_tensor(chosen, device=part.device)] for part in samples)
            if step % 2:
                image, grid, label = image.flip(-1), grid.flip(-1), label.flip(-1)
            for group in self._optimizer.param_groups:
                group["lr"] = 3e-4 * min(1.0, (step + 1) / 100)
            loss = F.cross_entropy(self._logits(self._model, image, grid), label, ignore_index=IGNORE)
            self._optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
            self._optimizer.step()
            losses.append(loss.detach())
        return float(torch.stack(losses).mean()), time.perf_counter() - start

    @torch.no_grad()
    def scores(self, samples: Samples) -> Scores:
        """Return the scores on all samples, one by one."""
        self._model.eval()
        classes = self._model.num_classes
        confusion = torch.zeros(classes, classes, dtype=torch.int64)
        for image, grid, label in zip(*(part.split(self._scale.batch) for part in samples), strict=True):
            logits = self._logits(self._model, image, grid)
            confusion += confusion_matrix(logits.argmax(1), label, classes).cpu()
        return Scores.of(confusion)

    def _logits(self, model: nn.Module, image: Tensor, grid: Tensor) -> Tensor:
        mixed = torch.autocast(self._device, torch.bfloat16) if self._device != "cpu" else contextlib.nullcontext()
        with mixed:
            logits: Tensor = model(image, grid)
        return logits.float()


def _both_splits(run: Run, scale: Scale) -> tuple[Samples, Samples]:
    """Render the drives of both splits, each drive in a process."""
    seeds = [(split, number) for split, drives in enumerate(scale.drives) for number in range(drives)]
    if run.tiny:
        found = [_render(scale, split, number) for split, number in seeds]
    else:
        # rendered with fresh processes: this one may hold a CUDA context, which a fork cannot use
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
            found = list(pool.map(_render, *zip(*((scale, *seed) for seed in seeds), strict=True)))
    parts: tuple[list[Samples], list[Samples]] = ([], [])
    for (split, _), samples in zip(seeds, found, strict=True):
        parts[split].append(samples)
    train, test = (tuple(torch.cat(column) for column in zip(*part, strict=True)) for part in parts)
    return train, test  # type: ignore[return-value]


def _render(scale: Scale, split: int, number: int) -> Samples:
    """Return the samples of one drive; its condition goes by its number."""
    torch.set_num_threads(1)
    calibration = rig(scale.event_size)
    model = create_model("mambaseg_nano", image_size=scale.size)
    segmenter = Segmenter(model, "cpu", calibration=calibration)  # prepares samples as it does for masks
    images, grids, labels = [], [], []
    condition = tuple(CONDITIONS)[number % len(CONDITIONS)]
    for frame in drive(calibration, frames=scale.frames, seed=1000 * split + number, condition=condition):
        image, grid = segmenter.prepare(frame.image, frame.events)
        if image is None or grid is None:
            raise RuntimeError("the segmenter prepared only one of two inputs")
        images.append(image)
        grids.append(grid)
        labels.append(segmenter.preprocessing.label_tensor(frame.labels, scale.event_size[0]))
    return torch.stack(images), torch.stack(grids), torch.stack(labels).long()

"""Models and sinks for tests of the worker: no ROS, no weights."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

from mambaseg_ros.pipeline.results import PublishedMask, Report

SIZE = (26, 34)
START_NS = 10**18
MS = 1_000_000


class Brightness(nn.Module):
    """Class 1 where the image is brighter than a half, class 2 where events came; fails on a wholly white image,
    and gives NaN for a wholly grey one (51)."""

    name, num_classes, image_size, in_channels, bins = "mambaseg_ddd17", 6, (20, 34), 1, 10

    def forward(self, image: torch.Tensor | None, second: torch.Tensor | None) -> torch.Tensor:
        image = torch.zeros(1, 1, *self.image_size) if image is None else image
        second = torch.zeros(1, self.bins, *self.image_size) if second is None else second
        if bool((image == 1).all()):
            raise MemoryError("a white image")
        logits = torch.zeros(1, self.num_classes, *self.image_size)
        logits[:, 0] = 0.1
        logits[:, 1] = (image[:, 0] > 0.5).float()
        logits[:, 2] = 2 * second.abs().sum(1)
        return logits * float("nan") if bool(((255 * image).round() == 51).all()) else logits


class Kept:
    """Keeps what the worker hands over."""

    def __init__(self) -> None:
        self.masks: list[np.ndarray] = []
        self.reports: list[Report] = []
        self.heartbeats: list[Report] = []
        self.warnings: list[str] = []
        self.results: list[PublishedMask] = []
        self.now = 10**9
        self.looks = 0
        self.listeners = 0

    def mask(self, mask: PublishedMask) -> None:
        self.results.append(mask)
        self.masks.append(mask.ids)

    def report(self, report: Report) -> None:
        self.reports.append(report)

    def heard(self) -> bool:
        return self.listeners > 0

    def heartbeat(self, report: Report) -> None:
        self.heartbeats.append(report)

    def warn(self, sentence: str) -> None:
        self.warnings.append(sentence)

    def header(self, stamp_ns: int, frame_id: str) -> Any:
        second, nanosecond = divmod(stamp_ns, 10**9)
        return SimpleNamespace(stamp=SimpleNamespace(sec=second, nanosec=nanosecond), frame_id=frame_id)

    def now_ns(self) -> int:
        self.looks += 1
        return self.now

    def simulated(self) -> bool:
        return False


class Moody(nn.Module):
    """Logits at random, or an error."""

    name, num_classes, image_size, in_channels, bins = "mambaseg_ddd17", 6, (20, 34), 1, 10

    def __init__(self, chance: Callable[[float], bool]) -> None:
        super().__init__()
        self.chance = chance

    def forward(self, image: torch.Tensor | None, second: torch.Tensor | None) -> torch.Tensor:
        if self.chance(0.2):
            raise random.choice([MemoryError, RuntimeError, ValueError, KeyError])("the model broke")
        return torch.full((1, self.num_classes, *self.image_size), float("nan") if self.chance(0.1) else 1.0)


class MoodySink:
    """A sink whose methods may raise; counts the masks that it took."""

    def __init__(self, chance: Callable[[float], bool]) -> None:
        self.chance, self.now = chance, START_NS
        self.masks = 0

    def mask(self, mask: Any) -> None:
        if self.chance(0.2):
            raise RuntimeError("DDS refuses a mask")
        self.masks += 1

    def report(self, report: Any) -> None:
        if self.chance(0.1):
            raise RuntimeError("DDS refuses a status")

    def heartbeat(self, report: Any) -> None:
        if self.chance(0.1):
            raise RuntimeError("DDS refuses a status")

    def heard(self) -> bool:
        return not self.chance(0.3)

    def warn(self, sentence: str) -> None:
        pass

    def header(self, stamp_ns: int, frame_id: str) -> Any:
        second, nanosecond = divmod(stamp_ns, 10**9)
        return SimpleNamespace(stamp=SimpleNamespace(sec=second, nanosec=nanosecond), frame_id=frame_id)

    def now_ns(self) -> int:
        if self.chance(0.03):
            raise RuntimeError("the context is gone")
        return self.now

    def simulated(self) -> bool:
        return self.chance(0.5)


def until(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def halves() -> np.ndarray:
    picture = np.full(SIZE, 10, np.uint8)
    picture[:, 17:] = 250
    return picture

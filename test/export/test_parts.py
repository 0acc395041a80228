"""Parts of an export that need no package of others: frames, average pooling."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from mambaseg_core.export.frames import street_frames
from mambaseg_core.export.translations import window_means
from mambaseg_core.preprocessing import DDD17, RGB_THERMAL


@pytest.mark.parametrize(("length", "windows"), [(60, 8), (8, 8), (5, 8), (55, 8), (110, 8), (7, 1), (13, 4)])
def test_windows_are_those_of_torch(length: int, windows: int) -> None:
    x = torch.randn(1, 1, 1, length)
    expected = F.adaptive_avg_pool2d(x, (1, windows))[0, 0, 0]
    assert torch.allclose(torch.from_numpy(window_means(length, windows)) @ x[0, 0, 0], expected, atol=1e-6)


def test_frames_are_streets_by_day_and_at_night() -> None:
    setup = replace(DDD17, size=(48, 64))
    images, events = street_frames(setup, 3)
    assert images.shape == (3, 1, 48, 64)
    assert events.shape == (3, 10, 48, 64)
    assert all(torch.equal(a, b) for a, b in zip((images, events), street_frames(setup, 3), strict=True))
    day, night = images[[0, 2]].mean(), images[1].mean()
    assert day > 1.5 * night > 0
    assert images.std((1, 2, 3)).min() > 0.05  # no plain picture
    assert (events != 0).float().mean((1, 2, 3)).min() > 0.002
    assert not torch.equal(images[0], street_frames(setup, 1, seed=1)[0][0])


def test_frames_of_a_second_camera() -> None:
    images, second = street_frames(replace(RGB_THERMAL, size=(48, 64)), 2)
    assert images.shape == second.shape == (2, 3, 48, 64)
    assert second.std((1, 2, 3)).min() > 0.05
    assert 0 <= second.min() < second.max() <= 1

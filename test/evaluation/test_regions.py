"""Regions by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from mambaseg_core.evaluation.regions import REGIONS, changed_region, find_regions
from mambaseg_core.labels import DDD17_6, DSEC_11, LABEL_SETS, SUNRGBD_37

ROWS, COLUMNS = 240, 320


def gray(value: float) -> Tensor:
    return torch.full((3, ROWS, COLUMNS), value / 255)


def label(fill: int = 5) -> Tensor:
    return torch.full((ROWS, COLUMNS), fill)


def test_the_names_are_those_that_are_found() -> None:
    assert {*find_regions(gray(90), label(), DSEC_11), "changed"} == set(REGIONS)


@pytest.mark.parametrize(("rows", "radius"), [(240, 3), (480, 6), (120, 2), (40, 1)])
def test_boundary_pixels_are_near_another_class(rows: int, radius: int) -> None:
    ids = torch.full((rows, 60), 5)
    ids[:, 30:] = 0
    found = find_regions(torch.zeros(1, rows, 60), ids, DSEC_11)["boundary"]
    assert found.any(0).nonzero().flatten().tolist() == list(range(30 - radius, 30 + radius))
    assert (found.all(0) == found.any(0)).all()


def test_a_boundary_is_as_far_as_a_disc_reaches_and_ignored_pixels_have_none() -> None:
    ids = label()
    ids[100, 100] = 8
    ids[:, 200:] = 255
    found = find_regions(gray(0), ids, DSEC_11)["boundary"]
    y, x = np.mgrid[:ROWS, :COLUMNS]
    np.testing.assert_array_equal(found.numpy(), (y - 100) ** 2 + (x - 100) ** 2 <= 9)
    between = label(0)
    between[:, 100:102] = 255  # class 0, two ignored columns, class 5
    between[:, 102:] = 5
    columns = find_regions(gray(0), between, DSEC_11)["boundary"].any(0).nonzero().flatten().tolist()
    assert columns == [99, 102]  # 3 px apart; the ignored pixels are not counted


def test_dark_is_the_mean_over_noise() -> None:
    noise = torch.where((torch.arange(ROWS)[:, None] + torch.arange(COLUMNS)) % 2 == 0, 0.0, 28 / 255)
    image = noise.expand(3, -1, -1).clone()  # every second pixel is not dark, the mean of 14 is
    image[:, :, 200:] = 17 / 255
    found = find_regions(image, label(), DSEC_11)
    assert found["dark"][:, :198].all()
    assert not found["dark"][:, 203:].any()
    assert not find_regions(gray(16), label(), DSEC_11)["dark"].any()
    assert find_regions(gray(15), label(), DSEC_11)["dark"].all()


def test_saturated_is_white_and_not_one_color() -> None:
    image = gray(249)
    image[:, :10] = 250 / 255
    image[:, 20] = torch.tensor([1.0, 0.0, 0.0])[:, None]
    found = find_regions(image, label(), DSEC_11)["saturated"]
    assert found.any(1).nonzero().flatten().tolist() == list(range(10))
    assert find_regions(torch.ones(1, ROWS, COLUMNS), label(), DDD17_6)["saturated"].all()  # a gray camera


def test_moving_are_the_classes_that_move_by_themselves() -> None:
    ids = label()
    for column, name in enumerate(("person", "car", "pole", "building")):
        ids[:, column] = DSEC_11.classes.index(name)
    ids[:, 4] = 255
    found = find_regions(gray(0), ids, DSEC_11)
    assert found["moving"].any(0).nonzero().flatten().tolist() == [0, 1]
    assert not found["all"][:, 4].any()
    assert found["all"][:, 5:].all()
    assert not find_regions(gray(0), ids, SUNRGBD_37)["moving"].any()  # has none
    assert all(set(labels.moving) <= set(labels.classes) for labels in LABEL_SETS.values())
    assert all(labels.moving for labels in LABEL_SETS.values() if labels is not SUNRGBD_37)


def test_changed_is_where_both_labels_have_a_class() -> None:
    before, now = torch.tensor([1, 1, 255, 2, 0]), torch.tensor([1, 2, 2, 255, 5])
    assert changed_region(before, now).tolist() == [False, True, False, False, True]

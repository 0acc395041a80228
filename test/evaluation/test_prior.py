"""The position prior by hand, and which split it is of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mambaseg_core.data.dataset import SampleDataset
from mambaseg_core.data.dsec import DsecSequence
from mambaseg_core.data.loading import open_dataset
from mambaseg_core.data.sample import Sample
from mambaseg_core.evaluation.prior import MOST, find_prior, judge_prior, position_prior
from mambaseg_core.training.config import DataConfig
from mambaseg_core.training.data import make_preprocessing

SETUP = make_preprocessing(DataConfig(size=(1, 4), window_ms=50))


class Labels(SampleDataset):
    """Labels without images."""

    def __init__(self, *rows: list[int]) -> None:
        super().__init__(SETUP)
        self.rows = rows
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(self.rows)

    def load(self, number: int) -> Sample:
        pytest.fail("the images are not read")

    def label(self, number: int) -> Tensor:
        self.read.append(number)
        return torch.tensor([self.rows[number]])


def test_the_prior_by_hand() -> None:
    dataset = Labels([5, 0, 255, 3], [5, 1, 255, 255], [1, 1, 255, 255], [0, 1, 255, 255])
    prior = position_prior(dataset)
    assert prior.ids.tolist() == [[5, 1, 1, 3]]  # 1 is the most frequent of all, where there is no label
    assert (prior.split, prior.labels, prior.available, prior.reason) == ("train", 4, 4, "")
    scores = judge_prior(prior, Labels([5, 0, 1, 255], [5, 1, 0, 3]))
    assert scores.accuracy == pytest.approx(5 / 7)
    assert scores.iou[5] == 1.0
    assert scores.iou[1] == pytest.approx(2 / 4)
    assert scores.miou == pytest.approx((1 + 2 / 4 + 0 + 1) / 4)


def test_many_labels_are_read_at_a_fixed_step() -> None:
    many = Labels(*[[number % 2, 0, 0, 0] for number in range(2 * MOST - 1)])
    prior = position_prior(many)
    assert many.read == list(range(0, 2 * MOST - 1, 2))
    assert (prior.labels, prior.available) == (MOST, 2 * MOST - 1)
    assert prior.ids.tolist() == [[0, 0, 0, 0]]


def test_without_a_training_split_it_is_of_the_evaluated_one_and_says_so() -> None:
    test = Labels([2, 2, 2, 2])

    def missing(split: str) -> Any:
        raise ValueError(f"no split {split}")

    prior = find_prior(missing, test, "test")
    assert (prior.split, prior.reason, prior.ids.tolist()) == ("test", "no split train", [[2, 2, 2, 2]])
    prior = find_prior(lambda split: Labels([1, 1, 1, 1]), test, "test")
    assert (prior.split, prior.reason, prior.ids.tolist()) == ("train", "", [[1, 1, 1, 1]])
    assert find_prior(missing, test, "train").reason == ""


def test_labels_alone_are_those_of_the_samples(streets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setup = make_preprocessing(DataConfig(size=(64, 96), window_ms=50))
    dataset = open_dataset("dsec", str(streets), "test", setup)
    expected = [dataset[number].label for number in range(len(dataset))]
    for name in ("image", "window"):
        monkeypatch.setattr(DsecSequence, name, lambda *_: pytest.fail("the recording was read"))
    assert all(torch.equal(dataset.label(number), label) for number, label in enumerate(expected))
    counts = torch.stack([(torch.stack(expected) == one).sum(0) for one in range(11)])
    prior = position_prior(dataset, "test")
    assert torch.equal(counts.gather(0, prior.ids[None])[0], counts.max(0).values)

from __future__ import annotations

import pytest
import torch
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix, MulticlassJaccardIndex

from mambaseg_core.evaluation.metrics import Scores, confusion_matrix, gain_interval, miou_interval, resampled_miou

# truth 0 0 0 1 1 x, predicted 0 0 1 1 0 2, x ignored; class 2 never in the truth
TRUTH = torch.tensor([[0, 0, 0], [1, 1, 255]])
PREDICTED = torch.tensor([[0, 0, 1], [1, 0, 2]])


def test_the_confusion_matrix_by_hand() -> None:
    assert confusion_matrix(PREDICTED, TRUTH, 3).tolist() == [[2, 1, 0], [1, 1, 0], [0, 0, 0]]


def test_scores_by_hand() -> None:
    scores = Scores.of(confusion_matrix(PREDICTED, TRUTH, 3))
    assert scores.iou == (2 / 4, 1 / 3, None)  # hits / (truth + predicted - hits)
    assert scores.miou == pytest.approx((2 / 4 + 1 / 3) / 2)
    assert (scores.accuracy, scores.pixels) == (3 / 5, 5)


def test_a_class_that_is_only_predicted_counts_against_the_others_alone() -> None:
    scores = Scores.of(torch.tensor([[2, 0, 2], [0, 4, 0], [0, 0, 0]]))
    assert scores.iou == (0.5, 1.0, None)
    assert scores.miou == 0.75


def test_torchmetrics_agrees_where_every_class_occurs() -> None:
    draw = torch.Generator().manual_seed(0)
    truth = torch.randint(0, 11, (4, 32, 40), generator=draw)
    predicted = torch.where(torch.rand(truth.shape, generator=draw) < 0.6, truth, (truth + 3) % 11)
    truth[torch.rand(truth.shape, generator=draw) < 0.1] = 255
    found = confusion_matrix(predicted, truth, 11)
    assert torch.equal(found, MulticlassConfusionMatrix(11, ignore_index=255)(predicted, truth))
    scores = Scores.of(found)
    assert scores.miou == pytest.approx(float(MulticlassJaccardIndex(11, ignore_index=255)(predicted, truth)))
    accuracy = MulticlassAccuracy(11, average="micro", ignore_index=255)(predicted, truth)
    assert scores.accuracy == pytest.approx(float(accuracy))


def test_an_id_that_is_no_class_is_named() -> None:
    with pytest.raises(ValueError, match=r"truth holds the class id 7; expected 0 to 2 or 255"):
        confusion_matrix(PREDICTED, torch.where(TRUTH == 1, 7, TRUTH), 3)
    with pytest.raises(ValueError, match=r"prediction holds the class id 255"):
        confusion_matrix(torch.full_like(PREDICTED, 255), TRUTH, 3)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"prediction is \[1, 3\] and truth \[2, 3\]"):
        confusion_matrix(PREDICTED[:1], TRUTH, 3)


def test_labels_that_are_all_ignored_are_refused() -> None:
    with pytest.raises(ValueError, match="no pixel has a label"):
        Scores.of(torch.zeros(3, 3, dtype=torch.int64))


def sequences(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 50, (count, 3, 3), generator=torch.Generator().manual_seed(seed))


def test_resamples_by_hand() -> None:
    """Each resample's sum is that of some draw of as many sequences."""
    matrices = torch.stack([torch.diag(torch.tensor([1, 1, 0])), torch.tensor([[0, 1, 0], [1, 0, 0], [0, 0, 0]])])
    found = resampled_miou(matrices)
    assert set(found.tolist()) == {0.0, 1.0, 1 / 3}  # twice the wrong one, twice the right one, one of each
    assert 0.45 < float((found == 1 / 3).double().mean()) < 0.55
    assert torch.equal(found, resampled_miou(matrices))
    assert not torch.equal(found, resampled_miou(matrices, seed=1))


def test_the_interval_holds_nearly_all_resamples_and_the_score() -> None:
    matrices = sequences(12)
    low, high = miou_interval(matrices)  # type: ignore[misc]
    values = resampled_miou(matrices)
    assert float(((values >= low) & (values <= high)).double().mean()) == pytest.approx(0.95, abs=0.003)
    assert low < Scores.of(matrices.sum(0)).miou < high
    assert miou_interval(matrices[:1]) is None
    assert miou_interval(matrices[:0]) is None
    with_empty = torch.cat([matrices, torch.zeros(5, 3, 3, dtype=torch.int64)])
    assert miou_interval(with_empty) == (low, high)


def test_the_interval_of_a_gain_is_of_paired_resamples() -> None:
    lower = torch.stack([torch.tensor([[n, 100 - n, 0], [0, 100, 0], [0, 0, 0]]) for n in range(10, 90, 10)])
    higher = lower + torch.tensor([[5, -5, 0], [0, 0, 0], [0, 0, 0]])
    low, high = gain_interval(higher, lower)  # type: ignore[misc]
    assert 0.02 < low < high < 0.06  # though the scores themselves vary by far more
    spread = miou_interval(lower)
    assert spread is not None
    assert spread[1] - spread[0] > 4 * (high - low)
    assert gain_interval(lower, lower) == (0.0, 0.0)
    with pytest.raises(ValueError, match="8 and 8 sequences whose true pixels differ; expected the same sequences"):
        gain_interval(lower, lower.flip(1))

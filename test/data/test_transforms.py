from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest
import torch

from mambaseg_core.data.sample import Sample
from mambaseg_core.data.transforms import (
    Augmentation,
    cover,
    modality_dropout,
    photometric_noise,
    random_crop,
    random_flip,
    random_resize,
)


def sample(height: int = 24, width: int = 32) -> Sample:
    """Return a sample with the same class id in image, grid and label at every pixel, in 8 x 8 blocks."""
    rows, columns = torch.meshgrid(torch.arange(height) // 8, torch.arange(width) // 8, indexing="ij")
    label = (rows * 4 + columns) % 11
    image = (label / 16.0)[None].repeat(3, 1, 1)
    return Sample(image, (label - 5.0)[None].repeat(10, 1, 1), label, 7, "drive", 3, "night")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def agreement(changed: Sample) -> float:
    """Return the share of labeled pixels at which image and grid still show the label."""
    known = changed.label != 255
    from_image = (changed.image[0] * 16).round().long()
    from_voxel = (changed.second[4] + 5).round().long()
    return float(((from_image == changed.label) & (from_voxel == changed.label))[known].float().mean())


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    ("change", "least"),
    [
        (lambda s, g: random_resize(s, g, scale=(0.7, 1.6)), 0.6),  # blocks' borders are mixed
        (lambda s, g: random_crop(s, g, size=(10, 13)), 1.0),
        (lambda s, g: random_crop(s, g, size=(30, 40)), 1.0),
        (lambda s, g: random_flip(s, g, probability=1.0), 1.0),
    ],
)
def test_image_grid_and_label_move_together(
    seed: int, change: Callable[[Sample, torch.Generator], Sample], least: float
) -> None:
    changed = change(sample(), seeded(seed))
    assert changed.image.shape[1:] == changed.second.shape[1:] == changed.label.shape
    assert agreement(changed) >= least
    assert (changed.stamp_ns, changed.sequence, changed.index, changed.condition) == (7, "drive", 3, "night")


def test_a_flip_mirrors_columns() -> None:
    before, after = sample(), random_flip(sample(), seeded(0), probability=1.0)
    for name in ("image", "second", "label"):
        torch.testing.assert_close(getattr(after, name), getattr(before, name).flip(-1))
    assert random_flip(before, seeded(0), probability=0.0) is before


def test_flips_come_as_often_as_asked() -> None:
    flips = [random_flip(sample(), seeded(seed), probability=0.3).label[0, 0] != 0 for seed in range(400)]
    assert abs(sum(flips) - 120) < 50


def test_a_crop_beyond_the_sample_is_ignored() -> None:
    grown = random_crop(sample(), seeded(0), size=(30, 40))
    assert grown.label.shape == (30, 40)
    assert (grown.label[24:] == 255).all()
    assert (grown.label[:, 32:] == 255).all()
    assert float(grown.image[:, 24:].abs().sum() + grown.second[:, :, 32:].abs().sum()) == 0


def test_crops_reach_every_place() -> None:
    corners = {int(random_crop(sample(), seeded(seed), size=(8, 8)).label[0, 0]) for seed in range(200)}
    assert len(corners) == 11
    whole = random_crop(sample(), seeded(1), size=(24, 32))
    torch.testing.assert_close(whole.label, sample().label)


def test_resizes_reach_their_limits_and_keep_class_ids() -> None:
    sizes = [random_resize(sample(), seeded(seed), scale=(0.5, 2.0)).label for seed in range(60)]
    assert min(len(label) for label in sizes) < 15
    assert max(len(label) for label in sizes) > 40
    assert {label.dtype for label in sizes} == {torch.int64}
    assert {int(i) for label in sizes for i in label.unique()} <= set(range(11))
    for scale in ((0.0, 1.0), (2.0, 1.0)):
        with pytest.raises(ValueError, match=rf"scale is \({scale[0]}"):
            random_resize(sample(), seeded(0), scale=scale)


def test_photometric_noise_is_the_image_s_alone() -> None:
    before = sample()
    changed = [photometric_noise(before, seeded(seed), strength=0.8) for seed in range(20)]
    assert all(one.second is before.second and one.label is before.label for one in changed)
    assert all(float(one.image.min()) >= 0 and float(one.image.max()) <= 1 for one in changed)
    means = torch.stack([one.image.mean() for one in changed])
    assert float(means.std()) > 0.05
    assert photometric_noise(before, seeded(0), strength=0.0) is before


def test_modality_dropout_blanks_one_of_two() -> None:
    dropped = [modality_dropout(sample(), seeded(seed), probability=0.5) for seed in range(400)]
    blank = [(not one.image.any(), not one.second.any()) for one in dropped]
    assert blank.count((True, True)) == 0
    assert abs(blank.count((True, False)) - 100) < 45
    assert abs(blank.count((False, True)) - 100) < 45


@pytest.mark.parametrize("two_lenses", [False, True])
def test_a_covered_lens_shows_darkness_and_noise(two_lenses: bool) -> None:
    before = sample()
    seen = [cover(before, seeded(seed), probability=0.5, two_lenses=two_lenses) for seed in range(400)]
    images = [one.image for one in seen if one.image is not before.image]
    seconds = [one.second for one in seen if one.second is not before.second]
    assert all(one.image is before.image or one.second is before.second for one in seen)
    assert abs(len(images) - (100 if two_lenses else 200)) < 45
    assert abs(len(seconds) - (100 if two_lenses else 0)) < 45
    for covered, before_shape in ((images, before.image.shape), (seconds, before.second.shape)):
        assert all(x.shape == before_shape and 0 <= x.min() <= x.max() <= 1 for x in covered)
        assert all(float(x.mean()) < 0.25 and float(x.std()) < 0.035 for x in covered)
    assert max(float(x.std()) for x in images) > 0.02
    assert all(torch.equal(x, x[:1].expand_as(x)) for x in seconds)
    assert not any(torch.equal(x[0], x[1]) for x in images if float(x.std()) > 1e-3)


def test_an_augmentation_is_a_function_of_its_seed() -> None:
    change = Augmentation(crop=(16, 16), scale=(0.8, 1.5), photometric=0.5, modality_dropout=0.3, cover=0.3)
    again = pickle.loads(pickle.dumps(change))
    before = sample()
    copy = before.image.clone(), before.second.clone(), before.label.clone()
    for seed in range(10):
        torch.manual_seed(seed)  # the global generator plays no part
        first, second = change(before, seeded(seed)), again(before, seeded(seed))
        for name in ("image", "second", "label"):
            assert torch.equal(getattr(first, name), getattr(second, name))
        assert first.label.shape == (16, 16)
    for before_tensor, after in zip(copy, (before.image, before.second, before.label), strict=True):
        assert torch.equal(before_tensor, after)
    assert not torch.equal(change(before, seeded(0)).image, change(before, seeded(1)).image)

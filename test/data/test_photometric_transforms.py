"""Changes of the image alone: colors of classes, effects of other cameras, errors of a calibration."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from mambaseg_core.data.camera_effects import camera_effects
from mambaseg_core.data.class_colors import class_colors
from mambaseg_core.data.misalignment import misalign
from mambaseg_core.data.sample import Sample
from mambaseg_core.data.transforms import Augmentation

Change = Callable[[Sample, torch.Generator], Sample]
SKY, HOUSE, ROAD = 0, 1, 5
FLAT = {SKY: (0.4, 0.6, 0.8), HOUSE: (0.5, 0.4, 0.3), ROAD: (0.3, 0.3, 0.3)}


def street(channels: int = 3) -> Sample:
    """Return a sky over a house over a road, each of one color with a little texture; the last rows have no class."""
    label = torch.full((60, 80), SKY)
    label[20:], label[40:], label[56:] = HOUSE, ROAD, 255
    image = torch.tensor([FLAT.get(int(k), (0.0, 0.0, 0.0)) for k in label.flatten()]).T.reshape(3, 60, 80)
    image = image + 0.02 * torch.randn(image.shape, generator=seeded(99)) * (label != 255)
    return Sample(
        image[:channels].clamp(0, 1), torch.rand(10, 60, 80, generator=seeded(3)), label, 7, "drive", 3, "day"
    )


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


CHANGES: dict[str, Change] = {
    "colors": lambda s, g: class_colors(s, g, probability=1.0),
    "camera": lambda s, g: camera_effects(s, g, strength=1.0),
    "misalign": lambda s, g: misalign(s, g, pixels=3.0, move_second=False),
}


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", CHANGES)
def test_only_the_image_changes_as_a_function_of_the_seed(name: str, channels: int, seed: int) -> None:
    before, kept = street(channels), street(channels)
    after, again = (CHANGES[name](before, seeded(seed)) for _ in range(2))
    assert torch.equal(after.image, again.image)
    assert torch.equal(before.image, kept.image)
    assert after.image.shape == before.image.shape
    assert after.image.dtype == torch.float32
    assert not torch.equal(after.image, before.image)
    assert 0 <= float(after.image.min()) <= float(after.image.max()) <= 1
    assert after == replace(before, image=after.image)


@pytest.mark.parametrize(
    "change",
    [
        lambda s, g: class_colors(s, g, probability=0.0),
        lambda s, g: camera_effects(s, g, strength=0.0),
        lambda s, g: misalign(s, g, pixels=0.0, move_second=False),
    ],
)
def test_off_draws_nothing(change: Change) -> None:
    """So a run without these keys has the samples that it had before there were any."""
    before, generator = street(), seeded(5)
    assert change(before, generator) is before
    assert torch.equal(generator.get_state(), seeded(5).get_state())


def mean_color(sample: Sample, chosen: int) -> torch.Tensor:
    return sample.image[:, sample.label == chosen].mean(1)


def test_classes_change_independently_and_as_often_as_asked() -> None:
    changed = [class_colors(street(), seeded(seed), probability=0.4) for seed in range(300)]
    seen = torch.tensor([
        [float((mean_color(one, k) - torch.tensor(color)).abs().max()) > 0.02 for k, color in FLAT.items()]
        for one in changed
    ]).float()  # fmt: skip
    assert ((seen.mean(0) - 0.4).abs() < 0.1).all()
    assert (torch.corrcoef(seen.T).fill_diagonal_(0).abs() < 0.2).all()


def test_a_sky_becomes_white_and_a_house_looks_like_the_road_and_unlike_it() -> None:
    changed = [class_colors(street(), seeded(seed), probability=1.0) for seed in range(200)]
    white = sum(float(mean_color(one, SKY).min()) > 0.7 for one in changed)
    assert 5 < white < 100
    apart = torch.stack([(mean_color(one, HOUSE) - mean_color(one, ROAD)).abs().max() for one in changed])
    assert float((apart < 0.08).float().mean()) > 0.03
    assert float((apart > 0.3).float().mean()) > 0.2


def test_pixels_without_a_class_stay() -> None:
    for seed in range(20):
        changed = class_colors(street(), seeded(seed), probability=1.0)
        assert torch.equal(changed.image[:, 59], street().image[:, 59])


def test_an_image_that_is_older_than_the_label_is_colored_by_the_classes_of_its_own_time() -> None:
    """Else the new colors would show where the classes are now, which the image cannot know."""
    unlabeled = replace(street(), age_ns=33_000_000)
    now = street().label.roll(9, 1)
    old = replace(unlabeled, label=now, image_label=street().label)
    for seed in range(10):
        assert class_colors(unlabeled, seeded(seed), probability=1.0) is unlabeled
        changed = class_colors(old, seeded(seed), probability=1.0)
        assert torch.equal(changed.image, class_colors(street(), seeded(seed), probability=1.0).image)
        assert torch.equal(changed.label, now)


def test_the_label_of_an_older_image_goes_along_with_it() -> None:
    augmentation = Augmentation(crop=(40, 50), scale=(0.7, 1.4))
    labels = street().label
    aged = replace(street(), age_ns=33_000_000, image_label=labels)
    for seed in range(10):
        changed = augmentation(aged, seeded(seed))
        assert changed.image_label is not None
        assert torch.equal(changed.image_label, changed.label)


def test_no_edge_keeps_the_colors_that_were() -> None:
    """Borders of the image mix the colors of both sides; the new ones go over from one side to the other."""
    before = street()
    image = before.image.clone()
    image[:, 20] = 0.5 * (image[:, 19] + image[:, 20])
    beyond = []
    for seed in range(60):
        rows = class_colors(replace(before, image=image), seeded(seed), probability=1.0).image.mean(2)[:, 14:27]
        low, high = rows[:, [0, -1]].amin(1, keepdim=True), rows[:, [0, -1]].amax(1, keepdim=True)
        beyond.append(float(torch.maximum(low - rows, rows - high).max()))
    assert max(beyond) < 0.06  # shading alone is some of it


def test_a_night_stays_dark() -> None:
    dark = replace(street(), image=0.05 * street().image)
    brightest = max(float(class_colors(dark, seeded(seed), probability=1.0).image.max()) for seed in range(100))
    assert brightest < 0.35


def test_effects_of_a_camera_come_one_by_one_and_grow_with_the_strength() -> None:
    def change(strength: float) -> float:
        pairs = ((camera_effects(street(), seeded(seed), strength=strength), street()) for seed in range(40))
        return sum(float((one.image - other.image).abs().mean()) for one, other in pairs) / 40

    weak, strong = change(0.2), change(1.0)
    assert 0 < 2 * weak < strong
    images = [camera_effects(street(), seeded(seed), strength=1.0).image for seed in range(100)]
    means = torch.stack([image.mean((1, 2)) for image in images])
    assert float(means.mean(1).max() / means.mean(1).min()) > 2.5  # exposure and gamma
    assert float((means[:, 0] / means[:, 2]).max() / (means[:, 0] / means[:, 2]).min()) > 1.5  # white balance
    edges = torch.stack([(image[:, 41:56, 1:] - image[:, 41:56, :-1]).std() for image in images])
    assert float(edges.max() / edges.min()) > 5  # noise, and blur


def shift_of(moved: torch.Tensor, still: torch.Tensor) -> tuple[int, int]:
    """Return the shift (rows, columns) of the peak of the correlation of two images [H, W]."""
    spectra = torch.fft.fft2(moved - moved.mean()) * torch.fft.fft2(still - still.mean()).conj()
    row, column = divmod(int(torch.fft.ifft2(spectra).real.argmax()), moved.shape[1])
    return (row + 30) % 60 - 30, (column + 40) % 80 - 40


@pytest.mark.parametrize("move_second", [False, True])
def test_a_misaligned_input_moves_by_the_pixels_asked_and_the_other_stays(move_second: bool) -> None:
    before = replace(street(), image=torch.rand(3, 60, 80, generator=seeded(1)))
    shifts = []
    for seed in range(40):
        after = misalign(before, seeded(seed), pixels=4.0, move_second=move_second)
        moved, still = (after.second, after.image) if move_second else (after.image, after.second)
        assert torch.equal(still, before.image if move_second else before.second)
        assert torch.equal(after.label, before.label)
        shifts.append(shift_of(moved[0], (before.second if move_second else before.image)[0]))
    found = torch.tensor(shifts)
    assert int(found.abs().max()) in (3, 4)
    assert int(found.min()) < -1
    assert int(found.max()) > 1


def test_the_augmentation_has_all_of_them_on_the_crop() -> None:
    one = Augmentation(crop=(24, 32), flip=0.0, misalignment=2.0, class_colors=1.0, camera=1.0)
    after = pickle.loads(pickle.dumps(one))(street(), seeded(4))
    plain = Augmentation(crop=(24, 32), flip=0.0)(street(), seeded(4))
    assert torch.equal(after.second, plain.second)
    assert torch.equal(after.label, plain.label)
    assert not torch.allclose(after.image, plain.image, atol=0.02)
    thermal = Augmentation(crop=(24, 32), flip=0.0, misalignment=2.0, two_lenses=True)(street(), seeded(4))
    assert torch.equal(thermal.image, plain.image)
    assert not torch.equal(thermal.second, plain.second)

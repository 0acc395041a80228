"""Samples with old images: which image, the same for every order and worker, and right in the cache and the views."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch.utils.data import DataLoader

from mambaseg_core.checkpoint import create_model
from mambaseg_core.data import Ddd17Dataset, DsecDataset, Sample, collate
from mambaseg_core.data.dsec import DsecSequence
from mambaseg_core.data.image_age import draw_image, image_of_age, images_until
from mambaseg_core.data.loading import open_dataset
from mambaseg_core.data.transforms import Augmentation
from mambaseg_core.events import EventBuffer, Window
from mambaseg_core.inference import Segmenter
from mambaseg_core.models.presets import preset_preprocessing
from mambaseg_core.preprocessing import picture_preprocessing
from mambaseg_core.synth.dsec_drive import SequenceSummary

MS = 1_000_000
SETUP = replace(preset_preprocessing("mambaseg_dsec", size=(110, 160), channels=3), window=Window(duration_ns=50 * MS))
DDD17 = preset_preprocessing("mambaseg_ddd17", size=(200, 346), channels=1)
AUGMENTATION = Augmentation(crop=(64, 96), scale=(0.8, 1.2), photometric=0.5, modality_dropout=0.2, cover=0.2)


@dataclass
class Times:
    """The images of a recording."""

    image_times_ns: npt.NDArray[np.int64]
    image_paths: list[Path | None]


def images_at(*times_ms: float, without: tuple[int, ...] = ()) -> Times:
    paths = [None if number in without else Path(f"{number}.png") for number in range(len(times_ms))]
    return Times(np.round(np.array(times_ms) * MS).astype(np.int64), paths)


def at_rate(hz: float, count: int = 40) -> Times:
    return images_at(*(1000 * number / hz + 51_648_207 for number in range(count)))


@pytest.mark.parametrize(("hz", "count"), [(10, 2), (20, 3), (30, 4), (60, 7)])
def test_images_of_at_most_100_ms(hz: float, count: int) -> None:
    assert images_until(at_rate(hz), 20, 100 * MS) == list(range(21 - count, 21))
    assert images_until(at_rate(hz), 0, 100 * MS) == [0]
    assert images_until(at_rate(hz), 20, 0) == [20]


def test_images_by_irregular_times() -> None:
    times = images_at(0, 30, 31, 95, 99.5, 131.9, 132, 300, without=(2,))
    assert images_until(times, 6, 100 * MS) == [3, 4, 5, 6]  # 30 ms is 102 ms old
    assert images_until(times, 5, 101 * MS) == [1, 3, 4, 5]  # 101.9 ms: 1 ms more is allowed; 31 ms has no file
    assert images_until(times, 7, 100 * MS) == [7]
    assert images_until(images_at(200, 100, 150), 0, 60 * MS) == [0, 2]  # rows in no order


def test_draws_are_even_and_a_function_of_the_seed() -> None:
    times = at_rate(30)
    drawn = [draw_image(times, 20, 100 * MS, seed) for seed in range(2000)]
    counts = Counter(drawn)
    assert sorted(counts) == [17, 18, 19, 20]
    assert all(430 < count < 570 for count in counts.values())  # 500 +- 3.6 standard deviations
    assert [draw_image(times, 20, 100 * MS, seed) for seed in reversed(range(2000))] == drawn[::-1]


@pytest.mark.parametrize(
    ("hz", "ages_ms", "expected"),
    [
        (30, (0, 33, 66, 100, 133), (0, 1, 2, 3, 4)),
        (20, (0, 33, 66, 100), (0, 1, None, 2)),  # 100 ms instead of 66 misses by more than half a period
        (10, (0, 33, 66, 100), (0, None, 1, 1)),
        (60, (0, 33, 66, 100), (0, 2, 4, 6)),
        (10, (0, 50), (0, 1)),
    ],
)
def test_an_exact_age(hz: float, ages_ms: tuple[int, ...], expected: tuple[int | None, ...]) -> None:
    found = [image_of_age(at_rate(hz), 20, age * MS) for age in ages_ms]
    assert found == [None if steps is None else 20 - steps for steps in expected]
    assert image_of_age(at_rate(hz), 0, 33 * MS) is None


def test_an_exact_age_where_stamps_jitter_and_images_lack() -> None:
    times = images_at(0, 33.4, 66.6, 99.9, 133.3, 166.6, 200.0)
    assert [image_of_age(times, 6, 100 * MS), image_of_age(times, 3, 100 * MS)] == [3, 0]  # 100.1 and 99.9 ms
    lacking = images_at(0, 33.4, 66.6, 99.9, 133.3, 166.6, 200.0, without=(3,))
    assert image_of_age(lacking, 6, 100 * MS) is None  # 133.4 ms misses by more than half of 33 ms
    assert image_of_age(images_at(0, 0.001, 50), 1, 33 * MS) is None


def test_an_age_between_two_images_is_that_of_the_older_one_whatever_the_rounding() -> None:
    """In whole microseconds, two periods of 30 Hz are 66,666 us or 66,667 us."""
    micros = np.round(np.arange(40) * 1e6 / 30).astype(np.int64)
    times = Times(1000 * micros, [Path("image.png")] * 40)
    assert [image_of_age(times, number, 50 * MS) for number in range(2, 40)] == list(range(38))


@pytest.fixture
def root(tmp_path: Path, summary: SequenceSummary) -> Path:
    """A data set of one sequence, 20 images a second, in both parts."""
    shutil.copytree(summary.path, tmp_path / "drive")
    (tmp_path / "splits.yaml").write_text("train: [drive]\ntest: [drive]\n")
    return tmp_path


def same(one: Sample, other: Sample, *names: str) -> bool:
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in names or ("image", "second", "label"))


def test_a_sample_has_an_old_image_and_label_and_events_of_its_own_time(root: Path) -> None:
    plain, aged = (DsecDataset(root, "train", SETUP, image_age_ns=most * MS) for most in (0, 100))
    ages = set()
    for seed in range(12):
        sample = aged[(5, seed)]
        ages.add(sample.age_ns)
        assert same(sample, plain[5], "second", "label")
        assert (sample.stamp_ns, sample.index) == (plain[5].stamp_ns, 5)
        assert torch.equal(sample.image, plain[5 - sample.age_ns // (50 * MS)].image)
    assert ages == {0, 50 * MS, 100 * MS}
    assert not torch.equal(plain[5].image, plain[3].image)
    assert plain[5].age_ns == aged.load(5).age_ns == 0
    assert aged[(0, 3)].age_ns == 0  # the first image has no older one


def test_the_age_changes_no_other_draw(root: Path) -> None:
    plain, aged = (DsecDataset(root, "train", SETUP, AUGMENTATION, image_age_ns=most * MS) for most in (0, 100))
    old = [seed for seed in range(20) if aged[(4, seed)].age_ns]
    assert len(old) > 5
    for seed in old:
        assert same(aged[(4, seed)], plain[(4, seed)], "second", "label")
        assert aged[(4, seed)].covered == plain[(4, seed)].covered


def test_the_age_changes_no_draw_after_random_colors_of_classes(root: Path) -> None:
    """They are drawn for the classes of the image's own time, or for none where it has no label."""
    for number in (1, 2, 4):
        (root / f"drive/semantic/11classes/data/{number:06d}.png").unlink()
    lines = (root / "drive/semantic/timestamps.txt").read_text().split()
    (root / "drive/semantic/timestamps.txt").write_text("\n".join(lines[n] for n in (0, 3, 5)))
    colored = replace(AUGMENTATION, class_colors=0.5, modality_dropout=0.5)
    plain, aged = (DsecDataset(root, "train", SETUP, colored, image_age_ns=most * MS) for most in (0, 100))
    old = [seed for seed in range(40) if aged[(2, seed)].age_ns]
    assert len(old) > 10
    assert all(aged[(2, seed)].covered == plain[(2, seed)].covered for seed in old)


def test_age_0_is_the_labelled_image_also_of_a_data_set_that_draws_old_ones(root: Path) -> None:
    plain, aged = (DsecDataset(root, "train", SETUP, image_age_ns=most * MS) for most in (0, 100))
    for number in range(6):
        found = aged.at_ages(number, [0])[0]
        assert found is not None
        assert found.sample.age_ns == 0
        assert same(found.sample, plain[number])


def test_age_depends_neither_on_order_nor_on_workers(root: Path) -> None:
    dataset = DsecDataset(root, "train", SETUP, AUGMENTATION, image_age_ns=100 * MS)
    keys = [(number, 7 * number + place) for place, number in enumerate((5, 2, 4, 5, 3, 1))]
    expected = {key: dataset[key] for key in keys}
    assert len({sample.age_ns for sample in expected.values()}) > 1
    batches = [keys[3:][::-1], keys[:3][::-1]]
    loader = DataLoader(
        dataset, batch_sampler=batches, num_workers=2, collate_fn=collate, multiprocessing_context="spawn"
    )
    for batch_keys, batch in zip(batches, loader, strict=True):
        assert batch.age_ns == tuple(expected[key].age_ns for key in batch_keys)
        assert torch.equal(batch.image, torch.stack([expected[key].image for key in batch_keys]))
        assert torch.equal(batch.to("cpu").label, torch.stack([expected[key].label for key in batch_keys]))


def test_the_cache_mixes_no_pairs_up(root: Path, tmp_path: Path) -> None:
    plain = DsecDataset(root, "train", SETUP, image_age_ns=100 * MS)
    keys = [(number, seed) for number in (3, 4, 5) for seed in range(8)]
    for _ in range(2):  # makes the cache, and reads it
        cached = DsecDataset(root, "train", SETUP, cache=tmp_path / "cache", image_age_ns=100 * MS)
        assert all(same(cached[key], plain[key]) and cached[key].age_ns == plain[key].age_ns for key in keys)
    exact = DsecDataset(root, "train", SETUP, cache=tmp_path / "cache")
    assert all(same(exact[number], plain.load(number)) for number in (5, 4, 3))
    files = len(list((tmp_path / "cache").iterdir()))
    assert files == 5 + 3  # images 1 to 5, and three labels with their events: an image is kept once


def test_exact_ages_share_events_and_know_the_label_of_the_image(root: Path) -> None:
    (root / "drive/semantic/11classes/data/000003.png").unlink()
    lines = (root / "drive/semantic/timestamps.txt").read_text().split()
    (root / "drive/semantic/timestamps.txt").write_text("\n".join(lines[:3] + lines[4:]))
    dataset = DsecDataset(root, "test", SETUP)
    assert [index for _, index in dataset.items] == [0, 1, 2, 4, 5]
    plain = [dataset[number] for number in range(5)]
    now, at_50, at_100, at_400 = dataset.at_ages(4, [0, 50 * MS, 100 * MS, 400 * MS])
    assert at_400 is None
    assert now is not None
    assert at_50 is not None
    assert at_100 is not None
    assert same(now.sample, plain[4])
    assert now.before is None
    assert at_50.sample.age_ns == 50 * MS
    assert at_50.before is not None
    assert torch.equal(at_50.before, plain[3].label)
    assert torch.equal(at_50.sample.image, plain[3].image)
    assert at_50.sample.second is now.sample.second
    assert at_100.before is None  # image 3 has no label
    assert not same(at_100.sample, plain[4], "image")
    assert not same(at_100.sample, plain[2], "image")
    assert all(torch.equal(dataset.label(number), plain[number].label) for number in range(5))
    flipped = DsecDataset(root, "test", SETUP, lambda sample, _: replace(sample, label=sample.label.flip(-1)))
    (mirrored,) = flipped.at_ages(4, [50 * MS])
    assert mirrored is not None
    assert mirrored.before is not None
    assert torch.equal(mirrored.before, plain[3].label.flip(-1))
    changed = DsecDataset(root, "test", SETUP, AUGMENTATION).at_ages(4, [0, 50 * MS])
    first, second = (part.sample for part in changed if part is not None)
    assert same(first, second, "second", "label")


def test_an_old_image_through_the_segmenter_is_the_mask_made_by_hand(root: Path) -> None:
    """The window of events may end later than the image: `segment` takes no stamp of it."""
    sample = next(
        s for n in range(50) if (s := DsecDataset(root, "train", SETUP, image_age_ns=100 * MS)[(5, n)]).age_ns
    )
    sequence = DsecSequence(root / "drive")
    torch.manual_seed(1)
    model = create_model("mambaseg_nano", image_size=SETUP.size).eval()
    segmenter = Segmenter(model, "cpu", preprocessing=SETUP, calibration=sequence.calibration)
    buffer = EventBuffer(120, 160)
    for packet in sequence.iter_events(3 * MS):
        buffer.push(packet)
    events = buffer.window(sample.stamp_ns, SETUP.window, SETUP.bins)
    edges_ns = SETUP.window.edges_ns(events, sample.stamp_ns, bins=SETUP.bins, mode=SETUP.voxel_mode)
    old = sequence.image(5 - sample.age_ns // (50 * MS))
    image, second = segmenter.prepare(old, events, edges_ns)
    assert image is not None
    assert torch.equal(image, sample.image)
    assert second is not None
    assert torch.equal(second, sample.second)
    with torch.inference_mode():
        expected = model(sample.image[None], sample.second[None]).argmax(1)[0]
    ids = segmenter.segment(old, events, edges_ns).ids
    np.testing.assert_array_equal(ids, expected.numpy())
    assert (ids != segmenter.segment(sequence.image(5), events, edges_ns).ids).any()


def test_registered_views(tmp_path: Path, root: Path) -> None:
    """Without calibration the old image is taken as it is."""
    shutil.rmtree(root / "drive/calibration")
    for path in (root / "drive/images/left/rectified").iterdir():
        cv2.imwrite(str(path), np.full((120, 160, 3), 40 * int(path.stem), np.uint8))
    dataset = DsecDataset(root, "train", SETUP, registered=True, image_age_ns=50 * MS)
    found = {(sample.age_ns, round(float(255 * sample.image.mean()))) for n in range(20) if (sample := dataset[(5, n)])}
    assert found == {(0, 200), (50 * MS, 160)}


def write_ddd17(root: Path, step_ms: int) -> Path:
    """Write a recording, dir1: four images of even gray 40, 80, ... and labels of the second and the fourth."""
    folder, rng = root / "dir1", np.random.default_rng(0)
    for part in ("index", "imgs", "segmentation_masks"):
        (folder / part).mkdir(parents=True)
    t = np.sort(rng.integers(10**9, 10**9 + 4 * step_ms * MS, 30_000))
    xyp = np.stack([rng.integers(0, high, len(t)) for high in (346, 260, 2)], 1)
    t.tofile(folder / "events.dat.t")
    xyp.astype(np.int16).tofile(folder / "events.dat.xyp")
    stamps = 10**9 + step_ms * MS * np.arange(1, 5)
    np.save(folder / "index/index_50ms.npy", np.stack([stamps, stamps, stamps], 1))
    for number in range(1, 5):
        cv2.imwrite(str(folder / f"imgs/img_{number:08d}.png"), np.full((260, 346), 40 * number, np.uint8))
    for number in (2, 4):
        mask = np.full((200, 346), number, np.uint8)
        cv2.imwrite(str(folder / f"segmentation_masks/segmentation_{number:08d}.png"), mask)
    return root


def test_ddd17_takes_images_without_labels(tmp_path: Path) -> None:
    dataset = Ddd17Dataset(write_ddd17(tmp_path, 50), "test", DDD17, image_age_ns=100 * MS)
    found = {(s.age_ns // MS, round(float(255 * s.image.mean()))) for n in range(30) if (s := dataset[(1, n)])}
    assert found == {(0, 160), (50, 120), (100, 80)}
    (tmp_path / "dir1/imgs/img_00000003.png").unlink()
    dataset = Ddd17Dataset(tmp_path, "test", DDD17, image_age_ns=100 * MS)
    assert {dataset[(1, n)].age_ns // MS for n in range(30)} == {0, 100}
    aged = dataset.at_ages(1, [100 * MS])[0]
    assert aged is not None
    assert aged.before is not None
    assert aged.before.unique().tolist() == [2]
    assert dataset.label(1).unique().tolist() == [4]


def test_an_age_that_no_image_has_is_refused(tmp_path: Path, root: Path) -> None:
    words = r"data\.image_age_ms is 30, but no label has another image that is at most so old, expected .* raise it"
    with pytest.raises(ValueError, match=words):
        Ddd17Dataset(write_ddd17(tmp_path / "ddd17", 50), "test", DDD17, image_age_ns=30 * MS)
    with pytest.raises(ValueError, match=words):
        open_dataset("dsec", str(root), "train", SETUP, image_age_ns=30 * MS)
    with pytest.raises(ValueError, match=r"data\.image_age_ms is 30 with data.layout 'rgbx', whose images have no tim"):
        open_dataset("rgbx", str(root), "train", picture_preprocessing((64, 96)), image_age_ns=30 * MS)

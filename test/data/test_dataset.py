"""Data sets: the node's tensors, the published splits, workers, and errors for wrong files."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from mambaseg_core.checkpoint import create_model
from mambaseg_core.data import Batch, Ddd17Dataset, DsecDataset, collate
from mambaseg_core.data.ddd17 import Ddd17Sequence
from mambaseg_core.data.dsec import DsecSequence
from mambaseg_core.data.transforms import Augmentation
from mambaseg_core.events import EventBuffer, Window
from mambaseg_core.inference import Segmenter
from mambaseg_core.models.presets import preset_preprocessing
from mambaseg_core.preprocessing import Preprocessing
from mambaseg_core.synth.dsec_drive import SequenceSummary

SIZE = (110, 160)
WINDOWS = [Window(duration_ns=50_000_000), Window(count=2000), Window(count=300, per_bin=True)]


def setup_of(window: Window = WINDOWS[0], mode: str = "bilinear") -> Preprocessing:
    return replace(preset_preprocessing("mambaseg_dsec", size=SIZE, channels=3), window=window, voxel_mode=mode)


@pytest.fixture
def root(tmp_path: Path, summary: SequenceSummary) -> Path:
    """A data set of one sequence in both parts."""
    shutil.copytree(summary.path, tmp_path / "drive")
    (tmp_path / "splits.yaml").write_text("train: [drive]\ntest: [drive]\n")
    return tmp_path


@pytest.mark.parametrize("mode", ["bilinear", "binned"])
@pytest.mark.parametrize("window", WINDOWS)
def test_data_set_and_node_make_the_same_tensors(root: Path, window: Window, mode: str) -> None:
    """Bit for bit: the node's path is a buffer of packets, its window, and the segmenter."""
    setup = setup_of(window, mode)
    dataset = DsecDataset(root, "train", setup)
    sequence = DsecSequence(root / "drive")
    model = create_model("mambaseg_nano", image_size=(64, 64)).eval()  # its inputs are all that is asked of it
    segmenter = Segmenter(model, "cpu", preprocessing=setup, calibration=sequence.calibration)
    buffer = EventBuffer(120, 160)
    for packet in sequence.iter_events(3_000_000):
        buffer.push(packet)
    for number in (0, 3, 5):
        sample = dataset[number]
        events = buffer.window(sample.stamp_ns, window, setup.bins)
        edges = window.edges_ns(events, sample.stamp_ns, bins=setup.bins, mode=mode)
        image, voxel = segmenter.prepare(sequence.image(number), events, edges)
        assert sample.second.abs().sum() > 500
        assert torch.equal(sample.second, voxel)
        assert torch.equal(sample.image, image)


def test_a_sample(root: Path) -> None:
    sample = DsecDataset(root, "test", setup_of())[4]
    assert (sample.image.shape, sample.second.shape, sample.label.shape) == ((3, *SIZE), (10, *SIZE), SIZE)
    assert (sample.image.dtype, sample.second.dtype, sample.label.dtype) == (torch.float32, torch.float32, torch.int64)
    assert 0 <= float(sample.image.min()) < float(sample.image.max()) <= 1
    assert (sample.sequence, sample.index, sample.condition) == ("drive", 4, "day")
    label = cv2.imread(str(root / "drive/semantic/11classes/data/000004.png"), cv2.IMREAD_UNCHANGED)
    assert torch.equal(sample.label, torch.from_numpy(label[: SIZE[0]].astype(np.int64)))  # without the bottom rows


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_return_the_samples_of_one_process(root: Path, context: str) -> None:
    dataset = DsecDataset(root, "train", setup_of(), Augmentation(crop=(64, 64), photometric=0.5))
    expected = collate([dataset[(number, 10 + number)] for number in range(4)])  # opens the file before the fork
    keys = [[(number, 10 + number) for number in range(4)]]
    loader = DataLoader(dataset, batch_sampler=keys, num_workers=1, collate_fn=collate, multiprocessing_context=context)
    (batch,) = list(loader)
    for name in ("image", "second", "label"):
        assert torch.equal(getattr(batch, name), getattr(expected, name))
    assert (batch.index, batch.condition, len(batch)) == ((0, 1, 2, 3), ("day",) * 4, 4)


@pytest.mark.parametrize("window", WINDOWS)
def test_the_cache_returns_the_same_bits_and_reads_no_recording(
    root: Path, tmp_path: Path, window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = setup_of(window)
    plain = [DsecDataset(root, "train", setup)[number] for number in (0, 4)]
    cached = DsecDataset(root, "train", setup, cache=tmp_path / "cache")
    first = [cached[number] for number in (0, 4)]
    with monkeypatch.context() as patch:
        for name in ("image", "window", "label"):
            patch.setattr(DsecSequence, name, lambda *_: pytest.fail("the recording was read"))
        second = [cached[number] for number in (0, 4)]
        half = DsecDataset(root, "train", replace(setup, size=(55, 80)), cache=tmp_path / "cache")[0]
        assert half.image.shape == (3, 55, 80)  # another size needs no other view
        with pytest.raises(pytest.fail.Exception, match="the recording was read"):
            DsecDataset(root, "train", replace(setup, bins=5), cache=tmp_path / "cache")[0]
    for expected, *found in zip(plain, first, second, strict=True):
        for name in ("image", "second", "label"):
            assert all(torch.equal(getattr(expected, name), getattr(one, name)) for one in found)
    for file in (tmp_path / "cache").iterdir():
        file.write_bytes(file.read_bytes()[:1000])  # as after a crash
    assert torch.equal(cached[0].second, plain[0].second)


def test_a_batch_moves_and_is_refused_where_sizes_differ(root: Path) -> None:
    dataset = DsecDataset(root, "train", setup_of())
    batch = collate([dataset[0], dataset[1]])
    assert isinstance(batch.to("cpu"), Batch)
    cut = replace(dataset[1], image=dataset[1].image[..., :50])
    with pytest.raises(ValueError, match=r"drive/0 \[3, 110, 160\], drive/1 \[3, 110, 50\]"):
        collate([dataset[0], cut])
    with pytest.raises(ValueError, match="no samples"):
        collate([])


def test_the_published_split_drops_six_and_takes_every_second(tmp_path: Path, summary: SequenceSummary) -> None:
    for name in ("zurich_city_13_a", "zurich_city_14_c", "zurich_city_15_a"):
        lengthened(shutil.copytree(summary.path, tmp_path / "test" / name))
    dataset = DsecDataset(tmp_path, "test", setup_of())
    assert [index for _, index in dataset.items] == [6, 8, 10] * 3
    shutil.rmtree(tmp_path / "test" / "zurich_city_14_c")
    with pytest.raises(ValueError, match=r"zurich_city_14_c of split 'test' is missing .*'zurich_city_13_a', 'zur"):
        DsecDataset(tmp_path, "test", setup_of())
    with pytest.raises(ValueError, match="split is 'val', expected one of train, test"):
        DsecDataset(tmp_path, "val", setup_of())


def lengthened(root: str | Path) -> None:
    """Twelve images and labels instead of six, each shown twice, 1 us apart."""
    root = Path(root)
    for folder in (root / "images/left/rectified", root / "semantic/11classes/data"):
        for path in sorted(folder.iterdir(), reverse=True):
            shutil.copy(path, folder / f"{2 * int(path.stem) + 1:06d}.png")
            path.rename(folder / f"{2 * int(path.stem):06d}.png")
    times = [int(line) for line in (root / "images/timestamps.txt").read_text().split()]
    for part in ("images", "semantic"):
        (root / part / "timestamps.txt").write_text("\n".join(str(t + step) for t in times for step in (0, 1)))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("train: []", r"no sequences for split 'train' \(found: \['train'\]\)"),
        ("- drive", "no sequences for split 'train' .*list"),
        ("train: [drive]\nfirst_label: -1", "first_label -1"),
        ("train: [drive]\nlabel_step: 0", "label_step 0"),
        ("train: [drive]\nfirst_label: 6", "drive in .* has 6 labeled images, expected more than 6"),
        ("train: [other]", "sequence other of split 'train' is missing"),
        ("train: [drive", r"splits\.yaml is not YAML: .*; list the sequences under train and test"),
    ],
)
def test_wrong_splits(root: Path, content: str, words: str) -> None:
    (root / "splits.yaml").write_text(content)
    with pytest.raises(ValueError, match=words):
        DsecDataset(root, "train", setup_of())


def test_first_label_and_step(root: Path) -> None:
    (root / "splits.yaml").write_text("train: [drive]\nfirst_label: 1\nlabel_step: 2\n")
    assert [index for _, index in DsecDataset(root, "train", setup_of()).items] == [1, 3, 5]


def test_label_values_that_are_no_class_name_the_file(root: Path) -> None:
    path = root / "drive/semantic/11classes/data/000002.png"
    label = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    label[3, 4:6] = 11, 200
    cv2.imwrite(str(path), label)
    dataset = DsecDataset(root, "train", setup_of())
    with pytest.raises(ValueError, match=r"data/000002\.png has the values \[11, 200\], expected .* 0 to 10"):
        dataset[2]
    dataset[3]


def test_labels_belong_to_images_by_time(root: Path) -> None:
    """As many labels as images, but in another order of numbers."""
    times = root / "drive/semantic/timestamps.txt"
    lines = (root / "drive/images/timestamps.txt").read_text().split()
    times.write_text("\n".join(lines[:-1]))
    (root / "drive/semantic/11classes/data/000002.png").unlink()
    paths = DsecSequence(root / "drive").label_paths
    stems = [None if path is None else path.stem for path in paths]
    assert stems == ["000000", "000001", "000003", "000004", "000005", None]
    times.write_text("\n".join([str(int(lines[0]) + 1), *lines[1:-1]]))
    with pytest.raises(ValueError, match=r"drive has 1 labels at times of no image, 000000\.png at \d+ us"):
        DsecSequence(root / "drive")


def test_another_label_set_is_refused(root: Path) -> None:
    with pytest.raises(ValueError, match="label set is 'ddd17_6', expected one of dsec_11, dsec_19"):
        DsecDataset(root, "train", replace(setup_of(), labels="ddd17_6"))


DDD17 = preset_preprocessing("mambaseg_ddd17", size=(200, 346), channels=1)


@pytest.fixture
def ddd17(tmp_path: Path) -> Path:
    """One recording, dir1: 4 images 50 ms apart, 3000 events, masks of images 2 and 4."""
    folder = tmp_path / "dir1"
    rng = np.random.default_rng(0)
    for part in ("index", "imgs", "segmentation_masks"):
        (folder / part).mkdir(parents=True)
    t = np.sort(rng.integers(10**9, 10**9 + 200_000_000, 3000))
    xyp = np.stack([rng.integers(0, 346, 3000), rng.integers(0, 260, 3000), rng.integers(0, 2, 3000)], 1)
    t.tofile(folder / "events.dat.t")
    xyp.astype(np.int16).tofile(folder / "events.dat.xyp")
    stamps = 10**9 + 50_000_000 * np.arange(1, 5)
    ends = np.searchsorted(t, stamps)
    starts = np.searchsorted(t, stamps - 50_000_000)
    np.save(folder / "index/index_50ms.npy", np.stack([stamps, ends, starts], 1))
    for number in range(1, 5):
        cv2.imwrite(str(folder / f"imgs/img_{number:08d}.png"), np.full((260, 346), 40 * number, np.uint8))
    for number in (2, 4):
        mask = np.full((200, 346), number, np.uint8)
        cv2.imwrite(str(folder / f"segmentation_masks/segmentation_{number:08d}.png"), mask)
    return tmp_path


def test_ddd17(ddd17: Path) -> None:
    dataset = Ddd17Dataset(ddd17, "test", DDD17)
    assert [index for _, index in dataset.items] == [1, 3]
    first, second = dataset[0], dataset[1]
    assert (first.image.shape, first.second.shape, first.label.shape) == ((1, 200, 346), (10, 200, 346), (200, 346))
    assert (first.label.unique().tolist(), second.label.unique().tolist()) == ([2], [4])
    assert float(first.image.mean()) == pytest.approx(80 / 255)
    sequence = Ddd17Sequence(ddd17 / "dir1")
    _, end, start = np.load(ddd17 / "dir1/index/index_50ms.npy")[3]
    window = sequence.window(second.stamp_ns, DDD17.window, 10)
    t = np.fromfile(ddd17 / "dir1/events.dat.t", np.int64)
    np.testing.assert_array_equal(window.t_ns, t[start:end])
    few = sequence.window(second.stamp_ns, Window(count=20), 10)
    np.testing.assert_array_equal(few.t_ns, t[end - 20 : end])
    loader = DataLoader(dataset, 2, num_workers=1, collate_fn=collate, multiprocessing_context="spawn")
    assert torch.equal(next(iter(loader)).second[1], second.second)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (
            lambda d: (d / "events.dat.xyp").write_bytes(b"\0" * 12),
            "has {'events.dat.t': 3000, 'events.dat.xyp': 2} events, expected as many",
        ),
        (lambda d: (d / "events.dat.t").unlink(), r"events\.dat\.t is missing, expected DDD17's memory map"),
        (lambda d: (d / "imgs/img_00000002.png").unlink(), "has 1 masks without an image, .*segmentation_00000002"),
        (lambda d: shutil.rmtree(d / "index"), r"has no index/index_50ms\.npy"),
        (lambda d: np.save(d / "index/index_50ms.npy", np.zeros((4, 2))), r"float64 \[4, 2\], expected integers"),
        (lambda d: (d / "imgs/img_00000004.png").rename(d / "imgs/img_00000009.png"), "00000009.* and 4 image times"),
        (lambda d: shutil.rmtree(d), r"dir1 has no index/index_50ms\.npy \(found: no such folder\)"),
    ],
)
def test_ddd17_files_that_do_not_fit(ddd17: Path, harm: object, words: str) -> None:
    harm(ddd17 / "dir1")  # type: ignore[operator]
    with pytest.raises(ValueError, match=words):
        Ddd17Dataset(ddd17, "test", DDD17)[0]


def test_ddd17_s_splits(ddd17: Path) -> None:
    with pytest.raises(ValueError, match="split is 'valid', expected one of train, test"):
        Ddd17Dataset(ddd17, "valid", DDD17)
    with pytest.raises(ValueError, match="'dsec_11', expected 'ddd17_6'"):
        Ddd17Dataset(ddd17, "test", setup_of())
    with pytest.raises(ValueError, match="dir0 has no index"):
        Ddd17Dataset(ddd17, "train", DDD17)

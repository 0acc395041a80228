"""What must fit before images and events are taken as one: views, sizes, clocks; and the files that are images."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
import torch
import yaml

from mambaseg_core.checkpoint import create_model, save_checkpoint
from mambaseg_core.data import Ddd17Dataset, DsecDataset, RgbxDataset
from mambaseg_core.data.dsec import DsecSequence
from mambaseg_core.data.loading import open_dataset
from mambaseg_core.evaluation.predict import open_recording
from mambaseg_core.events import Events, Window
from mambaseg_core.inference import Segmenter
from mambaseg_core.models.presets import preset_preprocessing
from mambaseg_core.preprocessing import check_registered, picture_preprocessing
from mambaseg_core.recordings import open_events
from mambaseg_core.recordings.image_times import check_overlap
from mambaseg_core.synth.dsec_drive import SequenceSummary

SETUP = replace(
    preset_preprocessing("mambaseg_dsec", size=(110, 160), channels=3), window=Window(duration_ns=50_000_000)
)
DDD17 = preset_preprocessing("mambaseg_ddd17", size=(200, 346), channels=1)
NO_CALIBRATION = r"drive has no calibration/cam_to_cam\.yaml, without which .* https://dsec\.ifi\.uzh\.ch"


@pytest.fixture
def root(tmp_path: Path, summary: SequenceSummary) -> Path:
    """A data set of one sequence in both parts."""
    shutil.copytree(summary.path, tmp_path / "drive")
    (tmp_path / "splits.yaml").write_text("train: [drive]\ntest: [drive]\n")
    return tmp_path


@pytest.fixture(scope="module")
def one_size(tmp_path_factory: pytest.TempPathFactory, write_small: Callable[..., SequenceSummary]) -> SequenceSummary:
    """Write a sequence whose images have the size of the event sensor; tests must not change its files."""
    return write_small(tmp_path_factory.mktemp("one_size"), image_size=(120, 160))


@pytest.fixture
def registered(tmp_path: Path, one_size: SequenceSummary) -> Path:
    """A data set of one sequence without calibration, in both parts."""
    shutil.copytree(one_size.path, tmp_path / "drive", ignore=shutil.ignore_patterns("calibration"))
    (tmp_path / "splits.yaml").write_text("train: [drive]\ntest: [drive]\n")
    return tmp_path


# -- registration ------------------------------------------------------------------------------------------------------


def test_a_sequence_without_its_calibration_is_refused_wherever_two_views_meet(registered: Path) -> None:
    root = registered
    opens: list[Callable[..., object]] = [
        lambda **how: DsecDataset(root, "train", SETUP, **how),
        lambda **how: open_dataset("dsec", str(root), "test", SETUP, **how),
        lambda **how: open_recording(root / "drive", **how),
        lambda **how: DsecSequence(root / "drive", **how).calibration,
    ]
    for open_ in opens:
        with pytest.raises(ValueError, match=NO_CALIBRATION):
            open_()
        open_(registered=True)


def test_a_registered_sequence_is_not_warped_and_has_the_images_size(registered: Path) -> None:
    sequence = DsecSequence(registered / "drive", registered=True)
    assert (sequence.calibration, sequence.event_size) == (None, (120, 160))
    sample = DsecDataset(registered, "train", SETUP, registered=True)[2]
    assert torch.equal(sample.image, SETUP.image_tensor(sequence.image(2)))
    events = sequence.window(sample.stamp_ns, SETUP.window, SETUP.bins)
    edges = SETUP.window.edges_ns(events, sample.stamp_ns, bins=SETUP.bins, mode=SETUP.voxel_mode)
    assert torch.equal(sample.second, SETUP.voxel_tensor(events, edges))


def test_events_in_a_corner_of_the_images_are_not_registered(registered: Path) -> None:
    for path in (registered / "drive/images/left/rectified").iterdir():
        cv2.imwrite(str(path), np.zeros((360, 480, 3), np.uint8))
    for open_ in (
        lambda: DsecDataset(registered, "train", SETUP, registered=True),
        lambda: open_recording(registered / "drive", registered=True),
    ):
        with pytest.raises(ValueError, match=r"events of sequence drive reach column 15\d and row 1\d\d of 480x360"):
            open_()


def test_a_registered_sequence_with_a_calibration_is_refused(root: Path) -> None:
    with pytest.raises(ValueError, match=r"is said to be registered and has .*cam_to_cam\.yaml, expected one of them"):
        DsecDataset(root, "train", SETUP, registered=True)


def test_registered_views_have_one_shape(registered: Path) -> None:
    cv2.imwrite(str(registered / "drive/images/left/rectified/000001.png"), np.zeros((100, 160, 3), np.uint8))
    with pytest.raises(
        ValueError, match=r"the image is 160x100 and the second input 160x120, which cannot be one view"
    ):
        DsecDataset(registered, "train", SETUP, registered=True)[1]
    segmenter = Segmenter(create_model("mambaseg_nano", image_size=(64, 64)), "cpu", preprocessing=SETUP)
    with pytest.raises(ValueError, match="which cannot be one view, expected one shape where there is no calibration"):
        segmenter.segment(np.zeros((100, 180, 3), np.uint8), Events.empty(480, 640))
    with pytest.raises(ValueError, match="the image is 320x240 and the second input 240x240"):
        check_registered((240, 320), (240, 240))
    check_registered((260, 346), (260, 346))
    check_registered((1080, 1440), (480, 640))


@pytest.mark.parametrize("size", [(135, 180), (110, 159), (121, 160), (55, 80)])
def test_a_label_of_another_view_is_refused(root: Path, size: tuple[int, int]) -> None:
    path = root / "drive/semantic/11classes/data/000001.png"
    cv2.imwrite(str(path), np.zeros(size, np.uint8))
    words = rf"000001\.png is {size[1]}x{size[0]}, but the events' view is 160x120, expected its columns"
    with pytest.raises(ValueError, match=words):
        DsecDataset(root, "train", SETUP)[1]
    cv2.imwrite(str(path), np.zeros((120, 160), np.uint8))
    assert DsecDataset(root, "train", SETUP)[1].label.shape == (110, 160)


def test_a_calibration_of_another_image_size_is_refused(root: Path) -> None:
    cv2.imwrite(str(root / "drive/images/left/rectified/000001.png"), np.zeros((100, 180, 3), np.uint8))
    with pytest.raises(
        ValueError, match=r"image has shape \[100, 180, 3\], expected 135 rows and 180 columns as the frame"
    ):
        DsecDataset(root, "train", SETUP)[1]


def test_a_cache_made_without_the_calibration_is_not_used_with_it(registered: Path, one_size: SequenceSummary) -> None:
    cache = str(registered / "cache")
    before = DsecDataset(registered, "train", SETUP, cache=cache, registered=True)[1]
    calibration = shutil.copytree(one_size.path / "calibration", registered / "drive/calibration")
    warped = DsecDataset(registered, "train", SETUP, cache=cache)[1]
    assert torch.equal(warped.image, DsecDataset(registered, "train", SETUP)[1].image)
    assert not torch.equal(before.image, warped.image)
    file = calibration / "cam_to_cam.yaml"  # another calibration, another view
    content = yaml.safe_load(file.read_text())
    content["intrinsics"]["camRect1"]["camera_matrix"][2] += 20
    file.write_text(yaml.safe_dump(content))
    moved = DsecDataset(registered, "train", SETUP, cache=cache)[1]
    assert not torch.equal(moved.image, warped.image)
    assert torch.equal(moved.image, DsecDataset(registered, "train", SETUP)[1].image)


def test_the_commands_ask_for_the_calibration_or_the_word(
    mambaseg: Callable[..., Any], registered: Path, tmp_path: Path
) -> None:
    root = registered
    checkpoint = tmp_path / "model.safetensors"
    save_checkpoint(checkpoint, create_model("mambaseg_nano", image_size=(32, 64)), replace(SETUP, size=(32, 64)))
    config = tmp_path / "config.yaml"
    recipe = {
        "model": {"name": "mambaseg_nano"}, "data": {"layout": "dsec", "size": [32, 64], "workers": 0},
        "optimizer": {"lr": 1e-4}, "loop": {"steps": 1, "batch": 1},
    }  # fmt: skip
    config.write_text(yaml.safe_dump(recipe))
    eval_ = ("eval", checkpoint, root, "--workers", 0, "--samples", 1)
    predict = ("predict", checkpoint, root / "drive", tmp_path / "out")
    train = ("train", config, "--data", root, "--out", tmp_path / "run")
    for words, more in (
        (eval_, ("--registered",)),
        (predict, ("--registered",)),
        (train, ("--set", "data.registered=true")),
    ):
        refused = mambaseg(*words)
        assert refused.returncode == 1
        assert "drive has no calibration/cam_to_cam.yaml" in refused.stdout
        assert refused.stdout.count("\n") == 1
        accepted = mambaseg(*words, *more)
        assert accepted.returncode == 0, accepted.stdout


def test_masks_of_another_calibration_are_not_kept(
    mambaseg: Callable[..., Any], registered: Path, one_size: SequenceSummary
) -> None:
    checkpoint = registered / "model.safetensors"
    save_checkpoint(checkpoint, create_model("mambaseg_nano", image_size=(32, 64)), replace(SETUP, size=(32, 64)))
    words = ("predict", checkpoint, registered / "drive", registered / "out")
    assert mambaseg(*words, "--registered").returncode == 0
    shutil.copytree(one_size.path / "calibration", registered / "drive/calibration")
    refused = mambaseg(*words)
    assert refused.returncode == 1
    assert "holds masks whose calibration is 'none', but now it is" in refused.stdout


# -- the sensor's size -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moved", ["", "cam_to_cam.yaml"])
def test_the_sensor_s_size_is_the_calibration_s(root: Path, mambaseg: Callable[..., Any], moved: str) -> None:
    folder = root / "drive"
    if moved:
        shutil.move(folder / "calibration/cam_to_cam.yaml", folder / moved)
    for path in (folder, folder / "events/left/events.h5"):
        with open_events(path) as reader:
            assert (reader.height, reader.width) == (120, 160)
        with open_events(path, size=(480, 640)) as reader:
            assert (reader.height, reader.width) == (480, 640)
        assert "160x120" in mambaseg("info", path).stdout
    film = mambaseg("convert", "events-to-video", folder, root / "film.mp4", "--seconds", 0.05)
    assert "frames of 160x120" in film.stdout
    shutil.rmtree(folder / "calibration", ignore_errors=True)
    (folder / "cam_to_cam.yaml").unlink(missing_ok=True)
    assert "640x480" in mambaseg("info", folder).stdout


def test_a_calibration_elsewhere_is_none_of_the_file_s(root: Path) -> None:
    folder = root / "set/part/drive"
    folder.mkdir(parents=True)
    shutil.copytree(root / "drive/calibration", root / "set/calibration")
    (folder / "events.h5").symlink_to(root / "drive/events/left/events.h5")
    with open_events(folder / "events.h5") as reader:
        assert (reader.height, reader.width) == (480, 640)
    shutil.copytree(root / "drive/calibration", folder / "calibration")
    with open_events(folder / "events.h5") as reader:
        assert (reader.height, reader.width) == (120, 160)


@pytest.mark.parametrize(
    "text", ["", "[1]", "intrinsics: {}", "intrinsics: {cam0: {resolution: [0, 5]}}", "a: [", "\0", "intrinsics: 3"]
)
def test_a_calibration_without_a_size_is_named(root: Path, text: str) -> None:
    (root / "drive/calibration/cam_to_cam.yaml").write_text(text)
    with pytest.raises(
        ValueError, match=r"cam_to_cam\.yaml has no intrinsics/cam0/resolution \(.*\), expected \[width"
    ):
        open_events(root / "drive")


# -- clocks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("after_ns", "fits"), [(-1, True), (53_000, True), (5_000_000, True), (5_000_001, False)])
def test_an_image_may_come_shortly_after_the_last_event(after_ns: int, fits: bool) -> None:
    """The only image of a drive of 0.1 s came 53 us after the last event."""
    times, events_ns = np.array([10**9 + after_ns]), (10**8, 10**9)
    if fits:
        check_overlap("drive", times, events_ns, "check the times")
    else:
        with pytest.raises(ValueError, match="0 of the 1 images of drive"):
            check_overlap("drive", times, events_ns, "check the times")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda t: t + 3_600_000_000,
            r"0 of the 6 images of sequence drive lie within the time of its events \(images",
        ),
        (lambda t: t - t[0], "0 of the 6 images"),
        (lambda t: t * 1000, "fit if they are read as nanoseconds, not as microseconds"),
        (lambda t: t // 1000, "fit if they are read as milliseconds"),
        (lambda t: t // 1_000_000, "the 6 images of sequence drive are taken within 0 us, expected at most 10,000"),
    ],
)
def test_images_on_another_clock_than_the_events_are_refused(
    root: Path, change: Callable[[np.ndarray], np.ndarray], words: str
) -> None:
    file = root / "drive/images/timestamps.txt"
    times = "".join(f"{t}\n" for t in change(np.loadtxt(file, np.int64)))
    for path in (file, root / "drive/semantic/timestamps.txt"):
        path.write_text(times)
    for open_ in (lambda: DsecDataset(root, "train", SETUP), lambda: open_recording(root / "drive")):
        with pytest.raises(ValueError, match=words):
            open_()


def test_images_without_any_event_are_refused(root: Path) -> None:
    with h5py.File(root / "drive/events/left/events.h5", "r+") as file:
        for name in ("x", "y", "t", "p"):
            del file[f"events/{name}"]
            file.create_dataset(f"events/{name}", data=np.zeros(0, np.uint16))
        del file["ms_to_idx"]
        file.create_dataset("ms_to_idx", data=np.zeros(0, np.uint64))
    with pytest.raises(ValueError, match="0 of the 6 images of sequence drive lie within the time of its events"):
        DsecDataset(root, "train", SETUP)


def ddd17(folder: Path, shift_ns: int = 0) -> None:
    """Write dir1 with 4 images 50 ms apart, 500 events, and masks of images 2 and 4."""
    for part in ("index", "imgs", "segmentation_masks"):
        (folder / part).mkdir(parents=True)
    np.linspace(10**9, 10**9 + 250_000_000, 500).astype(np.int64).tofile(folder / "events.dat.t")
    np.zeros((500, 3), np.int16).tofile(folder / "events.dat.xyp")
    stamps = 10**9 + 50_000_000 * np.arange(1, 5) + shift_ns
    np.save(folder / "index/index_50ms.npy", np.stack([stamps, stamps, stamps], 1))
    for number in range(1, 5):
        cv2.imwrite(str(folder / f"imgs/img_{number:08d}.png"), np.zeros((260, 346), np.uint8))
    for number in (2, 4):
        path = folder / f"segmentation_masks/segmentation_{number:08d}.png"
        cv2.imwrite(str(path), np.zeros((200, 346), np.uint8))


def test_ddd17_is_registered_and_its_clock_is_checked(tmp_path: Path) -> None:
    ddd17(tmp_path / "dir1")
    assert len(Ddd17Dataset(tmp_path, "test", DDD17)) == 2
    shutil.rmtree(tmp_path / "dir1")
    ddd17(tmp_path / "dir1", shift_ns=10**12)
    for open_ in (lambda: Ddd17Dataset(tmp_path, "test", DDD17), lambda: open_recording(tmp_path / "dir1")):
        with pytest.raises(ValueError, match="0 of the 4 images of sequence dir1"):
            open_()


# -- files -------------------------------------------------------------------------------------------------------------


def litter(folder: Path, name: str) -> None:
    """Add what macOS, Windows and archives leave beside an image."""
    (folder / f"._{name}").write_bytes(b"\0\5\26\7 Mac OS X")
    (folder / ".DS_Store").touch()
    (folder / "Thumbs.db").touch()
    (folder / "a folder 7.png").mkdir()


def test_dsec_and_ddd17_read_images_only(root: Path, tmp_path: Path) -> None:
    for folder in ("images/left/rectified", "semantic/11classes/data"):
        litter(root / "drive" / folder, "000000.png")
        (root / "drive" / folder / "000001.png").rename(root / "drive" / folder / "000001.PNG")
    assert len(DsecDataset(root, "train", SETUP)) == 6
    ddd17(tmp_path / "dir1")
    for folder, name in (("imgs", "img_00000001.png"), ("segmentation_masks", "segmentation_00000001.png")):
        litter(tmp_path / "dir1" / folder, name)
    assert [index for _, index in Ddd17Dataset(tmp_path, "test", DDD17).items] == [1, 3]
    shutil.copy(tmp_path / "dir1/imgs/img_00000002.png", tmp_path / "dir1/imgs/copy_2.png")
    with pytest.raises(ValueError, match=r"copy_2\.png has the number of another file, expected one of each"):
        Ddd17Dataset(tmp_path, "test", DDD17)


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    tag = b"Exif\0\0II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(tag) + 2) + tag + jpeg[2:]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """One pair of MFNet's layout, 24 x 24: left and right halves differ in image, second image and label."""
    halves = np.zeros((24, 24), np.uint8)
    halves[:, 12:] = 200
    for folder in ("RGB", "Modal", "Label"):
        (tmp_path / folder).mkdir()
    (tmp_path / "RGB/a.jpg").write_bytes(cv2.imencode(".jpg", np.dstack([halves] * 3))[1].tobytes())
    cv2.imwrite(str(tmp_path / "Modal/a.png"), halves)
    cv2.imwrite(str(tmp_path / "Label/a.png"), halves // 100)
    (tmp_path / "train.txt").write_text("a\n")
    return tmp_path


@pytest.mark.parametrize("orientation", [2, 3, 6, 8])
def test_a_pair_stays_registered_when_one_picture_says_that_it_is_turned(pairs: Path, orientation: int) -> None:
    setup = picture_preprocessing((24, 24), labels="mfnet_9")
    before = RgbxDataset(pairs, "train", setup)[0]
    path = pairs / "RGB/a.jpg"
    path.write_bytes(with_orientation(path.read_bytes(), orientation))
    after = RgbxDataset(pairs, "train", setup)[0]
    assert torch.equal(before.image, after.image)
    assert torch.equal(before.second, after.second)
    assert (after.image[0, :, 2:10] < 0.1).all()
    assert (after.image[0, :, 14:22] > 0.7).all()


def test_pairs_are_images_only_and_of_one_name(pairs: Path) -> None:
    for folder, name in (("RGB", "a.jpg"), ("Modal", "a.png"), ("Label", "a.png")):
        litter(pairs / folder, name)
    (pairs / "RGB/a.jpg").rename(pairs / "RGB/a.JPG")
    setup = picture_preprocessing((24, 24), labels="mfnet_9")
    dataset = RgbxDataset(pairs, "train", setup)
    assert dataset[0].image.shape == (3, 24, 24)
    recording, numbers = open_recording(pairs, "thermal")
    assert (numbers, recording.names) == ([0], ["a"])  # type: ignore[union-attr]
    shutil.copy(pairs / "RGB/a.JPG", pairs / "RGB/a.png")
    with pytest.raises(ValueError, match=r"a\.JPG and .*a\.png have one name, expected one image of each name"):
        RgbxDataset(pairs, "train", setup)


def test_a_label_that_is_a_jpeg_is_refused(pairs: Path) -> None:
    label = cv2.imread(str(pairs / "Label/a.png"), cv2.IMREAD_UNCHANGED)
    (pairs / "Label/a.png").unlink()
    cv2.imwrite(str(pairs / "Label/a.jpg"), label)
    with pytest.raises(ValueError, match=r"a\.jpg is a JPEG, which changes class ids, expected PNG"):
        RgbxDataset(pairs, "train", picture_preprocessing((24, 24), labels="mfnet_9"))[0]

"""Tiny data sets in the layouts of MFNet, PST900, NYU Depth V2 and SUN RGB-D."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mambaseg_core.data import RgbxDataset, collate
from mambaseg_core.data.transforms import Augmentation
from mambaseg_core.labels import LABEL_SETS
from mambaseg_core.preprocessing import Preprocessing, picture_preprocessing

SIZE = (24, 32)
# label set: second input, folders of image, second and labels, the image's suffix, lines of the list for image "a.1"
LAYOUTS = {
    "mfnet_9": ("thermal", ("RGB", "Modal", "Label"), ".png", "{}"),
    "pst900_5": ("thermal", ("rgb_resize", "thermal_resize", "labels_resize"), ".png", "{}.png"),
    "nyu_40": ("depth", ("RGB", "Depth", "Label"), ".jpg", "RGB/{}.jpg Label/{}.png"),
    "sunrgbd_37": ("depth", ("RGB", "Depth", "labels"), ".jpg", "RGB/{}.jpg"),
}
NAMES = ("00001D", "00002N", "00003D")


def setup_of(labels: str, **changes: object) -> Preprocessing:
    setup = picture_preprocessing(SIZE, second=LAYOUTS[labels][0], labels=labels)
    return replace(setup, **changes)  # type: ignore[arg-type]


def write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def write_pair(root: Path, labels: str, name: str, number: int) -> None:
    """Write a red image, a second image of one value, and a label file with the lowest and the highest value."""
    _, folders, ending, _ = LAYOUTS[labels]
    write(root / folders[0] / f"{name}{ending}", np.full((*SIZE, 3), (0, 0, 255), np.uint8))
    write(root / folders[1] / f"{name}.png", np.full(SIZE, 51 * (number + 1), np.uint8))
    count = len(LABEL_SETS[labels].classes)
    label = np.zeros(SIZE, np.uint8)
    label[:, 16:] = count if labels in ("nyu_40", "sunrgbd_37") else count - 1
    write(root / folders[2] / f"{name}.png", label)


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    labels = request.param
    for number, name in enumerate(NAMES):
        write_pair(tmp_path, labels, name, number)
    for split, names in (("train", NAMES), ("test", NAMES[:2]), ("test_day", NAMES[:1]), ("test_night", NAMES[1:2])):
        (tmp_path / f"{split}.txt").write_text("".join(LAYOUTS[labels][3].format(name, name) + "\n" for name in names))
    return labels, tmp_path


def test_every_layout_has_image_second_and_class_ids(layout: tuple[str, Path]) -> None:
    labels, root = layout
    dataset = RgbxDataset(root, "train", setup_of(labels))
    assert len(dataset) == 3
    sample = dataset[1]
    assert (sample.sequence, sample.index, sample.condition) == ("00002N", 1, "unknown")
    assert sample.image[:, 5, 5].tolist() == pytest.approx([1, 0, 0], abs=0.02)  # JPEG
    torch.testing.assert_close(sample.second, torch.full((3, *SIZE), 0.4))
    last = len(LABEL_SETS[labels].classes) - 1
    none = 255 if labels in ("nyu_40", "sunrgbd_37") else 0
    assert sample.label[0].tolist() == [none] * 16 + [last] * 16
    assert all(torch.equal(dataset.label(number), dataset[number].label) for number in range(3))
    assert dataset.at_ages(1, [0, 33_000_000])[1] is None  # pairs have no times
    batch = collate([dataset[number] for number in range(3)])
    assert batch.second.shape == (3, 3, *SIZE)


def test_lists_of_conditions_name_the_condition_and_are_splits(layout: tuple[str, Path]) -> None:
    labels, root = layout
    test = RgbxDataset(root, "test", setup_of(labels))
    assert [test[number].condition for number in range(2)] == ["day", "night"]
    (root / "test_other.txt").write_text("00001D\n00003D\n")  # not a part of test.txt
    assert RgbxDataset(root, "test", setup_of(labels)).conditions == test.conditions
    assert [RgbxDataset(root, "test_night", setup_of(labels))[0].sequence] == ["00002N"]


def test_pst900_as_published_has_a_folder_for_each_split_and_no_list(tmp_path: Path) -> None:
    for number, name in enumerate(NAMES):
        for folder, target in (("rgb_resize", "rgb"), ("thermal_resize", "thermal"), ("labels_resize", "labels")):
            write_pair(tmp_path / "all", "pst900_5", name, number)
            (tmp_path / "test" / target).mkdir(parents=True, exist_ok=True)
            (tmp_path / "all" / folder / f"{name}.png").rename(tmp_path / "test" / target / f"{name}.png")
    (tmp_path / "test" / "thermal_raw").mkdir()
    dataset = RgbxDataset(tmp_path, "test", setup_of("pst900_5"))
    assert [dataset[number].sequence for number in range(3)] == list(NAMES)
    assert float(dataset[2].second.mean()) == pytest.approx(0.6)


def test_depth_in_millimetres_is_scaled_by_the_range(layout: tuple[str, Path]) -> None:
    labels, root = layout
    folders = LAYOUTS[labels][1]
    depth = np.full(SIZE, 2500, np.uint16)
    depth[:, :4], depth[:, 28:] = 0, 60000
    write(root / folders[1] / "00001D.png", depth)
    setup = setup_of(labels, second_range=(0.0, 10_000.0), bins=10)
    voxel = RgbxDataset(root, "train", setup)[0].second
    assert voxel.shape == (10, *SIZE)
    assert voxel[7, 3, [0, 10, 31]].tolist() == [0.0, 0.25, 1.0]
    with pytest.raises(ValueError, match=r"00001D\.png has 16 bits and values up to 60000, expected 0 to 255"):
        RgbxDataset(root, "train", setup_of(labels))[0]


def test_a_thermal_image_of_three_channels_counts_by_its_luma(layout: tuple[str, Path]) -> None:
    labels, root = layout
    write(root / LAYOUTS[labels][1][1] / "00001D.png", np.full((*SIZE, 3), 102, np.uint8))
    torch.testing.assert_close(RgbxDataset(root, "train", setup_of(labels))[0].second, torch.full((3, *SIZE), 0.4))


def test_samples_are_augmented_together_and_the_data_set_can_be_pickled(layout: tuple[str, Path]) -> None:
    labels, root = layout
    dataset = RgbxDataset(root, "train", setup_of(labels), Augmentation((20, 20), (0.5, 1.75)))
    sample = pickle.loads(pickle.dumps(dataset))[0, 11]
    assert sample.image.shape == sample.second.shape == (3, 20, 20)
    assert torch.equal(sample.label, dataset[0, 11].label)


def test_what_is_wrong_is_named(layout: tuple[str, Path]) -> None:
    labels, root = layout
    second, folders, ending, _ = LAYOUTS[labels]
    setup = setup_of(labels)
    with pytest.raises(ValueError, match=r"val\.txt is missing \(lists there: \['test', 'test_day'"):
        RgbxDataset(root, "val", setup)
    (root / "empty.txt").touch()
    with pytest.raises(ValueError, match=r"empty\.txt is empty"):
        RgbxDataset(root, "empty", setup)
    label = root / folders[2] / "00002N.png"
    write(label, np.full(SIZE, 77, np.uint8))
    with pytest.raises(ValueError, match=rf"00002N\.png has the values \[7[67]\], expected the class ids .* {labels}"):
        RgbxDataset(root, "train", setup)[1]
    write(label, np.full((12, 32), 1, np.uint8))
    with pytest.raises(ValueError, match=r"00002N\.... is \[24, 32\], .* its label \[12, 32\]; expected one size"):
        RgbxDataset(root, "train", setup)[1]
    write(label, np.full((*SIZE, 3), 1, np.uint8))
    with pytest.raises(ValueError, match=r"label .*00002N\.png is uint8 \[24, 32, 3\], expected class ids"):
        RgbxDataset(root, "train", setup)[1]
    label.unlink()
    with pytest.raises(ValueError, match=rf"label 00002N is missing in .*{folders[2]}, which has 2 images, expected"):
        RgbxDataset(root, "train", setup)
    image = root / folders[0] / f"00001D{ending}"
    image.write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"00001D\.... with \d+ bytes cannot be read"):
        RgbxDataset(root, "test_day", setup)[0]
    (root / folders[1]).rename(root / "infrared")
    with pytest.raises(ValueError, match=rf"no folder of {second} images \(folders there: .*'infrared'"):
        RgbxDataset(root, "train", setup)

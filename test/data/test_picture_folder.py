"""Plain pictures as a data set: splits, maps of labels, and what is refused."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mambaseg_core.data.dataset import SampleDataset
from mambaseg_core.data.label_map import read_label_map
from mambaseg_core.data.loading import layout_of, open_dataset
from mambaseg_core.labels import DDD17_6, DSEC_11
from mambaseg_core.preprocessing import RGB_THERMAL
from mambaseg_core.training.config import DataConfig
from mambaseg_core.training.data import make_preprocessing

SETUP = make_preprocessing(DataConfig(layout="pictures", inputs="image", size=(24, 32), window_ms=50))
MAPS = Path(__file__).parents[2] / "config" / "label_maps"
ROAD, SKY = DSEC_11.classes.index("road"), DSEC_11.classes.index("background")


def write(root: Path, names: Sequence[str], label: np.ndarray | None = None, ending: str = "png") -> Path:
    """Write pictures, the n-th of brightness 10 n, and their labels: sky over a road."""
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    ids = np.full((24, 32), SKY, np.uint8)
    ids[12:] = ROAD
    for number, name in enumerate(names):
        cv2.imwrite(str(root / "images" / f"{name}.{ending}"), np.full((24, 32, 3), 10 * number, np.uint8))
        cv2.imwrite(str(root / "labels" / f"{name}.png"), ids if label is None else label)
    return root


def names_in(dataset: SampleDataset) -> list[str]:
    return [dataset[number].sequence for number in range(len(dataset))]


def opened(root: Path, split: str = "train") -> SampleDataset:
    return open_dataset(layout_of(SETUP, str(root)), str(root), split, SETUP)


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_a_picture_has_its_label_and_a_blank_second_input(tmp_path: Path, ending: str) -> None:
    dataset = opened(write(tmp_path, ["a", "b", "c"], ending=ending), "train")
    sample = dataset[1]
    assert (sample.sequence, sample.index, sample.image.shape) == ("b", 1, (3, 24, 32))
    assert float((sample.image - 10 / 255).abs().max()) < 0.01
    assert sample.second.shape == (10, 24, 32)
    assert float(sample.second.abs().max()) == 0
    assert sample.label.tolist() == [[SKY] * 32] * 12 + [[ROAD] * 32] * 12  # down to the last row: nothing is cropped


def test_the_preprocessing_is_that_of_events_without_a_crop() -> None:
    assert (SETUP.second, SETUP.bins, SETUP.window.duration_ns, SETUP.crop_bottom) == ("events", 10, 50_000_000, 0)


def test_the_last_fifth_is_for_testing_where_nothing_else_is_said(tmp_path: Path) -> None:
    write(tmp_path, [f"drive_{number}" for number in range(1, 13)])
    assert names_in(opened(tmp_path)) == [f"drive_{number}" for number in range(1, 11)]  # 9 before 10
    assert names_in(opened(tmp_path, "test")) == ["drive_11", "drive_12"]
    (tmp_path / "labels" / "drive_12.png").unlink()
    assert names_in(opened(tmp_path, "test")) == ["drive_10", "drive_11"]
    with pytest.raises(ValueError, match=r"split is 'val' of .*, which has no lists, expected train or test"):
        opened(tmp_path, "val")


def test_lists_and_folders_say_what_is_for_testing(tmp_path: Path) -> None:
    listed = write(tmp_path / "listed", ["a", "b", "c"])
    (listed / "train.txt").write_text("images/c.png\n\na\n")
    (listed / "test.txt").write_text("b\n")
    assert (names_in(opened(listed)), names_in(opened(listed, "test"))) == (["c", "a"], ["b"])
    (listed / "test.txt").unlink()
    with pytest.raises(ValueError, match=r"test\.txt is missing \(lists there: \['train'\]\)"):
        opened(listed, "test")
    (listed / "test.txt").write_text("d\n")
    with pytest.raises(ValueError, match=r"picture d is missing in .*images, which has 3 images"):
        opened(listed, "test")
    write(tmp_path / "apart" / "train", ["x", "y"])
    write(tmp_path / "apart" / "test", ["z"])
    assert names_in(opened(tmp_path / "apart")) == ["x", "y"]
    assert names_in(opened(tmp_path / "apart", "test")) == ["z"]


def test_a_name_in_a_list_may_have_spaces(tmp_path: Path) -> None:
    """Copies are named so; the first word alone is the name of another picture."""
    names = ["image", "image (1)", "image (2)", "other"]
    write(tmp_path, names)
    (tmp_path / "train.txt").write_text("image.png\nimages/image (1).png\n  image (2) \n")
    (tmp_path / "test.txt").write_text("images/other.png labels/image.png\n")
    assert (names_in(opened(tmp_path)), names_in(opened(tmp_path, "test"))) == (names[:3], ["other"])


def test_lists_as_windows_writes_them(tmp_path: Path) -> None:
    write(tmp_path, ["a", "b"])
    (tmp_path / "train.txt").write_bytes("a.png\r\n".encode("utf-8-sig"))
    assert names_in(opened(tmp_path)) == ["a"]
    (tmp_path / "train.txt").write_bytes("a.png\r\n".encode("utf-16"))
    with pytest.raises(ValueError, match=r"train\.txt is no text in UTF-8 .* expected one name per line; save it as"):
        opened(tmp_path)


def test_a_picture_is_either_for_training_or_for_testing(tmp_path: Path) -> None:
    write(tmp_path, ["a", "b", "c"])
    (tmp_path / "train.txt").write_text("a\nb\n")
    (tmp_path / "test.txt").write_text("images/b.png\nc\n")
    for split in ("train", "test"):
        with pytest.raises(ValueError, match=r"have 1 names in common, b the first, expected each in one of them; rem"):
            opened(tmp_path, split)


def test_lists_without_any_label_are_refused(tmp_path: Path) -> None:
    write(tmp_path, ["a", "b"])
    (tmp_path / "train.txt").write_text("a\n")
    for name in "ab":
        (tmp_path / "labels" / f"{name}.png").rename(tmp_path / "labels" / f"{name}.jpg")
    with pytest.raises(ValueError, match=r"has no picture with a label in labels/, expected \.png files of the"):
        opened(tmp_path)


def test_a_label_is_read_without_its_picture(tmp_path: Path) -> None:
    """The position prior reads hundreds."""
    dataset = opened(write(tmp_path, ["a", "b"]))
    expected = dataset[0].label
    (tmp_path / "images" / "a.png").write_bytes(b"")
    assert torch.equal(dataset.label(0), expected)


@pytest.mark.parametrize("at", [".", "train"])
def test_ids_of_another_data_set_are_mapped(tmp_path: Path, at: str) -> None:
    label = np.zeros((24, 32), np.uint8)
    label[:8], label[8:16] = 23, 7  # Cityscapes' sky and road over "unlabeled"
    root = tmp_path / "root"
    write(root if at == "." else root / at, ["a", "b"], label)
    (root / "label_map.yaml").write_text((MAPS / "cityscapes.yaml").read_text())
    assert opened(root)[0].label[:, 0].tolist() == [SKY] * 8 + [ROAD] * 8 + [255] * 8


def test_colors_are_mapped(tmp_path: Path) -> None:
    colors = np.zeros((24, 32, 3), np.uint8)
    colors[:12], colors[12:] = (128, 128, 128), (128, 64, 128)  # CamVid's sky and road, B = R
    colors[0, 0] = (1, 2, 3)
    write(tmp_path, ["a", "b"], colors)
    path = tmp_path / "label_map.yaml"
    path.write_text('"#808080": background\n"#804080": 5\n')
    with pytest.raises(ValueError, match=r"a\.png has the values #030201, which .*label_map\.yaml does not name"):
        opened(tmp_path)[0]
    path.write_text('"#808080": background\n"#804080": 5\n"#030201": ignore\n')
    assert opened(tmp_path)[0].label[:, 0].tolist() == [255] + [SKY] * 11 + [ROAD] * 12


def write_with_palette(path: Path, ids: np.ndarray) -> None:
    """Write a PNG with the palette (10 id, 20 id, 30 id)."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", ids.shape[1], ids.shape[0], 8, 3, 0, 0, 0)
    palette = bytes(value for number in range(8) for value in (10 * number, 20 * number, 30 * number))
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in ids))
    parts = (chunk(b"IHDR", header), chunk(b"PLTE", palette), chunk(b"IDAT", rows), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def test_the_indices_of_a_palette_are_ids_and_its_colors_are_colors(tmp_path: Path) -> None:
    write(tmp_path, ["a", "b"])
    ids = np.full((24, 32), ROAD, np.uint8)
    for name in ("a", "b"):
        write_with_palette(tmp_path / "labels" / f"{name}.png", ids)
    assert opened(tmp_path)[0].label.unique().tolist() == [ROAD]
    (tmp_path / "label_map.yaml").write_text('"#326496": sidewalk\n')  # the palette's color of id 5
    assert opened(tmp_path)[0].label.unique().tolist() == [DSEC_11.classes.index("sidewalk")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("7: [", "is not YAML"),
        ("2026-13-45: road", "label_map.yaml is not YAML: month must be in 1..12"),
        ("[" * 5000, "label_map.yaml is not YAML"),
        ("- 7", "is list, expected lines such as `7: road`"),
        ("other: ignore", "is dict, expected lines such as"),
        ("7: street", "has the class 'street', expected ignore, an id below 11 or one of background"),
        ("7: 11", "has the class 11, expected ignore, an id below 11"),
        ("7: true", "has the class True"),
        ("300: road", "has 300 as values of label pictures"),
        ("road: 7", "has 'road' as values of label pictures"),
        ("true: road", "has True as values"),
        ('"#804080": road\n7: road', "has both ids and colors as values"),
        ("7: road\n8: wall\n7: sidewalk", "names 7 twice, expected one class for each value; remove one of the lines"),
        ('"#80FF80": road\n"#80ff80": sidewalk', "names #80ff80 twice"),
    ],
)
def test_a_bad_map_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "label_map.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_label_map(path, DSEC_11)


def test_the_maps_that_ship_are_read() -> None:
    maps = {path.stem: read_label_map(path, DSEC_11) for path in MAPS.glob("*.yaml")}
    assert sorted(maps) == ["camvid", "cityscapes"]
    assert (maps["camvid"].ids[3], maps["camvid"].ids[11], maps["camvid"].other) == (ROAD, 255, None)
    with pytest.raises(ValueError, match="has the class 'building', expected ignore, an id below 6"):
        read_label_map(MAPS / "camvid.yaml", DDD17_6)


def test_labels_that_need_a_map_and_ones_that_do_not_fit_are_named(tmp_path: Path) -> None:
    write(tmp_path / "ids", ["a", "b"], np.full((24, 32), 23, np.uint8))
    with pytest.raises(ValueError, match=r"has the values \[23\].*or say in label_map\.yaml beside the folder labels"):
        opened(tmp_path / "ids")[0]
    write(tmp_path / "colors", ["a", "b"], np.full((24, 32, 3), 23, np.uint8))
    with pytest.raises(ValueError, match=r"is uint8 \[24, 32, 3\].*or say in label_map\.yaml"):
        opened(tmp_path / "colors")[0]
    (tmp_path / "ids" / "label_map.yaml").write_text('"#171717": road')
    with pytest.raises(ValueError, match=r"a\.png is no PNG with colors"):
        opened(tmp_path / "ids")[0]
    path = tmp_path / "ids" / "labels" / "a.png"
    path.write_bytes(cv2.imencode(".jpg", np.full((24, 32, 3), 23, np.uint8))[1].tobytes())
    (tmp_path / "ids" / "label_map.yaml").write_text('"#171717": road\nother: ignore')
    with pytest.raises(ValueError, match=r"a\.png is no PNG with colors"):  # its colors are not exact
        opened(tmp_path / "ids")[0]
    write(tmp_path / "small", ["a", "b"], np.zeros((12, 16), np.uint8))
    with pytest.raises(ValueError, match=r"a\.png is 32x24 and its label 16x12, expected one size"):
        opened(tmp_path / "small")[0]


def test_folders_that_are_incomplete_are_refused(tmp_path: Path) -> None:
    root = write(tmp_path / "one", ["a"])
    with pytest.raises(ValueError, match="has 1 labeled pictures, expected 2 or more"):
        opened(root)
    write(root, ["a", "b"])
    (root / "images" / "b.png").unlink()
    with pytest.raises(ValueError, match=r"picture b is missing in .*images"):
        opened(root)
    for path in (root / "labels").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="has no picture with a label in labels/"):
        opened(root)
    (root / "labels").rmdir()
    with pytest.raises(ValueError, match=r"has no folder labels \(found: \['images'\]\), expected images/ and labels/"):
        opened(root)
    write(tmp_path / "both", ["a", "b"])
    write(tmp_path / "both" / "train", ["a", "b"])
    with pytest.raises(
        ValueError, match=r"both has pictures in images/ and in .*train, expected them in images/ alone"
    ):
        opened(tmp_path / "both", "test")
    write(tmp_path / "half" / "train", ["a"])
    with pytest.raises(ValueError, match=r"half has no folder images and no folder labels \(found: \['train'\]\)"):
        opened(tmp_path / "half", "test")


def test_a_folder_of_pictures_is_known_by_its_folders(tmp_path: Path, streets: Path) -> None:
    assert layout_of(SETUP, str(write(tmp_path / "flat", ["a"]))) == "pictures"
    write(tmp_path / "apart" / "test", ["a"])
    assert layout_of(SETUP, str(tmp_path / "apart")) == "pictures"
    assert layout_of(SETUP, str(streets)) == layout_of(SETUP, str(streets / "street_a")) == "dsec"
    assert layout_of(SETUP) == layout_of(SETUP, str(tmp_path / "nowhere")) == "dsec"
    assert layout_of(RGB_THERMAL, str(tmp_path / "flat")) == "rgbx"


def test_samples_of_pictures_batch(tmp_path: Path) -> None:
    from mambaseg_core.data.sample import collate

    dataset = opened(write(tmp_path, ["a", "b", "c"]))
    assert torch.equal(collate([dataset[0], dataset[1]]).second, torch.zeros(2, 10, 24, 32))

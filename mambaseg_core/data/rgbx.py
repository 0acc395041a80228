"""Pairs of registered images with labels: MFNet, PST900, NYU Depth V2, SUN RGB-D and `mambaseg synth --second`.

The public code of CMX, Sigma and DFormer shares this layout; only the names of the folders differ:

    <root>/RGB/<name>.png|jpg
           Modal/<name>.png, or Thermal/, or Depth/     one channel of 8 or 16 bits, or three equal ones
           Label/<name>.png, or labels/                 class ids; NYU and SUN RGB-D count them from 1, 0 is no class
           train.txt, test.txt, ...                     one name per line, with or without folder and suffix
           test_day.txt, test_night.txt                 subsets of a list, by condition (MFNet)

Case does not matter, nor does a suffix `_resize` of a folder. PST900 as published has no lists. It has the folders
`<root>/train/` and `<root>/test/` with these folders in them.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from mambaseg_core.data.dataset import SampleDataset, Transform
from mambaseg_core.data.labelled_sequence import check_label
from mambaseg_core.data.sample import UNKNOWN, Sample
from mambaseg_core.labels import IGNORE
from mambaseg_core.pictures import ENDINGS, Picture, list_pictures, read_image, read_label, read_picture
from mambaseg_core.preprocessing import Preprocessing, Reading

COUNTED_FROM_1: Final = ("nyu_40", "sunrgbd_37")
"""Label sets whose files hold class id + 1, and 0 for no class."""

_FOLDERS: Final = {
    "RGB": ("rgb",),
    "thermal": ("modal", "thermal"),
    "depth": ("modal", "depth"),
    "label": ("label", "labels"),
}


class PairFolder:
    """Images of the folder `RGB` and of the second camera's folder, by name.

    Args:
        root: the folder that holds both.
        second: "thermal" or "depth".

    Attributes:
        names: names of all images, sorted.

    Raises:
        ValueError: a folder is missing.
    """

    calibration = None  # the images are registered

    def __init__(self, root: Path, second: str) -> None:
        self.root = root
        self.images = _images_of(root, "RGB")
        self.seconds = _images_of(root, second)
        self.names = sorted(self.images)

    def image(self, number: int) -> Picture:
        """Return the image of that number, RGB uint8 [H, W, 3], or gray [H, W] if the file is gray."""
        return read_image(self.images[self.names[number]])

    def second(self, number: int, preprocessing: Preprocessing) -> Reading:
        """Return the second image of that number, uint8 or uint16 [H, W], or RGB [H, W, 3] if the file is RGB.

        Raises:
            ValueError: there is no such image, or it has 16 bits and the preprocessing's range is that of 8.
        """
        path = find(self.seconds, self.names[number], f"{preprocessing.second} image")
        image = read_picture(path)
        if image.dtype == np.uint16 and preprocessing.second_range[1] <= 255:
            low, high = preprocessing.second_range
            raise ValueError(
                f"{path} has 16 bits and values up to {image.max()}, expected {low:g} to {high:g}; set "
                "data.second_range to the values that become 0 and 1, such as [0, 10000] for depth in millimetres"
            )
        return image


class RgbxDataset(SampleDataset):
    """Listed pairs of one split.

    Args:
        root: folder of the data set.
        split: name of a list: "train", "test", with MFNet also "val", "test_day" and "test_night".
        preprocessing: the model's; its `second` and label set choose what is read.
        transform: as in `SampleDataset`.

    Raises:
        ValueError: there is no such list or folder, or a listed image is missing.
    """

    def __init__(
        self, root: str | Path, split: str, preprocessing: Preprocessing, transform: Transform | None = None
    ) -> None:
        super().__init__(preprocessing, transform)
        root = Path(root)
        listed = (root / f"{split}.txt").is_file()
        base = root / split if not listed and (root / split).is_dir() else root
        self.folder = PairFolder(base, preprocessing.second)
        self.labels = _images_of(base, "label")
        if listed or base == root:
            self.folder.names = read_list(root, split, self.folder.images)
        self.conditions = _conditions(root, split, self.folder.names)
        for name in self.folder.names:
            for what, paths in (("RGB", self.folder.images), (preprocessing.second, self.folder.seconds)):
                find(paths, name, f"{what} image")
            find(self.labels, name, "label")

    def __len__(self) -> int:
        return len(self.folder.names)

    def load(self, number: int) -> Sample:
        """Return the sample of that number, unchanged."""
        setup, name = self.preprocessing, self.folder.names[number]
        image, second = self.folder.image(number), self.folder.second(number, setup)
        label = self._label(name)
        if not image.shape[:2] == second.shape[:2] == label.shape[:2]:
            raise ValueError(
                f"{self.folder.images[name]} is {list(image.shape[:2])}, its {setup.second} image "
                f"{list(second.shape[:2])} and its label {list(label.shape[:2])}; expected one size: register them"
            )
        return Sample(
            setup.image_tensor(image),
            setup.second_tensor(second),
            setup.label_tensor(label, image.shape[0]),
            stamp_ns=0,
            sequence=name,
            index=number,
            condition=self.conditions.get(name, UNKNOWN),
        )

    def label(self, number: int) -> torch.Tensor:
        """Return the label of the sample of that number, int64 [H, W], without its images."""
        ids = self._label(self.folder.names[number])
        return self.preprocessing.label_tensor(ids, ids.shape[0])

    def _label(self, name: str) -> npt.NDArray[np.uint8]:
        path = self.labels[name]
        ids = read_label(path)
        if self.preprocessing.labels in COUNTED_FROM_1:
            ids = np.where(ids == IGNORE, ids, ids - np.uint8(1))  # 0 becomes 255
        check_label(ids, path, self.preprocessing.label_set)
        return ids


def read_list(root: Path, split: str, known: Container[str] = ()) -> list[str]:
    """Return the names in a list, without folders and suffixes.

    Args:
        root: folder of the list.
        split: name of the list.
        known: names of images. One of them may be a whole line with spaces; else the first word of a line is the name.

    Raises:
        ValueError: the list is missing, empty or no text.
    """
    path = root / f"{split}.txt"
    if not path.is_file():
        lists = sorted(found.stem for found in root.glob("*.txt"))
        raise ValueError(
            f"{path} is missing (lists there: {lists}), expected one name per line; choose one of these or write it"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")  # Windows begins texts with a byte order mark
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is no text in UTF-8 ({error}), expected one name per line; save it as such"
        ) from error
    names = [_listed(line.strip(), known) for line in text.splitlines() if line.strip()]
    if not names:
        raise ValueError(f"{path} is empty, expected the name of one image per line; write it")
    return names


def _listed(line: str, known: Container[str]) -> str:
    first = line.split()[0]
    whole = _name(line)
    return whole if whole in known and "/" not in line[len(first) :] else _name(first)


def find(paths: dict[str, Path], name: str, what: str) -> Path:
    """Return the path of a name.

    Raises:
        ValueError: there is none.
    """
    if name not in paths:
        folder = next(iter(paths.values())).parent
        raise ValueError(
            f"{what} {name} is missing in {folder}, which has {len(paths)} images, expected {folder / name}.png or "
            ".jpg; complete the download, or remove the name from the list"
        )
    return paths[name]


def _images_of(root: Path, kind: str) -> dict[str, Path]:
    """Return the images of the folder of a kind, by name."""
    folders = {path.name.lower().removesuffix("_resize"): path for path in sorted(root.iterdir()) if path.is_dir()}
    for name in _FOLDERS[kind]:
        if name in folders:
            paths = list_pictures(folders[name])
            if paths:
                return by_name(paths)
            raise ValueError(f"{folders[name]} has no images, expected {' or '.join(ENDINGS)} files; fill it")
    expected = " or ".join(f"{name.capitalize()}/" for name in _FOLDERS[kind])
    raise ValueError(
        f"{root} has no folder of {kind} images (folders there: {sorted(path.name for path in folders.values())}), "
        f"expected {expected.replace('Rgb', 'RGB')}; arrange the data set in this layout"
    )


def by_name(paths: Sequence[Path]) -> dict[str, Path]:
    """Return paths by their names without suffix, in the same order.

    Raises:
        ValueError: two have one name.
    """
    found: dict[str, Path] = {}
    for path in paths:
        first = found.setdefault(_name(path.name), path)
        if first is not path:
            raise ValueError(f"{first} and {path} have one name, expected one image of each name; remove one of them")
    return found


def _name(text: str) -> str:
    path = Path(text)
    return path.stem if path.suffix.lower() in ENDINGS else path.name


def _conditions(root: Path, split: str, names: Sequence[str]) -> dict[str, str]:
    """Return the condition of each name, from the lists `<split>_<condition>.txt` that are subsets of this one."""
    every, found = set(names), {}
    for path in sorted(root.glob(f"{split}_*.txt")):
        part = read_list(root, path.stem, every)
        if every.issuperset(part):
            found.update(dict.fromkeys(part, path.stem.removeprefix(f"{split}_")))
    return found

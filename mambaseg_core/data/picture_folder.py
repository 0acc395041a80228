"""Plain pictures with label pictures, without a second input: the way to fine-tune on a camera of one's own.

    <root>/images/<name>.jpg|png
           labels/<name>.png       class ids or a palette; other ids or colors with label_map.yaml
           label_map.yaml          optional, see `data.label_map`
           train.txt, test.txt     optional: one name per line, with or without folder and suffix; none is in both

or `<root>/train/` and `<root>/test/` with `images/` and `labels/` each. With neither lists nor these folders, the last
fifth of the names is "test" (numbers count as numbers): pictures of a drive resemble their neighbors, so a random
choice would test on what was trained.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch

from mambaseg_core.data.dataset import SampleDataset, Transform
from mambaseg_core.data.label_map import FILE, read_label_map
from mambaseg_core.data.labelled_sequence import check_label
from mambaseg_core.data.rgbx import by_name, find, read_list
from mambaseg_core.data.sample import Sample
from mambaseg_core.pictures import Picture, list_pictures, read_image, read_label
from mambaseg_core.preprocessing import Preprocessing

TEST_SHARE: Final = 0.2
"""Share of the last pictures that is "test" where nothing else is said."""

_SPLITS: Final = ("train", "test")


class PictureFolder:
    """Pictures of a folder, or of its folder `images`, by name.

    Args:
        root: the folder.

    Attributes:
        names: names of all pictures; numbers in them count as numbers.

    Raises:
        ValueError: there is no picture.
    """

    calibration = None  # there is one camera

    def __init__(self, root: Path) -> None:
        folder = root / "images" if (root / "images").is_dir() else root
        self.images = by_name(list_pictures(folder)) if folder.is_dir() else {}
        self.names = list(self.images)
        if not self.names:
            raise ValueError(f"{folder} has no pictures, expected .png or .jpg files; check the path")

    def image(self, number: int) -> Picture:
        """Return the image of that number, RGB uint8 [H, W, 3], or gray [H, W] if the file is gray."""
        return read_image(self.images[self.names[number]])


class PictureDataset(SampleDataset):
    """Labeled pictures of one split; their second input is blank.

    Args:
        root: folder of the data set.
        split: "train" or "test", or the name of a list or folder.
        preprocessing: the model's; its label set is that of the labels, or of the map's classes.
        transform: as in `SampleDataset`.

    Raises:
        ValueError: a folder, list, picture or label is missing, or `label_map.yaml` is malformed.
    """

    def __init__(
        self, root: str | Path, split: str, preprocessing: Preprocessing, transform: Transform | None = None
    ) -> None:
        super().__init__(preprocessing, transform)
        root = Path(root)
        base = root / split if (root / split / "images").is_dir() else root
        _check_folders(root, base, split)
        self.folder = PictureFolder(base)
        self.labels = by_name(list_pictures(base / "labels", (".png",)))
        if not self.labels:
            raise ValueError(
                f"{base} has no picture with a label in labels/, expected .png files of the pictures' names; add them"
            )
        self.folder.names = self._choose(root, base, split)
        for name in self.folder.names:
            find(self.folder.images, name, "picture")
            find(self.labels, name, "label")
        path = next((folder / FILE for folder in (base, root) if (folder / FILE).is_file()), None)
        self.label_map = None if path is None else read_label_map(path, preprocessing.label_set)

    def __len__(self) -> int:
        return len(self.folder.names)

    def load(self, number: int) -> Sample:
        """Return the sample of that number, unchanged."""
        setup, name = self.preprocessing, self.folder.names[number]
        image, label = self.folder.image(number), self._label(self.labels[name])
        if image.shape[:2] != label.shape:
            raise ValueError(
                f"{self.folder.images[name]} is {image.shape[1]}x{image.shape[0]} and its label "
                f"{label.shape[1]}x{label.shape[0]}, expected one size; make the label for this picture"
            )
        blank = torch.zeros(setup.bins, *setup.size)
        ids = setup.label_tensor(label, image.shape[0])
        return Sample(setup.image_tensor(image), blank, ids, stamp_ns=0, sequence=name, index=number)

    def label(self, number: int) -> torch.Tensor:
        """Return the label of the sample of that number, int64 [H, W], without its image."""
        ids = self._label(self.labels[self.folder.names[number]])
        return self.preprocessing.label_tensor(ids, ids.shape[0])

    def _choose(self, root: Path, base: Path, split: str) -> list[str]:
        """Return the names of the split's pictures."""
        if base != root:
            return self._labeled()
        lists = {
            name: read_list(root, name, self.folder.images) for name in _SPLITS if (root / f"{name}.txt").is_file()
        }
        if lists:
            _check_apart(root, *lists.values())
            return lists[split] if split in lists else read_list(root, split, self.folder.images)
        if split not in _SPLITS:
            raise ValueError(f"split is {split!r} of {root}, which has no lists, expected train or test; choose one")
        names = self._labeled()
        train = len(names) - max(1, round(TEST_SHARE * len(names)))
        if train < 1:
            raise ValueError(
                f"{root} has {len(names)} labeled pictures, expected 2 or more to train and test; add some"
            )
        return names[:train] if split == "train" else names[train:]

    def _labeled(self) -> list[str]:
        """Return the names of the pictures with a label, each of which must have a picture."""
        for name in self.labels:
            find(self.folder.images, name, "picture")
        return [name for name in self.folder.names if name in self.labels]

    def _label(self, path: Path) -> Picture:
        """Read class ids; a label that needs a map is said to."""
        if self.label_map is not None:
            return self.label_map.read(path)
        try:
            ids = read_label(path)
            check_label(ids, path, self.preprocessing.label_set)
        except ValueError as error:
            raise ValueError(f"{error}, or say in {FILE} beside the folder labels what its values mean") from error
        return ids


def _check_folders(root: Path, base: Path, split: str) -> None:
    missing = [name for name in ("images", "labels") if not (base / name).is_dir()]
    if missing:
        found = sorted(path.name for path in base.iterdir())[:8]
        raise ValueError(
            f"{base} has no folder {' and no folder '.join(missing)} (found: {found}), expected images/ and labels/ in "
            f"{root} or in {root / split}; arrange the pictures so"
        )
    apart = [root / name for name in _SPLITS if (root / name / "images").is_dir()]
    if base == root and apart:  # it may have the same pictures
        raise ValueError(
            f"{root} has pictures in images/ and in {apart[0]}, expected them in images/ alone or in a folder for each "
            f"split, also {root / split}; move them"
        )


def _check_apart(root: Path, names: list[str], *others: list[str]) -> None:
    """Refuse lists that share pictures: a test on what was trained tells nothing."""
    common = sorted(set(names).intersection(*others)) if others else []
    if common:
        raise ValueError(
            f"train.txt and test.txt in {root} have {len(common)} names in common, {common[0]} the first, expected "
            "each in one of them; remove it from the other"
        )


def is_picture_folder(root: Path) -> bool:
    """Return whether a folder holds plain pictures, in `images/` or in `images/` of `train/` or `test/`."""
    folders = [root / "images", *(root / split / "images" for split in _SPLITS)]
    return any(folder.is_dir() and bool(list_pictures(folder)) for folder in folders)

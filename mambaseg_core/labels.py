"""Label sets: class names and display colors of the data sets.

The classes are those of the published data sets: 11 and 19 of DSEC-Semantic (the 19 are Cityscapes'), 6 of DDD17-seg,
9 of MFNet, 5 of PST900, 40 of NYU Depth V2 and 37 of SUN RGB-D. 255 means ignore (no class).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from mambaseg_core.pictures import in_rgb

IGNORE = 255


@dataclass(frozen=True)
class LabelSet:
    """Names and RGB colors of the class ids 0, 1, 2, ...

    Attributes:
        name: name of the set.
        classes: names of the classes.
        colors: RGB colors of the classes.
        moving: names of the classes that can move by themselves, such as persons and cars.
    """

    name: str
    classes: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    moving: tuple[str, ...] = ()

    @property
    def legend(self) -> tuple[tuple[str, tuple[int, int, int]], ...]:
        """Name and color of every class, for `pictures.with_legend`."""
        return tuple(zip(self.classes, self.colors, strict=True))

    def color_mask(self, ids: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return class ids [H, W] painted as RGB [H, W, 3]; ids without a class are black."""
        return cv2.applyColorMap(ids, self._table)  # type: ignore[return-value]

    def overlay(
        self, image: npt.NDArray[np.uint8], ids: npt.NDArray[np.uint8], *, alpha: float = 0.5
    ) -> npt.NDArray[np.uint8]:
        """Blend the painted ids [H, W] over an image: image (1 - alpha) + color alpha, rounded to the nearest integer.

        Args:
            image: uint8 RGB [H, W, 3], or gray [H, W].
            ids: uint8 [H, W]; the image stays unchanged where they have no class.
            alpha: weight of the colors, 0 to 1.

        Returns:
            uint8 RGB [H, W, 3].
        """
        picture, blend = in_rgb(image), self.color_mask(ids)
        cv2.addWeighted(picture, 1.0 - alpha, blend, alpha, 0.0, dst=blend)
        cv2.copyTo(picture, (ids >= len(self.classes)).view(np.uint8), blend)
        return blend

    def shares(self, ids: npt.NDArray[np.uint8]) -> list[float]:
        """Return the share of each class among the pixels with a class, 0 to 1; zeros where no pixel has one."""
        counts = cv2.calcHist([ids], [0], None, [len(self.classes)], [0, len(self.classes)])[:, 0]
        return (counts / max(1.0, float(counts.sum()))).tolist()  # type: ignore[no-any-return]

    @property
    def moving_ids(self) -> list[int]:
        """Ids of the classes that can move by themselves."""
        return [self.classes.index(name) for name in self.moving]

    @cached_property
    def _table(self) -> npt.NDArray[np.uint8]:
        """Colors of all ids, uint8 [256, 1, 3]."""
        table = np.zeros((256, 1, 3), np.uint8)
        table[: len(self.colors), 0] = self.colors
        return table


DSEC_11 = LabelSet(
    "dsec_11",
    ("background", "building", "fence", "person", "pole", "road",
     "sidewalk", "vegetation", "car", "wall", "traffic sign"),
    ((70, 130, 180), (70, 70, 70), (190, 153, 153), (220, 20, 60), (153, 153, 153), (128, 64, 128),
     (244, 35, 232), (107, 142, 35), (0, 0, 142), (102, 102, 156), (220, 220, 0)),
    moving=("person", "car"),
)  # fmt: skip

DDD17_6 = LabelSet(
    "ddd17_6",
    ("flat", "background", "object", "vegetation", "human", "vehicle"),
    ((128, 64, 128), (70, 130, 180), (220, 220, 0), (107, 142, 35), (220, 20, 60), (0, 0, 142)),
    moving=("human", "vehicle"),
)  # fmt: skip

DSEC_19 = LabelSet(
    "dsec_19",
    ("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain",
     "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
    ((128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153), (250, 170, 30),
     (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0), (0, 0, 142),
     (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32)),
    moving=("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
)  # fmt: skip

MFNET_9 = LabelSet(
    "mfnet_9",
    ("unlabeled", "car", "person", "bike", "curve", "car stop", "guardrail", "color cone", "bump"),
    ((0, 0, 0), (64, 0, 128), (64, 64, 0), (0, 128, 192), (0, 0, 192), (128, 128, 0), (64, 64, 128), (192, 128, 128),
     (192, 64, 0)),
    moving=("car", "person", "bike"),
)  # fmt: skip

PST900_5 = LabelSet(
    "pst900_5",
    ("background", "fire extinguisher", "backpack", "hand drill", "survivor"),
    ((0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)),
    moving=("survivor",),
)


def _voc_colors(count: int) -> tuple[tuple[int, int, int], ...]:
    """Return PASCAL VOC's colors of the ids 1 to `count`.

    An id's bits go to red, green and blue in turn, to the highest bits first.
    """
    return tuple((_spread(number), _spread(number >> 1), _spread(number >> 2)) for number in range(1, count + 1))


def _spread(number: int) -> int:
    return sum((number >> 3 * place & 1) << 7 - place for place in range(8))


_INDOOR = (
    "wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture", "counter",
    "blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror",
)  # fmt: skip

NYU_40 = LabelSet(
    "nyu_40",
    (*_INDOOR, "floor mat", "clothes", "ceiling", "books", "refridgerator", "television", "paper", "towel",
     "shower curtain", "box", "whiteboard", "person", "night stand", "toilet", "sink", "lamp", "bathtub", "bag",
     "otherstructure", "otherfurniture", "otherprop"),
    _voc_colors(40),
    moving=("person",),
)  # fmt: skip

SUNRGBD_37 = LabelSet(
    "sunrgbd_37",
    (*_INDOOR, "floor_mat", "clothes", "ceiling", "books", "fridge", "tv", "paper", "towel", "shower_curtain", "box",
     "whiteboard", "person", "night_stand", "toilet", "sink", "lamp", "bathtub", "bag"),
    _voc_colors(37),
)  # fmt: skip

LABEL_SETS = {labels.name: labels for labels in (DSEC_11, DSEC_19, DDD17_6, MFNET_9, PST900_5, NYU_40, SUNRGBD_37)}

"""Label sets: class names and display colours of the data sets.

DSEC-Semantic's 11 and 19 classes (these are Cityscapes') and DDD17-seg's 6 are those of the published data sets;
255 means ignore (none).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IGNORE = 255


@dataclass(frozen=True)
class LabelSet:
    """Names and RGB colours of the class ids 0, 1, 2, ..."""

    name: str
    classes: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]

    def color_mask(self, ids: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Paint class ids [H, W] as RGB [H, W, 3]; ids without a class are black."""
        lut = np.zeros((256, 3), np.uint8)
        lut[: len(self.colors)] = self.colors
        return lut[ids]

    def overlay(
        self, image: npt.NDArray[np.uint8], ids: npt.NDArray[np.uint8], *, alpha: float = 0.5
    ) -> npt.NDArray[np.uint8]:
        """Blend the painted ids [H, W] over an RGB image [H, W, 3]; where there is no class the image stays."""
        blend = (image * (1.0 - alpha) + self.color_mask(ids) * alpha).astype(np.uint8)
        return np.where((ids < len(self.classes))[..., None], blend, image)


DSEC_11 = LabelSet(
    "dsec_11",
    ("background", "building", "fence", "person", "pole", "road",
     "sidewalk", "vegetation", "car", "wall", "traffic sign"),
    ((70, 130, 180), (70, 70, 70), (190, 153, 153), (220, 20, 60), (153, 153, 153), (128, 64, 128),
     (244, 35, 232), (107, 142, 35), (0, 0, 142), (102, 102, 156), (220, 220, 0)),
)  # fmt: skip

DDD17_6 = LabelSet(
    "ddd17_6",
    ("flat", "background", "object", "vegetation", "human", "vehicle"),
    ((128, 64, 128), (70, 130, 180), (220, 220, 0), (107, 142, 35), (220, 20, 60), (0, 0, 142)),
)  # fmt: skip

DSEC_19 = LabelSet(
    "dsec_19",
    ("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain",
     "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
    ((128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153), (250, 170, 30),
     (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0), (0, 0, 142),
     (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32)),
)  # fmt: skip

LABEL_SETS = {labels.name: labels for labels in (DSEC_11, DSEC_19, DDD17_6)}

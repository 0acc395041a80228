"""What the values of label pictures mean, from a YAML file: class ids of another data set, or colors.

# <root>/label_map.yaml: value in the label pictures: class of the model's label set, by name or id, or ignore
7: road
8: sidewalk
"#804080": road       # in place of ids, colors of label pictures that have some
other: ignore         # all values that are not listed; without this line they are refused
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import yaml

from mambaseg_core.labels import IGNORE, LabelSet
from mambaseg_core.pictures import Picture, in_8_bits, is_jpeg, read_label, read_picture

FILE: Final = "label_map.yaml"
_COLOR: Final = re.compile(r"#[0-9a-fA-F]{6}")
_OTHER: Final = "other"


@dataclass(frozen=True)
class LabelMap:
    """Class ids by the values of label pictures.

    Attributes:
        path: path of the file, for messages.
        colors: whether the values are colors, 0xRRGGBB; else they are ids.
        ids: class id, or 255, by value.
        other: class id, or 255, of all other values; None: there must be no others.
    """

    path: Path
    colors: bool
    ids: dict[int, int]
    other: int | None

    def read(self, path: Path) -> Picture:
        """Read the class ids of a label picture, uint8 [H, W].

        Raises:
            ValueError: it cannot be read, has no colors where the map has some, or values that the map does not name.
        """
        values = _read_colors(path) if self.colors else read_label(path).astype(np.uint32)
        found, places = np.unique(values, return_inverse=True)
        unknown = [int(value) for value in found if int(value) not in self.ids]
        if unknown and self.other is None:
            words = [f"#{value:06x}" if self.colors else str(value) for value in unknown[:8]]
            raise ValueError(
                f"label {path} has the values {', '.join(words)}, which {self.path} does not name, expected all that "
                f"occur; add them, or a line `{_OTHER}: ignore`"
            )
        ids = [self.ids.get(int(value), IGNORE if self.other is None else self.other) for value in found]
        return np.array(ids, np.uint8)[places.reshape(values.shape)]


def read_label_map(path: Path, labels: LabelSet) -> LabelMap:
    """Read a map to the classes of a label set.

    Raises:
        ValueError: it is not YAML, a value is neither an id nor a color, or there twice, ids and colors are mixed, or
            there is no such class.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content: Any = yaml.safe_load(text)
        root: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not YAML: {error}".replace("\n", " ")) from error
    if not isinstance(content, dict) or not set(content) - {_OTHER}:
        raise ValueError(f"{path} is {type(content).__name__}, expected lines such as `7: road`; write it")
    keys = [key.value.lower() for key, _ in root.value]
    if twice := [key for number, key in enumerate(keys) if key in keys[:number]]:
        raise ValueError(f"{path} names {twice[0]} twice, expected one class for each value; remove one of the lines")
    ids = {key: _class_id(path, name, labels) for key, name in content.items()}
    other = ids.pop(_OTHER, None)
    colors = [key for key in ids if isinstance(key, str) and _COLOR.fullmatch(key)]
    wrong = [key for key in ids if key not in colors and not (type(key) is int and 0 <= key <= IGNORE)]
    if wrong or 0 < len(colors) < len(ids):
        got = repr(wrong[0]) if wrong else "both ids and colors"
        raise ValueError(
            f"{path} has {got} as values of label pictures, expected ids from 0 to {IGNORE}, or for all colors "
            'such as "#804080" in quotation marks; change it'
        )
    return LabelMap(path, bool(colors), {int(k[1:], 16) if colors else k: value for k, value in ids.items()}, other)


def _class_id(path: Path, name: Any, labels: LabelSet) -> int:
    if name == "ignore":
        return IGNORE
    if name in labels.classes:
        return labels.classes.index(name)
    if type(name) is int and 0 <= name < len(labels.classes):
        return name
    raise ValueError(
        f"{path} has the class {name!r}, expected ignore, an id below {len(labels.classes)} or one of "
        f"{', '.join(labels.classes)} of {labels.name}; change it"
    )


def _read_colors(path: Path) -> npt.NDArray[np.uint32]:
    picture = in_8_bits(read_picture(path))
    if picture.ndim != 3 or is_jpeg(path):
        raise ValueError(
            f"label {path} is no PNG with colors, which {FILE} names; name its ids there, or export colors"
        )
    return picture.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)

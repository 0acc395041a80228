"""Sizes of iniVation's sensors by their names in AEDAT files."""

from __future__ import annotations

from typing import Final

Size = tuple[int, int]
"""(height, width), pixels."""

_SIZES: Final = {
    "dvs128": (128, 128),
    "edvs": (128, 128),
    "davis128": (128, 128),
    "davis208": (192, 208),
    "davis240": (180, 240),
    "davis346": (260, 346),
    "davi346": (260, 346),  # as aedat4to2 spells it
    "davis640": (480, 640),
    "dvs346": (260, 346),
    "dvs640": (480, 640),
    "dvxplorer_lite": (240, 320),
    "dvxplorer": (480, 640),
}


def chip_size(name: str) -> Size | None:
    """Return (height, width) of the sensor whose name begins so; None if it is unknown."""
    return next((size for begin, size in _SIZES.items() if name.lower().startswith(begin)), None)

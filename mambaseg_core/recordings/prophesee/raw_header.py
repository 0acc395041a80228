"""The text header of Prophesee's `.raw` files: lines `% key value`, in many variants.

Old systems leave out what follows from the camera: the size, the encoding, or the order of EVT2.1's halves. The rules
for them are those of OpenEB (hal_psee_plugins, psee_raw_file_header.cpp).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mambaseg_core.recordings.errors import one_sentence

Size = tuple[int, int]
"""(height, width), pixels."""

_LONGEST: Final = 1 << 16  # bytes; real headers have less than 1000
_VGA: Final = (480, 640)
_HD: Final = (720, 1280)

# Size of a sensor by part of a camera's or plugin's name, for headers without a size.
_SENSORS: Final = {
    "genx320": (320, 320),
    "gen41": _HD,
    "gen4": _HD,
    "imx636": _HD,
    "imx646": _HD,
    "imx637": (512, 640),
    "imx647": (512, 640),
    "gen31": _VGA,
    "gen3": _VGA,
}
_NAMES: Final = ("sensor_name", "plugin_name", "sensor_generation", "generation", "camera_integrator_name")
# Encoding and size by `system_ID`.
_SYSTEMS: Final = {
    **dict.fromkeys((21, 23, 25, 28, 29, 33, 34, 35, 41, 151, 153, 161, 162), ("evt2", _VGA)),
    **dict.fromkeys((26, 31, 39), ("evt2", _HD)),
    40: ("evt3", _VGA),
    **dict.fromkeys((30, 46, 48, 49, 50), ("evt3", _HD)),
}
_FIRST_LITTLE_SYSTEM: Final = 55  # Prophesee's systems before it wrote EVT2.1 with swapped halves
_ENCODINGS: Final = {"2": "evt2", "20": "evt2", "21": "evt21", "3": "evt3", "30": "evt3"}


@dataclass(frozen=True)
class RawHeader:
    """Content of a header.

    Attributes:
        encodings: names for `Decoder` that the header allows, the likeliest first; several if its lines contradict
            each other, and always both orders of EVT2.1's halves. Empty if the header has no known encoding.
        unknown: encodings that it names and no decoder knows.
        sizes: different sizes that it names.
        keys: its keys in lower case.
        data_at: position of the first byte of the events.
    """

    encodings: tuple[str, ...]
    unknown: tuple[str, ...]
    sizes: tuple[Size, ...]
    keys: tuple[str, ...]
    data_at: int


def read_raw_header(path: Path) -> RawHeader:
    """Read a `.raw` file's header: `% format EVT3;height=..;width=..`, `% evt 3.0`, `% geometry WxH` and others.

    Raises:
        EventFileError: the file cannot be read.
    """
    with one_sentence(path, "a Prophesee .raw file", "check that it is readable"), path.open("rb") as file:
        head = file.read(_LONGEST)
    fields, data_at = prophesee_fields(head)
    system = _system(fields)
    named, options = _formats(fields)
    known = [name for name in map(encoding_name, named) if name]
    unknown = tuple(name for name in named if not encoding_name(name))
    if not named and system in _SYSTEMS:
        known = [_SYSTEMS[system][0]]
    half_order = [*options.get("endianness", []), *fields.get("endianness", [])]
    legacy = half_order[0].lower() == "legacy" if half_order else 0 < system < _FIRST_LITTLE_SYSTEM
    encodings = [order for name in dict.fromkeys(known) for order in _orders(name, legacy)]
    sizes = _sizes(fields, options) or _size_of_camera(fields, system)
    return RawHeader(tuple(encodings), unknown, sizes, tuple(fields), data_at)


def encoding_name(name: str) -> str:
    """Return the name for `Decoder` of `EVT3`, `3.0`, `evt2.1` and the like; an empty string if it is unknown."""
    name = name.strip().lower()
    if name == "evt21_legacy":
        return name
    return _ENCODINGS.get(name.removeprefix("evt").strip().replace(".", ""), "")


def prophesee_fields(head: bytes) -> tuple[dict[str, list[str]], int]:
    """Return keys (lower case) and values of the lines that begin with `% `, and the position of the next line."""
    fields: dict[str, list[str]] = {}
    at = 0
    while head[at : at + 2] == b"% " and (end := head.find(b"\n", at)) >= 0:
        line = _text(head[at + 2 : end])
        if line is None:  # events that begin like a line
            break
        key, value = [*line.split(maxsplit=1), "", ""][:2]
        at = end + 1
        if key.lower() == "end":
            break
        fields.setdefault(key.lower(), []).append(value.strip())
    return fields, at


def _text(line: bytes) -> str | None:
    if re.search(rb"[\x00-\x08\x0a-\x0c\x0e-\x1f\x7f]", line):
        return None
    return line.decode("utf-8", errors="replace")


def _formats(fields: dict[str, list[str]]) -> tuple[list[str], dict[str, list[str]]]:
    """Return the encodings that lines `format` and `evt` name, and the options of `EVT3;height=720;width=1280`."""
    named: list[str] = []
    options: dict[str, list[str]] = {}
    for value in [*fields.get("format", []), *fields.get("evt", [])]:
        name, *pairs = value.split(";")
        named += [name.strip().lower()] if name.strip() else []
        for key, _, option in (pair.partition("=") for pair in pairs):
            options.setdefault(key.strip().lower(), []).append(option.strip())
    return named, options


def _orders(name: str, legacy: bool) -> tuple[str, ...]:
    orders = ("evt21_legacy", "evt21") if legacy else ("evt21", "evt21_legacy")
    return orders if name == "evt21" else (name,)


def _system(fields: dict[str, list[str]]) -> int:
    """Return `system_ID` of a camera by Prophesee; 0 if there is none."""
    makers = [
        fields.get(key, [""])[0] for key in ("integrator_name", "camera_integrator_name", "plugin_integrator_name")
    ]
    number = fields.get("system_id", [""])[0]
    by_prophesee = all(maker.lower() in ("", "prophesee") for maker in makers)
    known = by_prophesee and re.fullmatch(r"0[xX][0-9a-fA-F]{1,8}|[1-9][0-9]{0,8}", number)
    return int(number, 0) if known else 0


def _sizes(fields: dict[str, list[str]], options: dict[str, list[str]]) -> tuple[Size, ...]:
    geometries = [re.fullmatch(r"([0-9]+)\s*[x,]\s*([0-9]+)", text.lower()) for text in fields.get("geometry", [])]
    pairs = [
        *zip(options.get("height", []), options.get("width", []), strict=False),
        *((match[2], match[1]) for match in geometries if match),
        *zip(fields.get("height", []), fields.get("width", []), strict=False),
    ]
    sizes = [
        (int(height), int(width))
        for height, width in pairs
        if re.fullmatch(r"[0-9]{1,5}", height) and re.fullmatch(r"[0-9]{1,5}", width)
    ]
    return tuple(dict.fromkeys(size for size in sizes if all(size)))


def _size_of_camera(fields: dict[str, list[str]], system: int) -> tuple[Size, ...]:
    names = [value.lower().replace(".", "") for key in _NAMES for value in fields.get(key, [])]
    names = [name.replace("3200", "genx320") if name.isdecimal() else name for name in names]
    # `generation 4.1` has the number alone
    joined = " ".join(f"gen{name}" if name.isdecimal() else name for name in names)
    found = next((size for name, size in _SENSORS.items() if name in joined), None)
    if found is None and system in _SYSTEMS:
        found = _SYSTEMS[system][1]
    return () if found is None else (found,)

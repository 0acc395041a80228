"""The text header of Prophesee's `.raw` files: lines `% key value`, in several variants."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mambaseg_core.recordings.errors import EventFileError, one_sentence

_LONGEST: Final = 1 << 16  # bytes; real headers have less than 1000

# (height, width) of a sensor by part of a camera's or plugin's name, for headers without a size.
_SENSORS: Final = {
    "genx320": (320, 320),
    "gen41": (720, 1280),
    "gen4": (720, 1280),
    "imx636": (720, 1280),
    "imx646": (720, 1280),
    "gen31": (480, 640),
    "gen3": (480, 640),
}
_NAMES: Final = ("sensor_name", "plugin_name", "sensor_generation", "generation", "camera_integrator_name")
_ENCODINGS: Final = {
    "2.0": "evt2",
    "evt2": "evt2",
    "2.1": "evt21",
    "evt21": "evt21",
    "evt2.1": "evt21",
    "3.0": "evt3",
    "evt3": "evt3",
}


@dataclass(frozen=True)
class RawHeader:
    """Content of a header.

    Attributes:
        encoding: name for `Decoder`.
        size: (height, width), pixels; None if the header does not contain it.
        data_at: position of the first byte of the events.
    """

    encoding: str
    size: tuple[int, int] | None
    data_at: int


def read_raw_header(path: Path) -> RawHeader:
    """Read a `.raw` file's header: `% format EVT3;height=..;width=..`, `% evt 3.0`, `% geometry WxH` and others.

    Raises:
        EventFileError: the header is missing, or its encoding is unknown.
    """
    with one_sentence(path, "a Prophesee .raw file", "check that it is readable"), path.open("rb") as file:
        head = file.read(_LONGEST)
    fields, data_at = _fields(head)
    options = _format_options(fields.get("format", ""))
    name = options.pop("", fields.get("evt", "")).strip().lower()
    if name not in _ENCODINGS:
        raise EventFileError(
            f"event file {path} has {f'encoding {name!r}' if name else 'no encoding'} in its header (keys: "
            f"{sorted(fields)[:12]}), expected '% evt 2.0', '2.1' or '3.0' or '% format EVT2', 'EVT21' or 'EVT3'; "
            f"record it again in one of these, or convert it with the camera maker's tools"
        )
    encoding = _ENCODINGS[name]
    legacy = encoding == "evt21" and options.get("endianness", fields.get("endianness")) == "legacy"
    return RawHeader("evt21_legacy" if legacy else encoding, _size(fields, options), data_at)


def _fields(head: bytes) -> tuple[dict[str, str], int]:
    """Return keys and values of the lines that begin with a percent sign, and the position of the next line."""
    fields: dict[str, str] = {}
    at = 0
    while head[at : at + 2] == b"% " and (end := head.find(b"\n", at)) >= 0:
        key, _, value = head[at + 2 : end].decode("latin-1").strip().partition(" ")
        at = end + 1
        if key == "end":
            break
        fields[key] = value.strip()
    return fields, at


def _format_options(value: str) -> dict[str, str]:
    """Parse `EVT3;height=720;width=1280` to a dict; the encoding has the empty key."""
    if not value:
        return {}
    name, *pairs = value.split(";")
    return {"": name} | {key.strip(): option.strip() for key, _, option in (pair.partition("=") for pair in pairs)}


def _size(fields: dict[str, str], options: dict[str, str]) -> tuple[int, int] | None:
    geometry = re.fullmatch(r"(\d{1,5})x(\d{1,5})", fields.get("geometry", ""))
    pairs = [
        (options.get("height", ""), options.get("width", "")),
        (geometry[2], geometry[1]) if geometry else ("", ""),
        (fields.get("height", ""), fields.get("width", "")),
    ]
    for height, width in pairs:
        if re.fullmatch(r"\d{1,5}", height) and re.fullmatch(r"\d{1,5}", width) and int(height) and int(width):
            return int(height), int(width)
    names = " ".join(fields.get(key, "") for key in _NAMES).lower().replace(".", "")
    if names.strip().isdecimal():  # `generation 4.1` has the number alone
        names = f"gen{names.strip()}"
    return next((size for name, size in _SENSORS.items() if name in names), None)

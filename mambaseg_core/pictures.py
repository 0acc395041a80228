"""Read, write and draw images: gray [H, W] or RGB [H, W, 3], uint8 unless noted otherwise.

This module lists, decodes and encodes all images, from files and from messages. No image is turned, whatever its
orientation says (EXIF, or TIFF's tag): a calibration knows the sensor's raster, and an image, its label and its second
image stay registered when only one of them has the tag. Transparency is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, overload

import cv2
import numpy as np
import numpy.typing as npt

from mambaseg_core.files import atomic_path, write_bytes
from mambaseg_core.raster import upright, with_indices

Picture = npt.NDArray[np.uint8]
DeepPicture = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
Color = tuple[int, int, int]

ON_COLOR: Final[Color] = (0, 114, 178)
OFF_COLOR: Final[Color] = (213, 94, 0)
"""Blue and vermilion of the Okabe-Ito palette, which color-blind people can distinguish."""
EVENT_LEGEND: Final = (("ON: brighter", ON_COLOR), ("OFF: darker", OFF_COLOR))

ENDINGS: Final = (".png", ".jpg", ".jpeg")
"""Endings of files of images, in lower case."""

_FLAGS: Final = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR | cv2.IMREAD_IGNORE_ORIENTATION  # as stored
_JPEG: Final = b"\xff\xd8"
_CODECS: Final = {".mp4": ("vp09", "avc1"), ".avi": ("MJPG",)}  # VP9, else H.264: what browsers play
_WHITE: Final = (255, 255, 255)
_FRAME: Final = (128, 128, 128)

# Options of `encode_png` for masks, whose rows are runs of one value: a sixth of the default's bytes.
RUNS: Final = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)


def list_pictures(folder: Path, endings: Sequence[str] = ENDINGS) -> list[Path]:
    """Return the images of a folder, sorted by name; numbers in names count as numbers: 9.png, 10.png.

    Folders and hidden files are left out, such as the `._*` files that macOS adds.

    Args:
        folder: the folder.
        endings: endings of the files, in lower case; those of the files may be in upper case.
    """
    found = (path for path in folder.iterdir() if not path.name.startswith(".") and path.suffix.lower() in endings)
    return sorted((path for path in found if not path.is_dir()), key=_natural)


def _natural(path: Path) -> tuple[list[tuple[bool, int, str]], str]:
    """Return a key that sorts the numbers in a name by value."""
    parts = re.split(r"(\d+)", path.name)
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts], path.name


@overload
def decode(data: Any, what: str, remedy: str = ...) -> DeepPicture: ...
@overload
def decode(data: Any, what: str, remedy: str = ..., *, floats: bool) -> DeepPicture | npt.NDArray[np.float32]: ...
def decode(data: Any, what: str, remedy: str = "check the file", *, floats: bool = False) -> Any:
    """Decode an image as stored, uint8 or uint16.

    Args:
        data: bytes of a PNG, a JPEG or another format of OpenCV.
        what: name of the image, for the error message.
        remedy: remedy for an unreadable image, for the error message.
        floats: whether the image may have float32 values (TIFF).

    Raises:
        ValueError: the image cannot be decoded, or has neither 8 nor 16 bits.
    """
    octets = np.frombuffer(data, np.uint8)
    if octets[:2].tobytes() in (b"II", b"MM"):
        octets = np.frombuffer(upright(octets.tobytes()), np.uint8)
    try:
        picture: Any = cv2.imdecode(octets, _FLAGS)
    except cv2.error:  # no bytes, or more pixels than OpenCV takes
        picture = None
    kinds = (np.uint8, np.uint16, np.float32) if floats else (np.uint8, np.uint16)
    if picture is None or picture.dtype not in kinds:
        raise ValueError(
            f"{what} with {len(octets)} bytes cannot be read; expected PNG or JPEG of 8 or 16 bits: {remedy}"
        )
    return picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def in_8_bits(picture: DeepPicture) -> Picture:
    """Round 16 bits to 8, v / 257; return an image of 8 bits unchanged."""
    if picture.dtype == np.uint8:
        return picture  # type: ignore[return-value]
    return ((picture.astype(np.uint32) + 128) // 257).astype(np.uint8)


def read_picture(path: Path) -> DeepPicture:
    """Read an image as stored, uint8 or uint16, for example of a thermal or depth camera.

    Raises:
        ValueError: as `decode`, or the file is missing.
    """
    return decode(_bytes(path), f"picture {path}")


def read_image(path: Path) -> Picture:
    """Read the image of a frame camera; 16 bits become 8.

    Raises:
        ValueError: as `read_picture`.
    """
    return in_8_bits(read_picture(path))


def read_label(path: Path) -> Picture:
    """Read class ids, uint8 [H, W].

    The ids of a PNG with a palette are its indices, not its colors. Grays of 1 to 16 bits are ids as they are.

    Raises:
        ValueError: as `read_picture`, or the image has colors, ids above 255, or the losses of JPEG.
    """
    data = _bytes(path)
    if data.startswith(_JPEG):
        raise ValueError(f"label {path} is a JPEG, which changes class ids, expected PNG; convert it from its source")
    indices = with_indices(data)
    ids = decode(data, f"picture {path}") if indices is None else decode(indices, f"picture {path}")[..., 0]
    if ids.dtype == np.uint16 and ids.ndim == 2 and ids.max() <= np.iinfo(np.uint8).max:
        ids = ids.astype(np.uint8)
    if ids.dtype != np.uint8 or ids.ndim != 2:
        raise ValueError(f"label {path} is {ids.dtype} {list(ids.shape)}, expected class ids, uint8 [H, W]; convert it")
    return ids  # type: ignore[return-value]


def is_jpeg(path: Path) -> bool:
    """Return whether a file is a JPEG by its bytes, whatever its name."""
    return _bytes(path).startswith(_JPEG)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(
            f"picture {path} cannot be read ({error.strerror}); expected PNG or JPEG of 8 or 16 bits: check the path"
        ) from error


def encode_png(picture: DeepPicture, options: Sequence[int] = ()) -> bytes:
    """Return an image, uint8 or uint16, as the bytes of a PNG; `options` are OpenCV's, such as `RUNS`."""
    data: bytes = cv2.imencode(".png", picture if picture.ndim == 2 else picture[..., ::-1], options)[1].tobytes()
    return data


def write_png(path: Path, picture: DeepPicture) -> None:
    """Write an image, uint8 or uint16, as a PNG.

    Raises:
        WriteError: the file cannot be written.
    """
    write_bytes(path, encode_png(picture))


def through_jpeg(picture: Picture, quality: int) -> Picture:
    """Return an image as it is after JPEG of a quality from 0 to 100."""
    bgr = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    octets = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, quality))[1]
    return in_8_bits(decode(octets, "JPEG of an image"))


@contextmanager
def new_film(path: Path, fps: float) -> Iterator[Film]:
    """Write a video; it appears under its name only when it is complete.

    Args:
        path: `.mp4` (VP9, or H.264 where OpenCV lacks that: browsers play both) or `.avi` (Motion JPEG); an old file is
            replaced.
        fps: frames per second.

    Raises:
        ValueError: the name has another suffix, or no frame was written.
        WriteError: the video cannot be written, or OpenCV lacks the codecs.
    """
    if path.suffix.lower() not in _CODECS:
        raise ValueError(f"video {path} ends in {path.suffix!r}, expected {' or '.join(_CODECS)}; choose one of them")
    with atomic_path(path) as part:
        film = Film(part, fps)
        try:
            yield film
        finally:
            film.close()
        if not film.pictures:
            raise ValueError(f"video {path} has no frames, expected one or more; check the images it is made of")
        found = int(cv2.VideoCapture(str(part)).get(cv2.CAP_PROP_FRAME_COUNT))
        if found != film.pictures:  # OpenCV reports no error on a full disk
            raise OSError(f"{found} of its {film.pictures} frames can be read")


class Film:
    """Encodes a video frame by frame; made by `new_film`.

    Args:
        path: path of the file.
        fps: frames per second.

    Attributes:
        pictures: number of frames written.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self.pictures = 0
        self._path, self._fps = path, fps
        self._writer: cv2.VideoWriter | None = None

    def write(self, picture: Picture) -> None:
        """Add a frame; the first one sets the size. An odd size is padded with a white row or column.

        Raises:
            OSError: OpenCV cannot write the file.
        """
        height, width = picture.shape[:2]
        down, right = height % 2, width % 2  # codecs need even sizes
        if self._writer is None:
            self._writer = _open_writer(self._path, self._fps, (width + right, height + down))
        bgr = in_rgb(picture)[..., ::-1]
        self._writer.write(cv2.copyMakeBorder(bgr, 0, down, 0, right, cv2.BORDER_CONSTANT, value=_WHITE))
        self.pictures += 1

    def close(self) -> None:
        """Complete the file."""
        if self._writer is not None:
            self._writer.release()


def _open_writer(path: Path, fps: float, size: tuple[int, int]) -> cv2.VideoWriter:
    """Open a video of frames of (width, height) with the first codec of its suffix that OpenCV can encode."""
    codecs = _CODECS[path.suffix.lower()]
    for codec in codecs:
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, size)
        if writer.isOpened():
            return writer
    raise OSError(
        f"this OpenCV encodes none of {', '.join(codecs)}; install opencv-python-headless, or name the video .avi"
    )


def in_rgb(picture: Picture) -> Picture:
    """Convert gray [H, W] or [H, W, 1] to RGB [H, W, 3]; return RGB unchanged."""
    return picture if picture.shape[2:] == (3,) else cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)  # type: ignore[return-value]


def event_picture(polarity: npt.NDArray[Any]) -> Picture:
    """Draw events in `ON_COLOR` and `OFF_COLOR` on white.

    Args:
        polarity: [H, W]: 1 full ON, -1 full OFF, 0 none. Larger values are clipped; values between are lighter.

    Returns:
        RGB [H, W, 3].
    """
    levels = np.clip(polarity, -1, 1).astype(np.float32) * 127 + 127.5
    return cv2.applyColorMap(levels.astype(np.uint8), _polarity_colors())  # type: ignore[return-value]


def _polarity_colors() -> Picture:
    """Return the colors of the levels 0 (OFF) to 127 (white) to 254 (ON), [256, 1, 3]."""
    strength = np.abs(np.arange(-127, 129)[:, None]) / 127
    full = np.where(np.arange(256)[:, None] < 127, OFF_COLOR, ON_COLOR)
    colors: Picture = (255 - np.minimum(strength, 1) * (255 - full)).round().astype(np.uint8)
    return colors[:, None]


def with_legend(picture: Picture, entries: Sequence[tuple[str, Color]]) -> Picture:
    """Add a legend below an RGB image [H, W, 3]: a colored box and a name for each entry, in rows."""
    width = picture.shape[1]
    scale = max(1.0, width / 1000)
    row, box, gap = round(18 * scale), round(10 * scale), round(5 * scale)
    font, size, thick = cv2.FONT_HERSHEY_SIMPLEX, 0.4 * scale, round(scale)
    places: list[tuple[int, int]] = []
    x = y = 0
    for name, _ in entries:
        length = box + 4 * gap + cv2.getTextSize(name, font, size, thick)[0][0]
        if x and x + length > width:
            x, y = 0, y + row
        places.append((x + gap, y))
        x += length
    strip = np.full((y + row, width, 3), 255, np.uint8)
    for (name, color), (x, y) in zip(entries, places, strict=True):
        top, bottom = y + (row - box) // 2, y + (row + box) // 2
        cv2.rectangle(strip, (x - 1, top - 1), (x + box + 1, bottom + 1), _FRAME, cv2.FILLED)  # a class may be white
        cv2.rectangle(strip, (x, top), (x + box, bottom), color, cv2.FILLED)
        cv2.putText(strip, name, (x + box + gap, bottom - thick), font, size, (0, 0, 0), thick, cv2.LINE_AA)
    return np.concatenate([picture, strip])

"""`sensor_msgs/CompressedImage`: what its `format` says about the picture in its bytes.

compressed_image_transport writes "<encoding of the raw image>; <codec> compressed <encoding of the picture>". Without
the last word the picture has the raw image's encoding: TIFF always, PNG and JPEG of gray and Bayer images. Its
publisher hands the channels to OpenCV in the order of that encoding, so those of a picture in "rgb8" lie exchanged in
the file. A format without ";" says nothing: then the file is as any other.
"""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np

from mambaseg_core.pictures import RUNS, DeepPicture, Picture, decode, encode_png

REMEDY: Final = "check its publisher"

_MAGIC: Final = {"jpeg": (b"\xff\xd8",), "jpg": (b"\xff\xd8",), "png": (b"\x89PNG",), "tiff": (b"II", b"MM")}
_RED_FIRST: Final = ("rgb8", "rgba8", "rgb16", "rgba16")
_ONE_CHANNEL: Final = re.compile(r"mono(8|16)|bayer_\w{4}(8|16)|(8|16)(u|s)c1")
_BITS: Final = re.compile(r"(?:rgba?|bgra?|mono|bayer_\w{4})(8|16)|(8|16)uc\d")


def stored_encoding(format_: str) -> str:
    """Return the encoding of the picture in the bytes, in lower case; empty if the format does not say."""
    raw, semicolon, rest = format_.lower().partition(";")
    words = rest.split()
    said = words[words.index("compressed") + 1 :] if "compressed" in words else []
    if not semicolon or not raw.strip():
        return ""
    return said[0] if said else raw.strip()


def decompress(message: Any) -> DeepPicture:
    """Return the picture of a CompressedImage, gray [H, W] or RGB [H, W, 3]; a Bayer mosaic stays gray.

    Raises:
        ValueError: the data cannot be decoded, or contradict the format.
    """
    what = describe(message)
    encoding = stored_encoding(message.format)
    codec = _codec(message.format)
    head = np.frombuffer(message.data, np.uint8)[:4].tobytes()
    if encoding and head and not head.startswith(_MAGIC.get(codec, (b"",))):
        raise ValueError(f"{what} begins with {head!r}; expected {codec.upper()} as the format says: {REMEDY}")
    picture = decode(message.data, what, REMEDY)
    bits = 8 * picture.itemsize
    said = _bits(encoding)
    too_many = picture.ndim == 3 and _ONE_CHANNEL.fullmatch(encoding)
    if too_many or said not in (None, bits, 16 if head.startswith(_MAGIC["jpeg"]) else bits):
        channels = "3 channels" if picture.ndim == 3 else "1 channel"
        raise ValueError(f"{what} holds {channels} of {bits} bits; expected {encoding} as the format says: {REMEDY}")
    if picture.ndim == 2 or encoding not in _RED_FIRST:
        return picture
    return np.ascontiguousarray(picture[..., ::-1])  # type: ignore[return-value]


def fill_compressed_message(message: Any, ids: Picture, *, header: Any) -> Any:
    """Fill an empty CompressedImage with class ids [H, W] as a PNG, without loss."""
    message.header = header
    message.format = "mono8; png compressed "  # with the blank, as compressed_image_transport writes it
    message.data.frombytes(encode_png(ids, RUNS))
    return message


def describe(message: Any) -> str:
    """Return the name of a CompressedImage for an error."""
    return f"compressed image of format {message.format!r}"


def _codec(format_: str) -> str:
    words = format_.lower().partition(";")[2].split()
    return words[0] if words else ""


def _bits(encoding: str) -> int | None:
    found = _BITS.fullmatch(encoding)
    return None if found is None else int(found[1] or found[2])

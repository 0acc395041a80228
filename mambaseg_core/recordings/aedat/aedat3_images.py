"""The images of AEDAT 3.1 files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from mambaseg_core.recordings.aedat.aedat3 import FRAME, FRAMES, Aedat3Packet, Aedat3Stream
from mambaseg_core.recordings.aedat.chips import Size
from mambaseg_core.recordings.errors import EventFileError

# libcaer's color filters RGBG, GRGB, GBGR, BGRG (rows from the top) as OpenCV names them, by its second row
_BAYER: Final = {
    1: cv2.COLOR_BayerBG2RGB,
    2: cv2.COLOR_BayerGB2RGB,
    3: cv2.COLOR_BayerGR2RGB,
    4: cv2.COLOR_BayerRG2RGB,
}


class _Frame(NamedTuple):
    stamp_ns: int
    at: int  # of its first pixel
    height: int
    width: int
    channels: int
    color_filter: int  # 0: none


class Aedat3Images:
    """`RecordedImages` of an AEDAT 3.1 file, stamped at the middle of their exposure; read when requested.

    Args:
        path: the file.
        size: (height, width) of the sensor if its name in the header is unknown.

    Raises:
        EventFileError: the file is missing or damaged.
    """

    def __init__(self, path: str | Path, size: Size | None = None) -> None:
        self._stream = Aedat3Stream(Path(path), size)
        counts = {"clock_resets": 0, "other_cameras": 0}
        packets = [packet for packet, _ in self._stream.packets(counts) if packet.type == FRAMES]
        self._frames = sorted(frame for packet in packets for frame in self._of(packet))
        self.times_ns = np.array([frame.stamp_ns for frame in self._frames], np.int64)

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Return an image, RGB uint8 [H, W, 3] or gray uint8 [H, W]; its 16 bits are cut to 8.

        Raises:
            EventFileError: it cannot be read.
        """
        frame = self._frames[index]
        shape = (frame.height, frame.width, frame.channels)
        data = self._stream.bytes_at(frame.at, 2 * frame.height * frame.width * frame.channels)
        pixels = (np.frombuffer(data, "<u2") >> 8).astype(np.uint8).reshape(shape)
        if frame.channels > 1:
            return pixels[..., :3]
        if frame.color_filter:
            return np.asarray(cv2.cvtColor(pixels[..., 0], _BAYER[frame.color_filter]), np.uint8)
        return pixels[..., 0]

    def _of(self, packet: Aedat3Packet) -> Iterator[_Frame]:
        for at in range(packet.at, packet.at + packet.number * packet.size, packet.size):
            head = np.frombuffer(self._stream.bytes_at(at, FRAME.itemsize), FRAME)[0]
            height, width, channels = int(head["height"]), int(head["width"]), int(head["info"]) >> 1 & 7
            if not int(head["info"]) & 1:  # marked as invalid
                continue
            color_filter = int(head["info"]) >> 4 & 15 if channels == 1 else 0
            room = (packet.size - FRAME.itemsize) // 2
            known = channels in (1, 3, 4) and color_filter in (0, *_BAYER)
            if min(height, width) < 1 or not known or height * width * channels > room:
                raise EventFileError(
                    f"event file {self._stream.path} has a frame of {width}x{height} pixels and {channels} channels, "
                    f"color "
                    f"filter {color_filter}, in {packet.size} bytes, expected 1, 3 or 4 channels of 16 bits, color "
                    f"filter 0 to 4; copy or record it again"
                )
            middle_us = (int(head["exposure"]) + int(head["exposure_end"])) // 2 + packet.base_us
            yield _Frame(middle_us * 1000, at + FRAME.itemsize, height, width, channels, color_filter)

"""Films of pictures that are made one after the other."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

_CODECS: Final = {".mp4": "mp4v", ".avi": "MJPG"}


class Film:
    """A film that appears under its name only when it is complete; a context manager.

    Args:
        path: `.mp4` or `.avi`.
        fps: pictures a second.

    Raises:
        ValueError: another ending of the name.
    """

    def __init__(self, path: str | Path, fps: float) -> None:
        self.path, self._fps = Path(path), fps
        if self.path.suffix.lower() not in _CODECS:
            ending = self.path.suffix
            raise ValueError(f"video {path} ends in {ending!r}, expected {' or '.join(_CODECS)}; choose one of them")
        self._part = self.path.with_name(f".{self.path.stem}.{os.getpid()}.partial{self.path.suffix}")
        self._writer: cv2.VideoWriter | None = None

    def write(self, picture: npt.NDArray[np.uint8]) -> None:
        """Add a picture, RGB uint8 [H, W, 3]; the first one sets the size. Odd sizes get a white row or column.

        Raises:
            OSError: the folder cannot be written to, or OpenCV lacks the codec.
        """
        height, width = picture.shape[:2]
        size = (width + width % 2, height + height % 2)  # codecs want even numbers
        if self._writer is None:
            codec = cv2.VideoWriter.fourcc(*_CODECS[self.path.suffix.lower()])
            self._writer = cv2.VideoWriter(str(self._part), codec, self._fps, size)
            if not self._writer.isOpened():
                raise OSError(f"{self.path} cannot be written, expected a folder to write in; check it and the disk")
        pad = (0, height % 2, 0, width % 2)
        self._writer.write(cv2.copyMakeBorder(picture[..., ::-1], *pad, cv2.BORDER_CONSTANT, value=(255, 255, 255)))

    def __enter__(self) -> Film:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.release()
            if kind is None:
                self._part.replace(self.path)
        self._part.unlink(missing_ok=True)

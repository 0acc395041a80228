"""Pictures as PNG files."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt


def write_png(path: Path, picture: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> None:
    """Write a picture that appears under its name only when it is complete.

    Args:
        path: of the file; an old one is replaced.
        picture: grey [H, W] or RGB [H, W, 3].

    Raises:
        OSError: the file cannot be written.
    """
    data = cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1] if picture.ndim == 3 else picture))[1].tobytes()
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        raise OSError(
            f"picture {path} cannot be written ({error.strerror}); expected a folder to write in and room on the disk: "
            "check both"
        ) from error
    finally:
        part.unlink(missing_ok=True)

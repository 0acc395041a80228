from __future__ import annotations

import errno
from pathlib import Path

import cv2
import numpy as np
import pytest

from mambaseg_core.png import write_png


@pytest.mark.parametrize(
    "picture",
    [
        np.arange(20, dtype=np.uint8).reshape(4, 5),
        np.arange(20, dtype=np.uint16).reshape(4, 5) * 3000,
        np.arange(60, dtype=np.uint8).reshape(4, 5, 3)[:, ::-1],
    ],
)
def test_what_is_written_is_read(picture: np.ndarray, tmp_path: Path) -> None:
    for _ in range(2):  # the second replaces the first
        write_png(tmp_path / "a.png", picture)
    read = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
    assert read is not None
    assert read.dtype == picture.dtype
    np.testing.assert_array_equal(read[..., ::-1] if picture.ndim == 3 else read, picture)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"none/a\.png cannot be written \(No such file or directory\); expected a fold"):
        write_png(tmp_path / "none" / "a.png", np.zeros((4, 5), np.uint8))


def test_on_a_full_disk_the_old_picture_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    write_png(tmp_path / "a.png", np.ones((4, 5), np.uint8))
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"a\.png cannot be written \(No space left on device\)"):
        write_png(tmp_path / "a.png", np.zeros((4, 5), np.uint8))
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED).all()

"""Files of calibration as checked values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mambaseg_core.cameras.camera import Matrix, is_rotation


def load(path: Path, expected: str) -> Mapping[str, Any]:
    """Read a YAML file of named values.

    Args:
        path: the file.
        expected: the files that would do, for the error.

    Raises:
        ValueError: the file is missing, is not YAML, or holds something else.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:  # ValueError: no UTF-8, or no such date
        reason = " ".join(str(error).split())
        raise ValueError(
            f"calibration {path} cannot be read ({reason}), expected {expected}; check the path and the file"
        ) from error
    if not isinstance(content, Mapping):
        raise ValueError(f"calibration {path} holds {type(content).__name__}, expected {expected}; give such a file")
    return content


class Fields:
    """Checked values of a parsed file; every error names the file and the key.

    Args:
        path: of the file.
        content: what it holds.
        remedy: what to do about a wrong value.
    """

    def __init__(self, path: Path, content: Mapping[str, Any], remedy: str) -> None:
        self._path, self._content, self._remedy = path, content, remedy

    def pose(self, *keys: str, size: int) -> Matrix:
        """Return a rotation [3, 3] or a transform [4, 4]."""
        matrix = self.numbers(*keys, shape=(size, size))
        if not is_rotation(matrix[:3, :3]):
            raise self.error(
                "/".join(keys), f"{matrix[:3, :3].tolist()}", "a rotation matrix (orthonormal, determinant 1)"
            )
        matrix.flags.writeable = False
        return matrix

    def pinhole(self, matrix: str, *keys: str) -> tuple[float, float, float, float, int, int]:
        """Return fx, fy, cx, cy, height and width of a camera whose intrinsics stand under the key `matrix`."""
        fx, fy, cx, cy = self.numbers(*keys, matrix, shape=(4,)).tolist()
        width, height = self.numbers(*keys, "resolution", shape=(2,)).tolist()
        if min(fx, fy, width, height) <= 0 or width % 1 or height % 1:
            raise self.error(
                "/".join(keys),
                f"{matrix} [{fx}, {fy}, {cx}, {cy}] and resolution [{width}, {height}]",
                "[fx, fy, cx, cy] and [width, height] with sizes above 0",
            )
        return fx, fy, cx, cy, int(height), int(width)

    def numbers(self, *keys: str, shape: tuple[int, ...]) -> Matrix:
        """Return finite numbers of a shape, float64."""
        value = self.value(*keys)
        try:
            numbers = np.asarray(value, np.float64)
        except (TypeError, ValueError, OverflowError):
            numbers = None
        if numbers is None or numbers.shape != shape or not np.isfinite(numbers).all():
            raise self.error("/".join(keys), repr(value), f"finite numbers of shape {list(shape)}")
        return numbers

    def value(self, *keys: str) -> Any:
        """Return what stands under keys, from the outermost inwards."""
        value: Any = self._content
        for depth, key in enumerate(keys):
            if not isinstance(value, Mapping) or key not in value:
                found = list(value) if isinstance(value, Mapping) else repr(value)
                raise self.error("/".join(keys[: depth + 1]), f"nothing (found there: {found})", "this key")
            value = value[key]
        return value

    def error(self, key: str, got: str, expected: str) -> ValueError:
        """Return the error about a value."""
        got = got if len(got) < 200 else f"{got[:200]}..."
        return ValueError(f"calibration {self._path}: {key} is {got}, expected {expected}; {self._remedy}")

"""Six tiny pairs of an RGB and a thermal picture, and the folder of the scripts."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

SIZE = (48, 64)


@pytest.fixture(scope="session")
def scripts() -> Path:
    return Path(__file__).parents[2] / "benchmarks" / "learning"


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes; the thermal picture tells them, the colours hardly."""
    root = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(0)
    for folder in ("RGB", "Modal", "Label"):
        (root / folder).mkdir()
    for number in range(6):
        label = cv2.resize(rng.integers(0, 3, (3, 4), np.uint8), SIZE[::-1], interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(root / f"RGB/{number}.png"), rng.integers(0, 200, (*SIZE, 3), np.uint8) + 20 * label[..., None])
        cv2.imwrite(str(root / f"Modal/{number}.png"), 100 * label)
        cv2.imwrite(str(root / f"Label/{number}.png"), label)
    (root / "train.txt").write_text("0\n1\n2\n3\n")
    (root / "test.txt").write_text("4\n5\n")
    return root

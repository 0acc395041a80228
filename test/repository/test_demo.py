"""The report of `make demo` on its images; the run itself is `make demo`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

FILE = Path(__file__).parents[2] / "tools" / "demo.py"


@pytest.fixture(scope="module")
def demo() -> Any:
    spec = importlib.util.spec_from_file_location("demo", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def status(stamp: int, message: str = "", **counts: int) -> Any:
    names = ("masks_published", "images_replaced", "images_dropped", "images_refused", "images_failed", "images_lost")
    header = SimpleNamespace(stamp=SimpleNamespace(sec=0, nanosec=stamp))
    return SimpleNamespace(header=header, message=message, **{**dict.fromkeys(names, 0), **counts})


def test_every_image_is_accounted_for(demo: Any) -> None:
    late = "events end 60.0 ms before the image's stamp"
    answers = [status(1), status(3, late), status(4, "bad encoding")]
    answers.append(status(5, masks_published=3, images_replaced=1, images_refused=1))
    assert demo.account([1, 2, 3, 4, 5], {1, 3}, answers) == [
        "images in: 5; masks: 3, replaced: 1, dropped: 0, refused: 1, failed: 0, lost: 0, never seen by the node: 0",
        "image 2: no mask: replaced by a newer image while the model was busy",
        f"image 3: mask, but {late}",
        "image 4: no mask: bad encoding",
        "image 5: no mask: it was published, but not recorded",
    ]


def test_an_image_with_two_possible_fates_has_both_reported(demo: Any) -> None:
    lines = demo.account([1, 2, 3, 4], {3}, [status(3, masks_published=1, images_replaced=1, images_lost=1)])
    assert lines[0].endswith("lost: 1, never seen by the node: 1")
    assert [line.split(":")[0] for line in lines[1:]] == ["image 1", "image 2", "image 4"]
    assert "replaced by a newer image while the model was busy; or lost on the way to the node; or sent" in lines[1]

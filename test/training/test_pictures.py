"""Fine-tuning on a folder of pictures, from the weights that ship, as docs/training.md has it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mambaseg_core.checkpoint import weights_file
from mambaseg_core.events import Events
from mambaseg_core.inference import Segmenter
from mambaseg_core.labels import DSEC_11
from mambaseg_core.training.config import DataConfig

RECIPE = Path(__file__).parents[2] / "config" / "train" / "pictures.yaml"
ROAD, SKY, SIDEWALK = (DSEC_11.classes.index(name) for name in ("road", "background", "sidewalk"))


@pytest.fixture
def road(tmp_path: Path) -> Path:
    """Ten pictures of a green sky, and of a road that is red on its right half; labels have ids of another data set."""
    root, rng = tmp_path / "road", np.random.default_rng(0)
    for name in ("images", "labels"):
        (root / name).mkdir(parents=True)
    for number in range(10):
        horizon, middle = (int(v) for v in rng.integers((16, 20), (32, 44)))
        label = np.full((48, 64), 23, np.uint8)
        label[horizon:], label[horizon:, middle:] = 7, 8
        colors = np.zeros((256, 3))
        colors[[23, 7, 8]] = (60, 200, 60), (90, 90, 90), (40, 40, 200)
        image = colors[label] + rng.normal(0, 8, (48, 64, 3))
        cv2.imwrite(str(root / f"images/{number}.jpg"), image.clip(0, 255).astype(np.uint8))
        cv2.imwrite(str(root / f"labels/{number}.png"), label)
    (root / "label_map.yaml").write_text("7: road\n8: sidewalk\n23: background\n")
    return root


def accuracy_of(mambaseg: Callable[..., Any], checkpoint: Path, root: Path, out: Path) -> float:
    result = mambaseg("eval", checkpoint, root, "--out", out, "--workers", 0)
    assert result.returncode == 0, result.stdout
    return float(json.loads((out / "scores.json").read_text())["overall"]["accuracy"])


def test_pictures_are_learned_from_the_weights_that_ship(
    mambaseg: Callable[..., Any], road: Path, tmp_path: Path
) -> None:
    changes = ("data.size=[48,64]", "data.crop=[48,64]", "data.workers=0", "loop.steps=16", "optimizer.warmup=2")
    words = [word for change in (*changes, "data.camera=0.2") for word in ("--set", change)]
    result = mambaseg("train", RECIPE, "--data", road, "--out", tmp_path / "run", "--accelerator", "cpu", *words)
    assert result.returncode == 0, result.stdout
    tuned = tmp_path / "run" / "last.safetensors"
    before = accuracy_of(mambaseg, weights_file("mambaseg_nano", "synthetic"), road, tmp_path / "before")
    after = accuracy_of(mambaseg, tuned, road, tmp_path / "after")
    assert before + 0.1 < after
    assert after > 0.7
    result = mambaseg("predict", tuned, road, tmp_path / "masks")
    assert result.returncode == 0, result.stdout
    masks = sorted((tmp_path / "masks" / "masks").iterdir())
    assert len(masks) == 10
    segmenter, image = Segmenter(tuned, "cpu"), cv2.imread(str(road / "images/3.jpg"))[..., ::-1]
    np.testing.assert_array_equal(cv2.imread(str(masks[3]), cv2.IMREAD_UNCHANGED), segmenter.segment(image, None).ids)
    x = np.arange(40, dtype=np.uint16)
    events = Events.from_arrays(x, x, 1_000_000 * np.arange(40), np.ones(40, np.int8), height=48, width=64)
    mask = segmenter.segment(image, events)  # a camera with events runs the same weights
    assert segmenter.to_camera(mask.ids, (48, 64)).max() < 255
    assert np.isfinite(mask.confidence).all()


def test_a_plain_folder_of_pictures_is_segmented(mambaseg: Callable[..., Any], road: Path, tmp_path: Path) -> None:
    checkpoint = weights_file("mambaseg_nano", "synthetic")
    result = mambaseg("predict", checkpoint, road / "images", tmp_path / "masks")
    assert result.returncode == 0, result.stdout
    assert len(list((tmp_path / "masks" / "masks").iterdir())) == 10


def test_masks_of_other_pictures_are_not_kept(mambaseg: Callable[..., Any], road: Path, tmp_path: Path) -> None:
    """Masks have the numbers of the pictures: with a new one before them, they are those of others."""
    checkpoint = weights_file("mambaseg_nano", "synthetic")
    for path in (road / "images").glob("[1-9].jpg"):
        path.rename(tmp_path / path.name)
    assert mambaseg("predict", checkpoint, road / "images", tmp_path / "masks").returncode == 0
    (tmp_path / "9.jpg").rename(road / "images" / "-1.jpg")
    result = mambaseg("predict", checkpoint, road / "images", tmp_path / "masks")
    assert result.returncode == 1
    assert "holds masks whose names is '1 of digest" in result.stdout.replace("\n", " ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"inputs": "both"},
            r"data\.inputs is 'both' with data\.layout 'pictures', which has no events; expected 'image'",
        ),
        ({"modality_dropout": 0.1}, r"data\.modality_dropout is 0\.1 with data\.layout 'pictures'"),
        ({"cover": 0.1}, r"data\.cover is 0\.1 with"),
        ({"misalignment_px": 2.0}, r"data\.misalignment_px is 2\.0 with"),
        ({"cache": "cache"}, r"data\.cache is 'cache' with"),
        ({"second": "thermal"}, r"data\.second is 'thermal'; expected one of 'events'"),
    ],
)
def test_what_needs_events_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DataConfig(**{"layout": "pictures", "inputs": "image", **changes})

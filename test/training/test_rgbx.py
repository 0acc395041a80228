"""Training, evaluation and prediction with a depth image as second input, as library and as command."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner, Result

from mambaseg_core.checkpoint import create_model, load_checkpoint
from mambaseg_core.cli import app
from mambaseg_core.data import collate
from mambaseg_core.data.loading import layout_of, open_dataset
from mambaseg_core.evaluation.evaluate import evaluate, predict_ids
from mambaseg_core.events import Events
from mambaseg_core.inference import Segmenter
from mambaseg_core.training.config import TrainConfig, parse_config
from mambaseg_core.training.data import make_preprocessing
from mambaseg_core.training.run import TrainingResult, train

SIZE = (32, 48)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write six pairs with 16-bit depth; the depth alone determines the label."""
    root = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(0)
    for folder in ("RGB", "Depth", "Label"):
        (root / folder).mkdir()
    for number in range(6):
        label = cv2.resize(rng.integers(0, 3, (4, 6), np.uint8), SIZE[::-1], interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(root / f"RGB/{number:02d}.png"), rng.integers(0, 255, (*SIZE, 3), np.uint8))
        cv2.imwrite(str(root / f"Depth/{number:02d}.png"), label.astype(np.uint16) * 4000)
        cv2.imwrite(str(root / f"Label/{number:02d}.png"), label)
    (root / "train.txt").write_text("".join(f"{number:02d}\n" for number in range(4)))
    (root / "test.txt").write_text("04\n05\n")
    (root / "test_night.txt").write_text("05\n")
    return root


def configuration(root: Path, changes: dict[str, Any] | None = None) -> TrainConfig:
    values = {
        "model": {"name": "mambaseg_nano"},
        "data": {
            "layout": "rgbx",
            "root": str(root),
            "size": list(SIZE),
            "labels": "dsec_11",
            "second": "depth",
            "second_range": [0, 10000],
            "second_channels": 10,
            "workers": 0,
        },
        "optimizer": {"lr": 1.0e-3, "schedule": "poly", "warmup": 1},
        "loop": {"steps": 3, "batch": 2},
    }
    return parse_config(values, changes or {})


@pytest.fixture(scope="module")
def run(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    return train(configuration(pairs), tmp_path_factory.mktemp("run"), accelerator="cpu", progress=False)


def mambaseg(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_the_checkpoint_of_a_run_says_what_its_second_input_is(run: TrainingResult) -> None:
    _, setup = load_checkpoint(run.last)
    assert (setup.second, setup.second_range, setup.bins, layout_of(setup)) == ("depth", (0.0, 10000.0), 10, "rgbx")


def test_a_model_with_other_channels_is_refused_before_it_is_trained(pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"mambaseg_nano takes 10 channels of depth, but data\.second_channels is 3"):
        train(configuration(pairs, {"data.second_channels": 3}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_eval_looks_at_several_scales_and_both_ways_round(run: TrainingResult, pairs: Path, tmp_path: Path) -> None:
    plain = mambaseg("eval", run.last, pairs, "--workers", 0, "--out", tmp_path / "plain")
    assert plain.exit_code == 0, plain.output
    assert re.search(r"night\s+. 1", plain.output)
    page = (tmp_path / "plain" / "report.html").read_text()
    assert "<figcaption>depth</figcaption>" in page
    words = ("--scales", "0.5", "1.0", "1.5", "--flip", "--workers", 0, "--out", tmp_path / "many")
    many = mambaseg("eval", run.last, pairs, *words)
    assert many.exit_code == 0, many.output
    found = json.loads((tmp_path / "many" / "scores.json").read_text())
    assert (found["scales"], found["flip"]) == ([0.5, 1.0, 1.5], True)
    assert found["confusion"] != json.loads((tmp_path / "plain" / "scores.json").read_text())["confusion"]


def test_eval_without_the_option_takes_no_scales(run: TrainingResult, pairs: Path) -> None:
    result = mambaseg("eval", run.last, pairs, "0.5")
    assert "got [0.5] after the data set" in str(result.exception)


def test_predict_of_pairs_writes_the_segmenters_masks(run: TrainingResult, pairs: Path, tmp_path: Path) -> None:
    result = mambaseg("predict", run.last, pairs, tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 6
    image = cv2.imread(str(pairs / "RGB/03.png"))[..., ::-1]
    depth = cv2.imread(str(pairs / "Depth/03.png"), cv2.IMREAD_UNCHANGED)
    segmenter = Segmenter(run.last, "cpu")
    segmenter.warm_up()
    expected = segmenter.segment(image, depth).ids
    mask = cv2.imread(str(tmp_path / "out/masks/000003.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(mask, expected)
    assert segmenter.segment(None, depth).ids.shape == SIZE
    missing = mambaseg("predict", run.last, tmp_path / "nowhere", tmp_path / "out2")
    assert "nowhere is no folder, expected one with RGB/ and a folder of depth images" in str(missing.exception)


class Columns(nn.Module):
    """Predicts class 1 in the left half of its inputs, else 0, and 2 where the second input is high."""

    any_size = True

    def forward(self, image: Tensor, second: Tensor) -> Tensor:
        logits = torch.zeros(len(image), 11, *image.shape[2:])
        logits[:, 1, :, : image.shape[3] // 2] = 1
        logits[:, 2] = 5 * second[:, 0]
        return logits


def test_one_scale_without_flip_is_the_plain_prediction_bit_for_bit(run: TrainingResult, pairs: Path) -> None:
    model, setup = load_checkpoint(run.last)
    dataset = open_dataset("rgbx", str(pairs), "test", setup)
    batch = collate([dataset[0], dataset[1]])
    with torch.inference_mode():
        plain = model.eval()(batch.image, batch.second).argmax(1)
    assert torch.equal(predict_ids(model, batch), plain)
    assert torch.equal(predict_ids(model, batch, scales=[1.0], flip=False), plain)
    both = predict_ids(model, batch, flip=True)
    mirrored = replace(batch, image=batch.image.flip(-1), second=batch.second.flip(-1))
    assert torch.equal(predict_ids(model, mirrored, flip=True).flip(-1), both)


def test_scales_and_flip_bring_every_pixel_back_to_its_place(pairs: Path) -> None:
    setup = make_preprocessing(configuration(pairs).data)
    batch = collate([open_dataset("rgbx", str(pairs), "test", setup)[0]])
    plain, several = predict_ids(Columns(), batch), predict_ids(Columns(), batch, scales=[0.5, 1.0, 2.0])
    assert float((plain == several).float().mean()) > 0.93  # borders are mixed
    both = predict_ids(Columns(), batch, flip=True)
    assert torch.equal(both, torch.where(batch.second[:, 0] > 0.1, 2, 1))  # the halves are left and right in turn


def test_scales_that_cannot_be_are_named(pairs: Path) -> None:
    dataset = open_dataset("rgbx", str(pairs), "test", make_preprocessing(configuration(pairs).data))
    for scales, message in (([], r"scales are \[\]"), ([1.0, 0.0], r"scales are \[1\.0, 0\.0\]; expected one or more")):
        with pytest.raises(ValueError, match=message):
            evaluate(Columns(), dataset, scales=scales)
    with torch.device("meta"):
        released = create_model("mambaseg_ddd17", image_size=SIZE)
    with pytest.raises(ValueError, match=r"scales are \[0\.5\], but mambaseg_ddd17 takes 32x48 only; leave"):
        evaluate(released, dataset, scales=[0.5])


def test_the_second_input_of_another_kind_is_refused(run: TrainingResult) -> None:
    events = Events.from_arrays([], [], [], [], height=32, width=48)
    with pytest.raises(ValueError, match="the second input is events; this model expects depth"):
        Segmenter(run.last, "cpu").segment(None, events)

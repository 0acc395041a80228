"""`mambaseg eval` and `mambaseg predict`, as library and as command."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mambaseg_core.checkpoint import create_model, save_checkpoint
from mambaseg_core.data.dataset import RecordingDataset
from mambaseg_core.data.loading import open_dataset
from mambaseg_core.data.sample import Sample
from mambaseg_core.evaluation.evaluate import evaluate
from mambaseg_core.evaluation.metrics import Scores, confusion_matrix
from mambaseg_core.evaluation.predict import open_recording
from mambaseg_core.evaluation.report import to_json
from mambaseg_core.evaluation.tables import absent_sentence
from mambaseg_core.inference import Segmenter
from mambaseg_core.pictures import EVENT_LEGEND, read_image
from mambaseg_core.training.config import DataConfig
from mambaseg_core.training.data import make_preprocessing

SETUP = make_preprocessing(DataConfig(size=(64, 96), window_ms=50))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "nano.safetensors"
    save_checkpoint(path, create_model("mambaseg_nano", image_size=SETUP.size), SETUP)
    return path


class Constant(nn.Module):
    """Predicts one class everywhere, or another without events."""

    def forward(self, image: Tensor, second: Tensor) -> Tensor:
        logits = torch.zeros(len(image), 11, *image.shape[2:])
        logits[:, 5] = 1
        logits[:, 0] = torch.where(second.abs().sum((1, 2, 3)) > 0, 0.0, 2.0)[:, None, None]
        return logits


class Listed(RecordingDataset):
    """Data set of given samples."""

    def __init__(self, samples: list[Sample]) -> None:
        super().__init__([], SETUP)
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def load(self, number: int) -> Sample:
        return self.samples[number]


@pytest.fixture(scope="module")
def samples(streets: Path) -> list[Sample]:
    dataset = open_dataset("dsec", str(streets), "test", SETUP)
    return [dataset[number] for number in range(len(dataset))]


def test_conditions_are_judged_apart_and_add_up(samples: list[Sample]) -> None:
    named = [replace(sample, condition="night" if number % 2 else "day") for number, sample in enumerate(samples)]
    found = evaluate(Constant(), Listed(named), batch=2, examples=2)
    assert found.samples == {"day": (len(samples) + 1) // 2, "night": len(samples) // 2}
    truth = torch.stack([sample.label for sample in samples])
    expected = confusion_matrix(torch.full_like(truth, 5), truth, 11)
    assert torch.equal(found.all_confusion, expected)
    assert found.overall == Scores.of(expected)
    assert len(found.examples) == 2
    blank = evaluate(Constant(), Listed(named), keep="image", examples=0)
    assert blank.overall.accuracy == pytest.approx(float((truth == 0).sum() / (truth != 255).sum()))


def test_a_class_that_never_occurs_is_left_out_and_said_so(samples: list[Sample]) -> None:
    without = [replace(s, label=torch.where((s.label == 0) | (s.label == 5), s.label, 255)) for s in samples]
    found = evaluate(Constant(), Listed(without), examples=0)
    assert [name for name in found.labels.classes if name not in found.absent] == ["background", "road"]
    assert "left out of the mean: building, fence, person" in absent_sentence(found)
    values = to_json(found, {})
    assert list(values["overall"]["iou"]) == ["background", "road"]
    assert found.overall.miou == pytest.approx((0 + found.overall.accuracy) / 2)  # every pixel is predicted as road


def test_eval_prints_a_table_and_writes_json_and_one_html_file(
    mambaseg: Callable[..., Any], streets: Path, checkpoint: Path, tmp_path: Path
) -> None:
    result = mambaseg("eval", checkpoint, streets, "--workers", 0, "--samples", 3, "--out", tmp_path / "eval")
    assert result.returncode == 0, result.stdout
    assert re.search(r"all\s+. 3", result.stdout)
    assert "vegetation" in result.stdout
    scores = json.loads((tmp_path / "eval" / "scores.json").read_text())
    assert f"{100 * scores['overall']['miou']:.2f}" in result.stdout
    page = (tmp_path / "eval" / "report.html").read_text()
    assert not re.findall(r"""(?:src|href)=['"](?!data:)""", page)  # needs no other file
    assert page.count("data:image/png;base64,") == 3 * 5
    for name, color in EVENT_LEGEND:
        assert f"<span class='box' style='background: rgb{color}'></span> {name}" in page
    assert {path.name for path in (tmp_path / "eval").iterdir()} == {"scores.json", "report.html"}


def test_eval_refuses_what_it_cannot_do(
    mambaseg: Callable[..., Any], streets: Path, checkpoint: Path, tmp_path: Path
) -> None:
    for words, message in (
        ((checkpoint, streets, "--keep", "sound"), "--keep is 'sound'; expected one of both, image, second"),
        ((checkpoint, tmp_path / "none"), "which is no folder"),
        ((tmp_path / "no.safetensors", streets), "no.safetensors does not exist"),
    ):
        result = mambaseg("eval", *words)
        assert result.returncode == 1
        assert message in result.stdout
        assert result.stdout.count("\n") == 1


def test_predict_writes_the_segmenters_masks_and_goes_on(
    mambaseg: Callable[..., Any], streets: Path, checkpoint: Path, tmp_path: Path
) -> None:
    words = ("predict", checkpoint, streets / "street_b", tmp_path / "out")
    result = mambaseg(*words)
    assert result.returncode == 0, result.stdout
    recording, numbers = open_recording(streets / "street_b")
    masks = sorted((tmp_path / "out" / "masks").iterdir())
    assert [path.name for path in masks] == [f"{number:06d}.png" for number in numbers]
    segmenter = Segmenter(checkpoint, "cpu", calibration=recording.calibration)
    stamp_ns = int(recording.image_times_ns[3])
    events = recording.window(stamp_ns, SETUP.window, SETUP.bins)
    expected = segmenter.segment(recording.image(3), events).ids
    found = cv2.imread(str(masks[3]), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(found, expected)
    film = cv2.VideoCapture(str(tmp_path / "out" / "overlay.mp4"))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == len(numbers)
    overlay = read_image(tmp_path / "out" / "overlays" / masks[3].name)
    strip = overlay[expected.shape[0] :].reshape(-1, 3)  # below the picture, which it does not cover
    assert all((strip == color).all(axis=1).sum() >= 100 for color in SETUP.label_set.colors)
    masks[2].unlink()
    assert f"1 masks written, {len(numbers) - 1} kept" in mambaseg(*words).stdout
    assert not list((tmp_path / "out").rglob(".*"))


def test_predict_refuses_the_masks_of_another_checkpoint(
    mambaseg: Callable[..., Any], streets: Path, checkpoint: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.safetensors"
    other.write_bytes(checkpoint.read_bytes())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "prediction.json").write_text(json.dumps({"checkpoint": "first.safetensors", "sequence": "s"}))
    result = mambaseg("predict", other, streets / "street_b", tmp_path / "out")
    assert result.returncode == 1
    assert "holds masks whose checkpoint is 'first.safetensors'" in result.stdout


def test_the_core_and_its_command_import_no_lightning() -> None:
    code = "import sys, mambaseg_core, mambaseg_core.cli, mambaseg_core.evaluation.evaluate"
    code += "; print('lightning' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert result.stdout.strip() == "False", result.stderr

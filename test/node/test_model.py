"""From parameters to a model: checkpoints, shipped weights, sizes."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mambaseg_core.checkpoint import create_model, save_checkpoint, weights_file
from mambaseg_core.inference import Segmenter
from mambaseg_core.models.presets import PRESETS, preset_preprocessing
from mambaseg_core.ops import selection
from mambaseg_core.ops.selection import choose
from mambaseg_ros.model import active_line, describe, make_segmenter, memory
from mambaseg_ros.parameters import Parameters

SHARED = Path(os.environ.get("MAMBASEG_SHARED", Path(__file__).parents[2] / ".." / "shared"))
SIZE = (32, 48)


def parameters(**given: Any) -> Parameters:
    return Parameters(device="cpu", **given)


@pytest.fixture
def nano(tmp_path: Path) -> Path:
    torch.manual_seed(2)
    model = create_model("mambaseg_nano", num_classes=6, image_size=SIZE, in_channels=1)
    save_checkpoint(tmp_path / "nano.safetensors", model, preset_preprocessing("mambaseg_ddd17", size=SIZE, channels=1))
    return tmp_path / "nano.safetensors"


def forbidden(sentence: str) -> None:
    raise AssertionError(f"warned: {sentence}")


def first_weight(segmenter: Segmenter) -> torch.Tensor:
    return next(segmenter.model.parameters())


def test_weights_that_ship_go_by_their_name(nano: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "mambaseg_nano", replace(PRESETS["mambaseg_nano"], shipped={"for_a_test": nano}))
    given = parameters(model="mambaseg_nano", weights="for_a_test")
    segmenter = make_segmenter(given, warn=forbidden)
    assert (segmenter.preprocessing.size, segmenter.preprocessing.labels) == (SIZE, "ddd17_6")
    assert torch.equal(first_weight(segmenter), first_weight(Segmenter(nano, "cpu")))
    shown = describe(segmenter, given)
    assert (shown["model"], shown["weights"]) == ("mambaseg_nano", "for_a_test")
    assert shown["weights sha256"] == hashlib.sha256(nano.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match=r"unknown weights 'night' of mambaseg_nano; shipped are: for_a_test"):
        make_segmenter(parameters(model="mambaseg_nano", weights="night"), warn=forbidden)


def test_a_checkpoint_runs_at_another_size_where_its_model_takes_any(nano: Path) -> None:
    segmenter = make_segmenter(parameters(weights=str(nano), image_height=40, image_width=64), warn=forbidden)
    assert segmenter.preprocessing.size == segmenter.model.image_size == (40, 64)
    assert torch.equal(first_weight(segmenter), first_weight(Segmenter(nano, "cpu")))


def test_half_a_size_is_refused(nano: Path) -> None:
    with pytest.raises(ValueError, match="image_height is 40 and image_width is 0; expected both"):
        make_segmenter(parameters(weights=str(nano), image_height=40), warn=forbidden)


def test_random_weights_are_told_and_named() -> None:
    told: list[str] = []
    given = parameters(model="mambaseg_nano", weights="random", image_height=SIZE[0], image_width=SIZE[1])
    segmenter = make_segmenter(given, warn=told.append)
    assert ["mambaseg_nano has random weights: its masks mean nothing" in sentence for sentence in told] == [True]
    shown = describe(segmenter, given)
    assert (shown["weights"], shown["weights sha256"]) == ("random", "")
    assert shown["caveat"] == "random weights: its masks mean nothing"
    for threads, said in (("1", "1 thread"), ("2", "2 threads")):
        assert active_line({**shown, "threads": threads, "load time [s]": "1.5"}) == (
            f"active: model mambaseg_nano, weights random, cpu, float32, {said}, loaded in 1.5 s; masks are 255 in the "
            "lowest 8.3% of the view, as in training"
        )


def test_rows_that_the_model_does_not_see_are_said_and_255_in_the_mask(nano: Path, tmp_path: Path) -> None:
    """A crop of training travels with the weights to a camera of any size."""
    segmenter = Segmenter(nano, "cpu")
    segmenter.preprocessing = replace(segmenter.preprocessing, view_size=(480, 640), crop_bottom=40)
    shown = describe(segmenter, parameters(weights=str(nano)))
    assert shown["not segmented"] == "lowest 8.3% of the view"
    image = np.full((720, 960), 90, np.uint8)
    mask = segmenter.to_camera(segmenter.segment(image, None).ids, image.shape)
    assert (mask[660:] == 255).all()
    assert (mask[:660] != 255).all()
    straight = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    files = [camera_info_file(tmp_path / f"{name}.yaml", (120, 160), straight) for name in ("event", "image")]
    given = parameters(weights=str(nano), calibration=",".join(map(str, files)))
    segmenter.calibration = make_segmenter(given, warn=lambda _: None).calibration
    assert describe(segmenter, given)["not segmented"] == "lowest 10 of 120 rows of the view"
    segmenter.preprocessing = replace(segmenter.preprocessing, crop_bottom=0)
    assert "not segmented" not in describe(segmenter, given)
    assert "255" not in active_line({**describe(segmenter, given), "load time [s]": "1.5"})


def test_by_default_the_weights_that_ship_run_and_say_what_they_are() -> None:
    told: list[str] = []
    given = parameters()
    segmenter = make_segmenter(given, warn=told.append)
    assert ["mambaseg_nano has weights that were trained on synthetic drives only" in said for said in told] == [True]
    shipped = weights_file("mambaseg_nano", "synthetic")
    assert torch.equal(first_weight(segmenter), first_weight(Segmenter(shipped, "cpu")))
    assert describe(segmenter, given)["weights"] == "synthetic"
    assert "synthetic drives only" in describe(segmenter, given)["caveat"]
    line = active_line({**describe(segmenter, given), "load time [s]": "1.5"})
    assert f"weights synthetic (sha256 {hashlib.sha256(shipped.read_bytes()).hexdigest()[:12]}...), cpu" in line


def test_a_model_without_shipped_weights_asks_for_a_file_or_for_random_ones() -> None:
    with pytest.raises(
        ValueError, match=r"no weights ship with model 'mambaseg_dsec'.*path of a checkpoint, or to random"
    ):
        make_segmenter(parameters(model="mambaseg_dsec"), warn=forbidden)
    with pytest.raises(ValueError, match=r"unknown model 'mambaseg_huge'; known models: mambaseg_ddd17"):
        make_segmenter(parameters(model="mambaseg_huge"), warn=forbidden)


@pytest.mark.parametrize("name", ["ddd17", "dsec"])
def test_a_file_of_the_authors_names_the_model_that_it_needs(name: str, tmp_path: Path) -> None:
    keys = SHARED / "golden" / f"{name}_keys.json"
    if not keys.is_file():
        pytest.skip(f"{keys} is missing: set MAMBASEG_SHARED to the folder with the golden answers")
    shapes = json.loads(keys.read_text())
    torch.save({key: torch.zeros(()).expand(shape) for key, shape in shapes.items()}, tmp_path / "best.pth")
    with pytest.raises(ValueError, match=rf"best.pth is the authors' mambaseg_{name}, but .* is 'mambaseg_nano': set"):
        make_segmenter(parameters(weights=str(tmp_path / "best.pth")), warn=forbidden)


def test_a_start_imports_neither_torchs_compiler_nor_the_data_sets() -> None:
    ros = all(importlib.util.find_spec(name) for name in ("rclpy", "mambaseg_ros.msg"))
    module = "node" if ros else "model"
    unwanted = ("torch._dynamo", "mambaseg_core.data", "h5py", "lightning", "rosbags")  # the first alone took half
    code = f"import mambaseg_ros.{module}, sys; print([name for name in {unwanted} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], timeout=300, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
    marked = torch.compiler.assume_constant_result(lambda: "")
    assert vars(marked).items() <= vars(choose).items()


def camera_info_file(path: Path, size: tuple[int, int], r: list[float]) -> Path:
    height, width = size
    values = {
        "camera_matrix": [40.0, 0, width / 2, 0, 40, height / 2, 0, 0, 1], "rectification_matrix": r,
        "projection_matrix": [40.0, 0, width / 2, 0, 0, 40, height / 2, 0, 0, 0, 1, 0],
        "distortion_coefficients": [0.0] * 5,
    }  # fmt: skip
    named = {name: {"data": data} for name, data in values.items()}
    path.write_text(
        json.dumps({"image_height": height, "image_width": width, "distortion_model": "plumb_bob", **named})
    )
    return path


def test_two_camera_infos_are_a_calibration_and_a_pair_that_was_not_calibrated_together_is_said(
    nano: Path, tmp_path: Path
) -> None:
    straight, turned = [1.0, 0, 0, 0, 1, 0, 0, 0, 1], [0.8, 0.6, 0, -0.6, 0.8, 0, 0, 0, 1]
    image = camera_info_file(tmp_path / "image.yaml", (60, 80), straight)
    event = camera_info_file(tmp_path / "event.yaml", (26, 34), straight)
    told: list[str] = []
    given = parameters(weights=str(nano), calibration=f"{event},{image}")
    calibration = make_segmenter(given, warn=told.append).calibration
    assert calibration is not None
    assert (calibration.event_size, calibration.image_size) == ((26, 34), (60, 80))
    assert ["R of both camera_info is the identity" in sentence for sentence in told] == [True]
    camera_info_file(event, (26, 34), turned)
    assert make_segmenter(given, warn=forbidden).calibration is not None
    with pytest.raises(ValueError, match=r"image.yaml is the camera_info of one camera, expected two files"):
        make_segmenter(parameters(weights=str(nano), calibration=str(image)), warn=forbidden)


def test_a_region_of_interest_takes_the_place_of_the_crop(nano: Path, tmp_path: Path) -> None:
    assert make_segmenter(parameters(weights=str(nano)), warn=forbidden).preprocessing.crop_bottom > 0
    setup = make_segmenter(parameters(weights=str(nano), roi="0,10,48,32"), warn=forbidden).preprocessing
    assert (setup.crop_bottom, setup.kept_rows(32)) == (0, 32)
    with pytest.raises(ValueError, match="parameter 'roi' is '0,10,48'; expected x,y,width,height"):
        make_segmenter(parameters(weights=str(nano), roi="0,10,48"), warn=forbidden)
    with pytest.raises(ValueError, match="'roi' is '0,10,48,32' and 'calibration' is 'camera_info'; expected one"):
        make_segmenter(parameters(weights=str(nano), roi="0,10,48,32", calibration="camera_info"), warn=forbidden)


def test_the_back_end_shown_is_the_one_that_runs(nano: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = parameters(model="mambaseg_nano", weights=str(nano))
    segmenter = Segmenter(nano, "cpu")
    assert describe(segmenter, given)["back end"] == choose("cpu", None)
    monkeypatch.setenv("MAMBASEG_BACKEND", "reference")
    shown = describe(segmenter, given)
    assert shown["back end"] == "reference"
    assert "why no better back end" not in shown  # it was asked for
    monkeypatch.delenv("MAMBASEG_BACKEND")
    monkeypatch.setattr(selection, "explain", lambda device: selection.Choice("reference", "triton: no C compiler"))
    assert describe(segmenter, given)["why no better back end"] == "triton: no C compiler"


def test_memory_is_that_of_the_models_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another GPU of the machine, or one that the node does not use, is not asked."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: (device.index + 1) << 20)
    assert memory(torch.device("cuda:1"))["GPU memory [MiB]"] == "2"
    assert set(memory(torch.device("cpu"))) == {"memory [MiB]"}

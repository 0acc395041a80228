"""What a model was trained on travels with its weights, by every road from a checkpoint to a `Segmenter`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from mambaseg_core.checkpoint import create_model, load_checkpoint, load_weights, save_checkpoint
from mambaseg_core.cli import app
from mambaseg_core.events import Window
from mambaseg_core.inference import Segmenter
from mambaseg_core.models.presets import PRESETS, preset_preprocessing
from mambaseg_core.models.released.unit_inputs import with_unit_inputs
from mambaseg_core.precision import lowered
from mambaseg_core.preprocessing import Preprocessing
from mambaseg_ros.model import make_segmenter
from mambaseg_ros.parameters import read_parameters

NAME, SIZE, OTHER_SIZE = "mambaseg_nano", (32, 48), (40, 64)
SETUP = replace(
    preset_preprocessing("mambaseg_ddd17", size=SIZE, channels=1), window=Window(duration_ns=20_000_000), crop_bottom=7
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that shares neither window, crop, labels, classes, channels nor size with its preset."""
    torch.manual_seed(0)
    model = create_model(NAME, num_classes=6, image_size=SIZE, in_channels=1)
    file = tmp_path_factory.mktemp("weights") / "nano.safetensors"
    save_checkpoint(file, model, SETUP)
    return file


def filled(path: Path, image_size: tuple[int, int] = SIZE) -> nn.Module:
    model = create_model(NAME, num_classes=6, image_size=image_size, in_channels=1)
    load_weights(model, path)
    return model


def saved_again(path: Path, tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "again.safetensors", create_model(NAME, weights=path))
    return tmp_path / "again.safetensors"


def halved(path: Path, tmp_path: Path) -> Path:
    words = ["convert", "checkpoint", str(path), str(tmp_path / "half.safetensors"), "--half"]
    assert CliRunner().invoke(app, words, catch_exceptions=False).exit_code == 0
    return tmp_path / "half.safetensors"


def node(*words: str) -> Preprocessing:
    return make_segmenter(read_parameters([f"model={NAME}", "device=cpu", *words]), warn=pytest.fail).preprocessing


Road = Callable[[Path, Path], nn.Module | Path]
ROADS: dict[str, Road] = {
    "a path": lambda path, _: path,
    "create_model": lambda path, _: create_model(NAME, weights=path),
    "create_model with its numbers": lambda path, _: create_model(NAME, 6, SIZE, 1, weights=path),
    "load_checkpoint": lambda path, _: load_checkpoint(path)[0],
    "load_weights": lambda path, _: filled(path),
    "load_weights twice": lambda path, _: filled(saved_again(path, path.parent)),
    "a copy": lambda path, _: copy.deepcopy(create_model(NAME, weights=path)),
    "unit inputs": lambda path, _: with_unit_inputs(create_model(NAME, weights=path)),
    "bfloat16": lambda path, _: lowered(create_model(NAME, weights=path), torch.bfloat16, torch.device("cpu")),
    "another segmenter": lambda path, _: Segmenter(path, "cpu").model,
    "save_checkpoint": saved_again,
    "convert checkpoint --half": halved,
}


@pytest.mark.parametrize("road", ROADS.values(), ids=ROADS)
def test_a_checkpoints_preprocessing_reaches_the_segmenter(road: Road, path: Path, tmp_path: Path) -> None:
    segmenter = Segmenter(road(path, tmp_path), "cpu")
    assert segmenter.preprocessing == SETUP
    assert (segmenter.model.num_classes, segmenter.model.in_channels) == (6, 1)


OTHER_SIZE_ROADS: dict[str, Road] = {
    "create_model": lambda path, _: create_model(NAME, image_size=OTHER_SIZE, weights=path),
    "load_checkpoint": lambda path, _: load_checkpoint(path, image_size=OTHER_SIZE)[0],
    "load_weights": lambda path, _: filled(path, OTHER_SIZE),
}


@pytest.mark.parametrize("road", OTHER_SIZE_ROADS.values(), ids=OTHER_SIZE_ROADS)
def test_only_the_size_changes_with_the_models(road: Road, path: Path, tmp_path: Path) -> None:
    segmenter = Segmenter(road(path, tmp_path), "cpu")
    assert segmenter.preprocessing == replace(SETUP, size=OTHER_SIZE)
    save_checkpoint(tmp_path / "again.safetensors", segmenter.model)
    assert Segmenter(tmp_path / "again.safetensors", "cpu").preprocessing == segmenter.preprocessing


def test_the_node_has_it_by_path_and_by_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, NAME, replace(PRESETS[NAME], shipped={"for_a_test": path}))
    for weights in (str(path), "for_a_test"):
        assert node(f"weights={weights}") == SETUP
        assert node(f"weights={weights}", "image_height=40", "image_width=64") == replace(SETUP, size=OTHER_SIZE)


def test_the_shipped_weights_have_the_window_that_they_were_trained_with() -> None:
    assert Segmenter(create_model(NAME, weights="synthetic"), "cpu").preprocessing.window.duration_ns == 50_000_000


def test_what_is_given_wins(path: Path, tmp_path: Path) -> None:
    given = replace(SETUP, crop_bottom=0)
    for source in (path, create_model(NAME, weights=path)):
        assert Segmenter(source, "cpu", preprocessing=given).preprocessing == given
    save_checkpoint(tmp_path / "again.safetensors", create_model(NAME, weights=path), given)
    assert load_checkpoint(tmp_path / "again.safetensors")[1] == given


def test_fresh_weights_have_the_presets() -> None:
    for name, size in (("mambaseg_nano", SIZE), ("sigma_nano", SIZE), ("mambaseg_ddd17", SIZE)):
        model = create_model(name, image_size=size)
        expected = preset_preprocessing(name, size=size, channels=model.in_channels)
        assert Segmenter(model, "cpu").preprocessing == expected


class Constant(nn.Module):
    def forward(self, image: torch.Tensor, events: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(image), 2, *image.shape[2:])


def test_a_model_of_ones_own_needs_no_preset() -> None:
    assert Segmenter(Constant(), "cpu", preprocessing=SETUP).preprocessing == SETUP
    with pytest.raises(ValueError, match=r"no preprocessing is known for model 'Constant'.*pass preprocessing="):
        Segmenter(Constant(), "cpu")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"num_classes": 11}, "has num_classes 6, but the model has 11"),
        ({"in_channels": 3}, "has in_channels 1, but the model has 3"),
        ({"reliability": True}, "has reliability False, but the model has True"),
    ],
)
def test_other_numbers_than_the_checkpoints_are_refused(path: Path, asked: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=rf"nano\.safetensors {message}"):
        create_model(NAME, weights=path, **asked)


def test_another_network_than_the_checkpoints_is_refused(path: Path) -> None:
    with pytest.raises(ValueError, match="has name 'mambaseg_nano', but the model has 'sigma_nano'"):
        create_model("sigma_nano", weights=path)

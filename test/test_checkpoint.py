from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mambaseg_core.checkpoint import create_model, load_checkpoint, load_weights, save_checkpoint, shipped_weights
from mambaseg_core.models.presets import PRESETS, preset_preprocessing
from mambaseg_core.preprocessing import Preprocessing

SIZE = (16, 24)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(3)
    return create_model("mambaseg_ddd17", image_size=SIZE)


@pytest.fixture(scope="module")
def setup() -> Preprocessing:
    return preset_preprocessing("mambaseg_ddd17", size=SIZE, channels=1)


@pytest.fixture(scope="module")
def path(model: nn.Module, setup: Preprocessing, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_checkpoint(file, model, setup)
    return file


def test_round_trip_gives_the_same_model_and_preprocessing(model: nn.Module, setup: Preprocessing, path: Path) -> None:
    loaded, preprocessing = load_checkpoint(path)
    assert preprocessing == setup
    for (name, tensor), (other, got) in zip(model.state_dict().items(), loaded.state_dict().items(), strict=True):
        assert name == other
        assert torch.equal(tensor, got), name
    assert list(path.parent.iterdir()) == [path]
    ordinary = path.parent / "ordinary"
    ordinary.touch()
    assert path.stat().st_mode == ordinary.stat().st_mode


def test_create_model_takes_a_checkpoint(model: nn.Module, path: Path) -> None:
    loaded = create_model("mambaseg_ddd17", image_size=SIZE, weights=path)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), loaded.parameters(), strict=True))


def test_shipped_weights_go_by_name_and_fit_every_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    trained = create_model("mambaseg_nano", image_size=SIZE).half()
    path = tmp_path / "nano.safetensors"
    save_checkpoint(path, trained, preset_preprocessing("mambaseg_nano", size=SIZE, channels=3))
    monkeypatch.setitem(PRESETS, "mambaseg_nano", replace(PRESETS["mambaseg_nano"], shipped={"synthetic": path}))
    assert shipped_weights("mambaseg_nano") == ["synthetic"]
    assert create_model("mambaseg_nano", weights="synthetic").image_size == SIZE
    loaded = create_model("mambaseg_nano", image_size=(24, 40), weights="synthetic")
    assert loaded.image_size == (24, 40)
    for key, expected in trained.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[key], expected.float(), rtol=0, atol=0)
    with pytest.raises(ValueError, match=r"unknown weights 'night' of mambaseg_nano; shipped are: synthetic"):
        create_model("mambaseg_nano", weights="night")
    with pytest.raises(ValueError, match=r"unknown weights 'night' of mambaseg_ddd17; shipped are: none"):
        create_model("mambaseg_ddd17", image_size=SIZE, weights="night")


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ValueError, match=r"/nowhere/best\.safetensors does not exist"):
        load_checkpoint("/nowhere/best.safetensors")


@pytest.mark.parametrize("name", ["text.safetensors", "text.pth"])
def test_a_file_that_holds_no_tensors_is_refused(name: str, tmp_path: Path, model: nn.Module) -> None:
    file = tmp_path / name
    file.write_text("these are not weights")
    with pytest.raises(ValueError, match=name):
        load_weights(model, file)


def test_code_in_a_pickle_is_never_run(tmp_path: Path, model: nn.Module) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (print, ("this must not be printed",))

    file = tmp_path / "hostile.pth"
    torch.save({"state_dict": Hostile()}, file)
    with pytest.raises(ValueError, match="not a file of tensors"):
        load_weights(model, file)


def test_another_size_or_number_of_classes_is_refused_with_both_values(path: Path) -> None:
    with pytest.raises(ValueError, match=r"image_size \(16, 24\), but the model has \(24, 24\)"):
        create_model("mambaseg_ddd17", image_size=(24, 24), weights=path)
    with pytest.raises(ValueError, match="num_classes 6, but the model has 5"):
        create_model("mambaseg_ddd17", num_classes=5, image_size=SIZE, weights=path)


def test_safetensors_of_somebody_else_are_refused(tmp_path: Path, model: nn.Module) -> None:
    file = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, file)
    with pytest.raises(ValueError, match="'mambaseg' header"):
        load_checkpoint(file)
    with pytest.raises(ValueError, match="does not fit the model"):
        load_weights(model, file)


def test_a_broken_header_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "broken.safetensors"
    save_file({"weight": torch.zeros(2)}, file, metadata={"mambaseg": json.dumps({"model": {"name": "x"}})})
    with pytest.raises(ValueError, match=r"broken\.safetensors has no usable"):
        load_checkpoint(file)

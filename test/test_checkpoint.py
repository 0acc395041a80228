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


@pytest.mark.parametrize("name", ["ours.pth", "ours.ckpt", "ours", "OURS.PT"])
def test_a_checkpoint_of_ours_is_known_by_its_bytes(tmp_path: Path, name: str) -> None:
    copy = tmp_path / name
    copy.write_bytes(PRESETS["mambaseg_nano"].shipped["synthetic"].read_bytes())
    expected = create_model("mambaseg_nano", weights="synthetic")
    for loaded in (load_checkpoint(copy)[0], create_model("mambaseg_nano", weights=copy)):
        assert loaded.preprocessing == expected.preprocessing
        assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), expected.parameters(), strict=True))


@pytest.mark.parametrize("name", ["best.pth.tar", "best.ckpt", "best.bin", "BEST.PTH", "best", "best.safetensors"])
def test_a_file_of_torch_is_known_by_its_bytes(tmp_path: Path, name: str) -> None:
    torch.manual_seed(5)
    trained = create_model("sigma_nano")
    file = tmp_path / name
    torch.save({"model_state_dict": trained.state_dict(), "epoch": 3}, file)
    loaded = create_model("sigma_nano", weights=file)
    assert all(torch.equal(a, b) for a, b in zip(trained.parameters(), loaded.parameters(), strict=True))


def test_weights_without_a_header_are_refused_with_the_models_that_they_fit(tmp_path: Path) -> None:
    file = tmp_path / "best.pth"
    torch.save(create_model("sigma_nano").state_dict(), file)
    with pytest.raises(ValueError, match=r"has no 'mambaseg' header, .*it fits sigma_nano: .* --model sigma_nano"):
        load_checkpoint(file)


def test_weights_by_our_names_keep_their_inputs_whatever_the_container(tmp_path: Path) -> None:
    torch.manual_seed(5)
    trained = create_model("sigma_nano")
    tensors = trained.state_dict()
    torch.save(tensors, tmp_path / "a.pth")
    save_file(tensors, tmp_path / "a.safetensors")
    for name in ("a.pth", "a.safetensors"):
        loaded = create_model("sigma_nano", weights=tmp_path / name)
        assert torch.equal(loaded.encoder.patch.weight, trained.encoder.patch.weight), name


def test_a_second_set_of_weights_is_said(tmp_path: Path) -> None:
    file, said, state = tmp_path / "best.pth", list[str](), create_model("mambaseg_nano").state_dict()
    torch.save({"state_dict": state, "state_dict_ema": state}, file)
    create_model("mambaseg_nano", weights=file, warn=said.append)
    assert said == [f"{file}: the checkpoint holds several sets of weights: state_dict was taken, not state_dict_ema"]


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
    with pytest.raises(ValueError, match=r"does not fit the model 'mambaseg_ddd17'.* 1 tensors unexpected \(weight\)"):
        load_weights(model, file)


def test_a_broken_header_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "broken.safetensors"
    save_file({"weight": torch.zeros(2)}, file, metadata={"mambaseg": json.dumps({"model": {"name": "x"}})})
    with pytest.raises(ValueError, match=r"broken\.safetensors has no usable"):
        load_checkpoint(file)

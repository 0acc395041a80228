"""The authors' Sigma on images: every way to load it returns the same logits for our inputs as for theirs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from mambaseg_core.checkpoint import create_model, load_checkpoint, load_weights, save_checkpoint
from mambaseg_core.cli import app
from mambaseg_core.inference import Segmenter
from mambaseg_core.models import load_released_state_dict
from mambaseg_core.models.presets import preprocessing_of, preset_preprocessing
from mambaseg_core.models.released.unit_inputs import take_unit_inputs, with_unit_inputs

SIZE = (64, 96)
TOLERANCE = (
    3e-3  # in units of the logits' deviation; the drawn decoder magnifies rounding, which costs 1e-3 (test_sigma)
)


@pytest.fixture(scope="module")
def weights(released_weights):
    with np.load(Path(__file__).parents[1] / "golden" / "sigma_tiny.npz") as file:
        return released_weights(json.loads(file["keys"].tobytes()))


@pytest.fixture(scope="module")
def authors(weights):
    """Sigma with weights drawn by the authors' names."""
    model = create_model("sigma_tiny", image_size=SIZE).eval()
    load_released_state_dict(model, weights)
    return model


@pytest.fixture(scope="module")
def images():
    """RGB, brightest in red, and a thermal image, uint8."""
    random = np.random.default_rng(0)
    rgb = random.integers(0, 120, (*SIZE, 3), np.uint8) + np.array([130, 60, 0], np.uint8)
    return rgb, random.integers(0, 256, SIZE, np.uint8)


def as_the_authors_read(image):
    """Return the authors' input for an RGB image: cv2 reads blue first; mean and deviation are in that order."""
    x = image[..., ::-1].astype(np.float64) / 255
    x = (x - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    return torch.from_numpy(x).permute(2, 0, 1)[None].float()


def difference(found, expected):
    return float((found - expected).abs().max() / expected.std())


@pytest.fixture(scope="module")
def expected(authors, images):
    rgb, thermal = images
    with torch.inference_mode():
        return authors(as_the_authors_read(rgb), as_the_authors_read(np.repeat(thermal[..., None], 3, axis=2)))


def unit(images):
    rgb, thermal = images
    second = torch.from_numpy(thermal).float().div(255).repeat(1, 3, 1, 1)
    return torch.from_numpy(rgb).permute(2, 0, 1)[None].float().div(255), second


def test_by_hand():
    """One weight per channel: blue's 1/4, green's 1/2 and red's 1 over the deviations of ImageNet's R, G and B."""
    model = create_model("sigma_nano")
    with torch.no_grad():
        model.encoder.patch.weight.copy_(torch.tensor([0.25, 0.5, 1.0]).reshape(1, 3, 1, 1).expand(32, 3, 4, 4) / 16)
        model.encoder.patch.bias.zero_()
    model.authors_inputs = True
    take_unit_inputs(model)
    colour = torch.tensor([0.9, 0.6, 0.3]).reshape(1, 3, 1, 1).expand(1, 3, 4, 4)  # red, green, blue
    by_hand = 0.25 * (0.3 - 0.485) / 0.229 + 0.5 * (0.6 - 0.456) / 0.224 + 1.0 * (0.9 - 0.406) / 0.225
    assert model.encoder.patch(colour).flatten().tolist() == pytest.approx([by_hand] * 32, abs=1e-5)
    before = model.encoder.patch.weight.clone()
    take_unit_inputs(model)  # a second call changes nothing
    assert torch.equal(model.encoder.patch.weight, before)


def test_a_copy_takes_our_pictures_and_the_model_still_theirs(authors, images, expected):
    ours = with_unit_inputs(authors)
    assert authors.authors_inputs
    assert not ours.authors_inputs
    with torch.inference_mode():
        assert difference(ours(*unit(images)), expected) < TOLERANCE
        assert difference(authors(*unit(images)), expected) > 100 * TOLERANCE
    assert with_unit_inputs(ours) is ours


def agrees(mask, expected):
    """Return whether the confidence is as expected, and the class wherever rounding cannot decide it."""
    confidence, ids = (x[0].numpy() for x in expected.softmax(1).max(1))
    first, second = expected[0].topk(2, dim=0).values
    clear = (first - second > 2 * TOLERANCE * expected.std()).numpy()
    assert clear.mean() > 0.9
    return (mask.ids == ids)[clear].all() and np.abs(mask.confidence - confidence).max() < 0.02


def test_a_segmenter_of_the_model_takes_images(authors, images, expected):
    assert agrees(Segmenter(authors, "cpu").segment(*images), expected)
    assert authors.authors_inputs  # the given model is not changed
    swapped = images[0][..., ::-1].copy(), images[1]
    assert not agrees(Segmenter(authors, "cpu").segment(*swapped), expected)  # the order of the channels counts


def test_a_converted_checkpoint_takes_images(weights, tmp_path, images, expected):
    torch.save({"model": weights, "epoch": 1}, tmp_path / "best.pth")
    words = [str(tmp_path / "best.pth"), str(tmp_path / "ours.safetensors"), "--model", "sigma_tiny"]
    result = CliRunner().invoke(app, ["convert", "checkpoint", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    model, setup = load_checkpoint(tmp_path / "ours.safetensors")
    assert (setup.second, setup.bins) == ("thermal", 3)
    with torch.inference_mode():
        assert difference(model.eval()(*unit(images)), expected) < TOLERANCE
    model = create_model("sigma_tiny", image_size=SIZE, weights=tmp_path / "best.pth").eval()
    with torch.inference_mode():
        assert difference(model(*unit(images)), expected) < TOLERANCE


def test_a_model_that_is_saved_takes_pictures_when_it_is_loaded(authors, tmp_path, images, expected):
    save_checkpoint(tmp_path / "a.safetensors", authors, preset_preprocessing("sigma_tiny", size=SIZE, channels=3))
    with torch.inference_mode():
        model = load_checkpoint(tmp_path / "a.safetensors")[0].eval()
        assert difference(model(*unit(images)), expected) < TOLERANCE
        model = create_model("sigma_tiny", image_size=SIZE).eval()
        load_weights(model, tmp_path / "a.safetensors")
        assert difference(model(*unit(images)), expected) < TOLERANCE


def test_inputs_and_preprocessing_are_those_of_the_last_weights_that_were_loaded(weights, tmp_path):
    torch.save({"model": weights}, tmp_path / "best.pth")
    model = create_model("sigma_tiny", image_size=SIZE, weights=tmp_path / "best.pth")
    presets = preset_preprocessing("sigma_tiny", size=SIZE, channels=3)
    assert preprocessing_of(model) == presets
    save_checkpoint(tmp_path / "ours.safetensors", model, replace(presets, crop_bottom=9))
    load_released_state_dict(model, weights)
    assert model.authors_inputs
    load_weights(model, tmp_path / "ours.safetensors")
    assert (model.authors_inputs, preprocessing_of(model).crop_bottom) == (False, 9)
    load_released_state_dict(model, weights)
    assert (model.authors_inputs, preprocessing_of(model)) == (True, presets)


@pytest.mark.parametrize("name", ["sigma_nano", "rsgmamba_nano", "mambaseg_nano"])
def test_other_networks_stay_unchanged(name):
    model = create_model(name, image_size=SIZE)
    before = {key: x.clone() for key, x in model.state_dict().items()}
    take_unit_inputs(model)
    assert with_unit_inputs(model) is model
    assert all(torch.equal(x, before[key]) for key, x in model.state_dict().items())

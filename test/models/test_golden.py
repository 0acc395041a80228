"""Our networks against the authors': known answers from outside this project."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from mambaseg_core.checkpoint import create_model
from mambaseg_core.models import MambaSeg, load_released_state_dict
from mambaseg_core.models.released.load import released_name

HERE = Path(__file__).parent / "golden"
SHARED = Path(os.environ.get("MAMBASEG_SHARED", Path(__file__).parents[3] / "shared")) / "golden"
# In units of the standard deviation. Measured are 7e-6; GELU by tanh costs 1e-3, LayerNorms with eps 1e-6 4e-5.
TOLERANCE = 3e-5
CASES = {"small": ("mambaseg_ddd17", (64, 96)), "small_rgb": ("mambaseg_dsec", (56, 72))}
FULL = {"small": "mambaseg_ddd17", "small_rgb": "mambaseg_dsec"}


def as_json(packed: np.ndarray) -> dict[str, list[int]]:
    return json.loads(packed.tobytes())


@pytest.fixture(scope="module", params=CASES)
def case(request):
    """The name of a case, its network with the drawn weights, and its kept answers."""
    name, image_size = CASES[request.param]
    with np.load(HERE / f"mambaseg_{request.param}.npz") as file:
        answers = dict(file)
    model = create_model(name, image_size=image_size).eval()
    load_released_state_dict(model, request.getfixturevalue("released_weights")(as_json(answers["keys"])))
    return request.param, model, answers


def outputs(model: MambaSeg, inputs) -> dict[str, np.ndarray]:
    """Return logits and fused features, [1, C, H, W] each."""
    with torch.inference_mode():
        found = {"logits": model(*inputs)}
        fused = model.features(*inputs)
    found |= {f"fused_{i}": x.permute(0, 3, 1, 2) for i, x in enumerate(fused)}
    return {key: x.numpy() for key, x in found.items()}


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference in units of the expected values' standard deviation."""
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / expected.std())


def test_kept_answers(case, released_inputs):
    _, model, answers = case
    found = outputs(model, released_inputs(model))
    assert set(found) == set(answers) - {"keys", "full_keys"}
    for key, x in found.items():
        assert difference(x.ravel()[::5], answers[key]) < TOLERANCE, key


def test_complete_answers_of_the_shared_folder(case, released_inputs):
    path = SHARED / f"{case[0]}.npz"
    if not path.is_file():
        pytest.skip(f"{path} is not here: set MAMBASEG_SHARED to the shared folder")
    _, model, _ = case
    inputs = released_inputs(model)
    with np.load(path) as file:
        answers = dict(file)
    np.testing.assert_array_equal(inputs[0], answers.pop("image"))
    np.testing.assert_array_equal(inputs[1], answers.pop("events"))
    found = outputs(model, inputs)
    assert set(found) == set(answers)
    for key, x in found.items():
        assert difference(x, answers[key]) < TOLERANCE, key


@pytest.mark.parametrize("case_name", CASES)
def test_every_released_tensor_has_a_place_at_the_data_sets_size(case_name, on_meta):
    with np.load(HERE / f"mambaseg_{case_name}.npz") as file:
        released = as_json(file["full_keys"])
    own = {key: tuple(x.shape) for key, x in on_meta(FULL[case_name]).state_dict().items()}
    renamed = {released_name(key): shape for key, shape in released.items()}
    assert len(released) == len(renamed) == 873
    assert renamed.keys() == own.keys()
    for key, shape in renamed.items():
        assert tuple(shape) in (own[key], (*own[key], 1, 1)), key

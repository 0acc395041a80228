"""Loading of the authors' checkpoints: those that fit, and the error for each that does not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mambaseg_core.checkpoint import create_model
from mambaseg_core.models import load_released_state_dict

HERE = Path(__file__).parents[1] / "golden"
SIZE = (64, 96)


@pytest.fixture(scope="module")
def released(released_weights):
    """A checkpoint of the authors for 64 x 96, 1 channel, 6 classes."""
    with np.load(HERE / "mambaseg_small.npz") as file:
        return released_weights(json.loads(file["keys"].tobytes()))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return create_model("mambaseg_ddd17", image_size=SIZE)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tensors: tensors,
        lambda tensors: {"epoch": 3, "state_dict": tensors},
        lambda tensors: {"epoch": 3, "state_dict": {f"module.{key}": x for key, x in tensors.items()}},
        lambda tensors: {key: x[:, :, 0, 0] if x.shape[2:] == (1, 1) else x for key, x in tensors.items()},
        lambda tensors: {
            key: x[..., None, None] if key.endswith(("fc1.weight", "_proj.weight")) else x for key, x in tensors.items()
        },
    ],
    ids=["bare", "file", "distributed", "as matrices", "as convolutions"],
)
def test_every_form_loads(model, released, wrap):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    load_released_state_dict(model, wrap(released))
    own = model.state_dict()
    assert torch.equal(own["head.classify.bias"], released["decoder.linear_pred.bias"])
    assert torch.equal(own["ddims.2.ctim.events.mixer.scan.D"], released["ccbs.2.ssm_e.Ds"])
    last = own["image_encoder.stages.3.blocks.1.ss2d.in_proj.weight"]
    assert torch.equal(last, released["encoder_img.layers.3.blocks.1.op.in_proj.weight"])


def without(tensors, key):
    return {name: x for name, x in tensors.items() if name != key}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda t: without(t, "decoder.linear_pred.bias"), r"1 tensors missing \(head.classify.bias\)"),
        (lambda t: {**t, "extra.weight": torch.zeros(1)}, r"1 tensors unexpected \(extra.weight\)"),
        (
            lambda t: {key: x for key, x in t.items() if key.startswith("encoder_img.")},
            r"tensors missing \(ddims.0.csim.*, \.\.\.\)",
        ),
        (
            lambda t: {**t, "out_convs.0.bias": torch.zeros(7)},
            r"mixes.0.bias: got \[7\], expected \[96\]",
        ),
        (lambda t: {"epoch": 1, "weights": t}, r"keys epoch, weights"),
    ],
    ids=["missing", "unexpected", "half", "shape", "not a state dict"],
)
def test_a_checkpoint_that_does_not_fit_is_named_and_changes_nothing(model, released, change, match):
    before = {key: x.clone() for key, x in model.state_dict().items()}
    with pytest.raises(ValueError, match=match):
        load_released_state_dict(model, change(released))
    assert all(torch.equal(x, before[key]) for key, x in model.state_dict().items())


@pytest.mark.parametrize(
    ("numbers", "match"),
    [
        (
            {"image_size": (56, 72)},
            r"scan.x_proj: got \[2, 56, 384\], expected \[2, 48, 252\].*"
            r"image_size=.*\(61\.\.64, 93\.\.96\).*model has \(56, 72\)",
        ),
        (
            {"num_classes": 11},
            r"head.classify.weight: got \[6, 768, 1, 1\], expected \[11, 768\].*num_classes=6",
        ),
        ({"in_channels": 3}, r"conv1.weight: got \[48, 1, 3, 3\], expected \[48, 3, 3, 3\].*in_channels=1"),
    ],
    ids=["image size", "classes", "channels"],
)
def test_a_model_of_other_sizes_is_refused_by_name(on_meta, released, numbers, match):
    with pytest.raises(ValueError, match=match):
        load_released_state_dict(on_meta("mambaseg_ddd17", **{"image_size": SIZE, **numbers}), released)

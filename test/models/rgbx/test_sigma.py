"""Sigma against the authors' network, its scans against each other, its checkpoints."""

from __future__ import annotations

import copy
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from mambaseg_core.checkpoint import create_model
from mambaseg_core.models import load_released_state_dict
from mambaseg_core.models.rgbx.encoder import PatchMerging
from mambaseg_core.models.rgbx.sigma import CroMB
from mambaseg_core.precision import lowered

HERE = Path(__file__).parents[1] / "golden"
SHARED = Path(os.environ.get("MAMBASEG_SHARED", Path(__file__).parents[4] / "shared")) / "golden"
# In units of the standard deviation. The drawn decoder magnifies the rounding of float32, in which the kept answers
# are. Ours in double precision are the same on every processor: 4.5e-4 from the kept logits, 1.4e-5 from the kept
# features.
TOLERANCES = {"logits": 1e-3} | {f"fused_{i}": 3e-5 for i in range(4)}
# Ours in float32 are 4e-4 to 8e-4 and up to 3.1e-5 from them, by processor; a LayerNorm's eps of 1e-6 costs 4e-3.
ROUNDING = {"logits": 2e-3} | {f"fused_{i}": 1e-4 for i in range(4)}


@pytest.fixture(scope="module")
def kept():
    with np.load(HERE / "sigma_tiny.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def weights(kept, released_weights):
    return released_weights(json.loads(kept["keys"].tobytes()))


@pytest.fixture(scope="module")
def model(weights):
    """Our network with the drawn weights."""
    model = create_model("sigma_tiny", image_size=(64, 96)).eval()
    load_released_state_dict(model, {"model": weights, "epoch": 1})
    return model


def answers(model):
    """Logits and fused features, [1, C, H, W] each, in the precision of the model."""
    random = np.random.RandomState(1234)
    pair = [torch.from_numpy(random.standard_normal((1, 3, 64, 96))).float() for _ in range(2)]
    pair = [x.to(next(model.parameters()).dtype) for x in pair]
    with torch.inference_mode():
        fused = {f"fused_{i}": x.permute(0, 3, 1, 2).numpy() for i, x in enumerate(model.features(*pair))}
        return {"logits": model(*pair).numpy(), **fused}


@pytest.fixture(scope="module")
def found(model):
    """Return our network's logits and features in double precision."""
    return answers(copy.deepcopy(model).double())


def difference(found, expected):
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / expected.std())


def test_kept_answers(found, kept):
    assert set(found) | {"keys"} == set(kept)
    for key, x in found.items():
        assert difference(x.ravel()[::5], kept[key]) < TOLERANCES[key], key


def test_float32_differs_by_its_rounding(model, found):
    for key, x in answers(model).items():
        assert x.dtype == np.float32
        assert difference(x, found[key]) < ROUNDING[key], key


def test_complete_answers_of_the_shared_folder(found):
    path = SHARED / "sigma_tiny.npz"
    if not path.is_file():
        pytest.skip(f"{path} is not here: set MAMBASEG_SHARED to the shared folder")
    with np.load(path) as complete:
        for key, x in found.items():
            assert difference(x, complete[key]) < TOLERANCES[key], key


def test_a_checkpoint_that_does_not_fit_is_named(weights, on_meta):
    model = on_meta("sigma_tiny")
    missing = {key: x for key, x in weights.items() if key != "backbone.cross_mamba.2.op.CMA_ssm.D_1"}
    with pytest.raises(ValueError, match=r"Sigma layout: 1 tensors missing \(fusions.2.cross.image.scan.D\)"):
        load_released_state_dict(model, missing)
    with pytest.raises(ValueError, match=r"1 tensors unexpected \(extra\)"):
        load_released_state_dict(model, {**weights, "extra": torch.zeros(1)})


@pytest.mark.parametrize(
    ("numbers", "match"),
    [
        ({"num_classes": 5}, r"head.classify.weight: got \[9, 96, 1, 1\], expected \[5, 96\].*num_classes=9"),
        ({"in_channels": 1}, r"encoder.patch.weight: got \[96, 3, 4, 4\], expected \[96, 1, 4, 4\].*in_channels=3"),
    ],
)
def test_a_model_of_other_sizes_is_refused_by_name(weights, on_meta, numbers, match):
    with pytest.raises(ValueError, match=match):
        load_released_state_dict(on_meta("sigma_tiny", **numbers), weights)


def test_too_small_an_image_is_refused(on_meta):
    image = torch.empty(1, 3, 3, 64, device="meta")
    with pytest.raises(ValueError, match=r"image has shape \[1, 3, 3, 64\].*at least 4"):
        on_meta("sigma_tiny")(image, image)


def test_patch_merging_by_hand():
    merging = PatchMerging(1)
    merging.norm = torch.nn.Identity()
    merging.reduction = torch.nn.Identity()
    x = torch.tensor([[0.0, 1, 2], [3, 4, 5]]).reshape(1, 2, 3, 1)
    # a square is read down its columns; the third column has no partner
    assert merging(x).tolist() == [[[[0, 3, 1, 4], [2, 5, 0, 0]]]]


def test_each_cross_scan_reads_the_c_of_the_other_input():
    torch.manual_seed(0)
    block = CroMB(16).eval()
    image, second = torch.randn(2, 1, 4, 5, 16)
    with torch.no_grad():
        before = block(image, second)
        block.second.x_proj.weight[-4:] *= 2  # the rows of the second input's C
        after = block(image, second)
    torch.testing.assert_close(after[1], before[1])
    assert not torch.allclose(after[0], before[0])


def test_half_precision_leaves_every_scan_in_float32(on_meta):
    lower = lowered(on_meta("sigma_tiny"), torch.bfloat16, torch.device("cpu"))
    dtypes = {name: p.dtype for name, p in lower.named_parameters()}
    assert dtypes["fusions.0.cross.image.scan.A_log"] == dtypes["fusions.0.concat.scan.A_log"] == torch.float32
    assert dtypes["fusions.0.cross.image.x_proj.weight"] == torch.bfloat16


def test_half_precision_on_cuda_stores_the_factors_of_the_first_product(on_meta):
    """There they would be cast in every frame; nothing else of a scan is."""
    kept = {}
    for device in ("cpu", "cuda"):
        lower = lowered(on_meta("mambaseg_nano"), torch.float16, torch.device(device))
        kept[device] = {name for name, p in lower.named_parameters() if p.dtype == torch.float32}
    assert kept["cpu"] - kept["cuda"] == {name for name in kept["cpu"] if name.endswith(".x_proj")}
    assert kept["cuda"]


def test_half_precision_is_nearly_the_same():
    """The bound is that of `test_inference`: 15 blocks of 13 roundings, then fusions and decoder, about 250 in all."""
    torch.manual_seed(0)
    model = create_model("sigma_tiny", image_size=(32, 32)).eval()
    pair = torch.randn(2, 1, 3, 32, 32)
    with torch.inference_mode():
        expected = model(*pair)
        found = lowered(model, torch.bfloat16, torch.device("cpu"))(*pair.bfloat16())
    assert found.dtype == torch.bfloat16
    error = found.float() - expected
    moved = math.sqrt(250 / 3) * 2**-8 * expected.std()  # measured: a third of it
    assert error.square().mean().sqrt() < moved
    assert error.abs().max() < 8 * moved

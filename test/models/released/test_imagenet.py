"""Encoders that start from VMamba's ImageNet classifiers: tensors that fit, tensors that stay, errors."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mambaseg_core.checkpoint import create_model
from mambaseg_core.models import load_vmamba_imagenet
from mambaseg_core.models.mambaseg.encoder import VMambaEncoder
from mambaseg_core.models.rgbx.encoder import SiameseEncoder
from mambaseg_core.training.config import parse_config
from mambaseg_core.training.data import make_preprocessing
from mambaseg_core.training.run import build_model

HERE = Path(__file__).parents[1] / "golden"


def drawn(released_weights, name):
    with np.load(HERE / name) as file:
        return released_weights(json.loads(file["keys"].tobytes()))


@pytest.fixture(scope="module")
def released(released_weights):
    """A checkpoint of MambaSeg's authors."""
    return drawn(released_weights, "mambaseg_small.npz")


@pytest.fixture(scope="module")
def imagenet(released):
    """A VMamba classifier's checkpoint: an encoder without output norms, 3 channels, a classifier."""
    prefix = "encoder_ev."
    tensors = {key.removeprefix(prefix): x for key, x in released.items() if key.startswith(prefix)}
    tensors = {key: x for key, x in tensors.items() if not key.startswith("outnorm")}
    tensors["patch_embed.0.weight"] = torch.ones(48, 3, 3, 3)
    return {"model": {**tensors, "classifier.head.weight": torch.zeros(1000, 768)}}


NORMS = {f"stages.{i}.out_norm.{kind}" for i in range(4) for kind in ("weight", "bias")}
STEM = {"stem.conv1.weight", "stem.conv1.bias"}


def test_imagenet_weights_go_into_every_encoder(imagenet):
    torch.manual_seed(0)
    model = create_model("mambaseg_dsec", image_size=(32, 32))
    stem = model.event_encoder.stem.conv1.weight.detach().clone()
    left = load_vmamba_imagenet(model, imagenet)
    assert {name: set(keys) for name, keys in left.items()} == {
        "image_encoder": NORMS,
        "event_encoder": NORMS | STEM,
    }
    assert (model.image_encoder.stem.conv1.weight == 1).all()
    assert torch.equal(model.event_encoder.stem.conv1.weight, stem)
    for encoder in (model.image_encoder, model.event_encoder):
        loaded = encoder.state_dict()["stages.2.blocks.7.mlp.fc2.weight"]
        assert torch.equal(loaded, imagenet["model"]["layers.2.blocks.7.mlp.fc2.weight"])


def test_imagenet_weights_go_into_one_encoder(imagenet):
    encoder = VMambaEncoder(1, widths=(96, 192, 384, 768), depths=(2, 2, 8, 2), drop_path=0.0)
    assert set(load_vmamba_imagenet(encoder, imagenet["model"])[""]) == NORMS | STEM


def test_imagenet_refusals(imagenet):
    with torch.device("meta"):
        small = VMambaEncoder(3, widths=(96, 192, 384, 768), depths=(2, 2, 5, 2), drop_path=0.0)
        narrow = VMambaEncoder(3, widths=(64, 128, 256, 512), depths=(2, 2, 8, 2), drop_path=0.0)
    with pytest.raises(ValueError, match=r"unexpected \(stages.2.blocks.5.*VMamba|VMamba.*stages.2.blocks.5"):
        load_vmamba_imagenet(small, imagenet)
    with pytest.raises(ValueError, match=r"got \[48, 3, 3, 3\], expected \[32, 3, 3, 3\].*VMamba-T"):
        load_vmamba_imagenet(narrow, imagenet)
    with pytest.raises(ValueError, match="Linear has no encoder of VMamba"):
        load_vmamba_imagenet(nn.Linear(1, 1), imagenet)


OLD = {"patch_embed.0.": "patch_embed.proj.", "patch_embed.2.": "patch_embed.norm.", ".op.": ".self_attention."}


@pytest.fixture(scope="module", params=["names of then", "names of now"])
def first_version(released_weights, request):
    """A classifier of VMamba's first version, from which Sigma starts: no output norms, a norm and a head."""
    prefix = "backbone.vssm."
    released = drawn(released_weights, "sigma_tiny.npz")
    tensors = {key.removeprefix(prefix): x for key, x in released.items() if key.startswith(prefix)}
    tensors = {key: x for key, x in tensors.items() if not key.startswith("outnorm")}
    ends = "norm.", "head."
    if request.param == "names of then":
        for now, then in OLD.items():
            tensors = {key.replace(now, then): x for key, x in tensors.items()}
        blocks = r"blocks\.\d+\.norm"
        tensors = {re.sub(blocks, lambda m: m[0][:-4] + "ln_1", key): x for key, x in tensors.items()}
        assert "layers.2.blocks.8.ln_1.weight" in tensors
        assert "layers.2.blocks.8.self_attention.x_proj_weight" in tensors
    else:
        ends = "classifier.norm.", "classifier.head."
    return {"model": {**tensors, f"{ends[0]}weight": torch.zeros(768), f"{ends[1]}weight": torch.zeros(1000, 768)}}


def test_sigmas_encoder_takes_the_first_version(first_version, released_weights):
    released = drawn(released_weights, "sigma_tiny.npz")
    torch.manual_seed(0)
    for name in ("sigma_tiny", "rsgmamba"):
        model = create_model(name, image_size=(32, 32))
        fusion = {key: x.clone() for key, x in model.fusions.state_dict().items()}
        assert {part: set(keys) for part, keys in load_vmamba_imagenet(model, first_version).items()} == {
            "encoder": NORMS
        }
        own = model.encoder.state_dict()
        assert torch.equal(own["patch.weight"], released["backbone.vssm.patch_embed.0.weight"])
        assert torch.equal(own["patch_norm.bias"], released["backbone.vssm.patch_embed.2.bias"])
        theirs = "backbone.vssm.layers.2.blocks.8."
        assert torch.equal(own["stages.2.blocks.8.norm.weight"], released[f"{theirs}norm.weight"])
        assert torch.equal(own["stages.2.blocks.8.ss2d.norm.weight"], released[f"{theirs}op.out_norm.weight"])
        assert torch.equal(own["stages.2.blocks.8.ss2d.scan.A_log"], released[f"{theirs}op.A_logs"])
        down = "backbone.vssm.layers.1.downsample.reduction.weight"
        assert torch.equal(own["stages.1.downsample.reduction.weight"], released[down])
        assert all(torch.equal(x, fusion[key]) for key, x in model.fusions.state_dict().items())


def test_sigmas_refusals(first_version, imagenet):
    with torch.device("meta"):
        deep = SiameseEncoder(3, widths=(96, 192, 384, 768), depths=(2, 2, 27, 2), drop_path=0.0)
        wide = SiameseEncoder(3, widths=(128, 256, 512, 1024), depths=(2, 2, 9, 2), drop_path=0.0)
    with pytest.raises(ValueError, match=r"missing \(stages.2.blocks.10.norm.*not of|not of.*first version.*missing"):
        load_vmamba_imagenet(deep, first_version)
    with pytest.raises(ValueError, match=r"patch.weight: got \[96, 3.*\], expected \[128, 3.*first version"):
        load_vmamba_imagenet(wide, first_version)
    with pytest.raises(ValueError, match=r"not of this encoder, VMamba of the first version.*unexpected"):
        load_vmamba_imagenet(deep, imagenet)  # the later version, for MambaSeg's encoders


def test_a_recipe_starts_sigma_from_it(first_version, tmp_path):
    torch.save(first_version, tmp_path / "vssmtiny.pth")
    values = {
        "model": {"name": "sigma_tiny", "imagenet": str(tmp_path / "vssmtiny.pth")},
        "data": {"layout": "rgbx", "second": "thermal", "size": [32, 32]},
        "optimizer": {"lr": 6.0e-5},
        "loop": {"steps": 1},
    }
    config = parse_config(values, {})
    model = build_model(config, make_preprocessing(config.data))
    (patch,) = (x for key, x in first_version["model"].items() if key.startswith("patch_embed.") and x.dim() == 4)
    assert torch.equal(model.encoder.patch.weight, patch)

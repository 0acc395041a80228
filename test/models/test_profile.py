"""The cost of the released networks, against the counts of the authors' code."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mambaseg_core.checkpoint import create_model
from mambaseg_core.profile import Profile, profile_model


@pytest.mark.parametrize(
    ("name", "parameters", "products", "scans"),
    [("mambaseg_ddd17", 97.55e6, 32.42e9, 1.05e9), ("mambaseg_dsec", 256.18e6, 154.02e9, 4.17e9)],
)
def test_released_networks(name, parameters, products, scans, on_meta):
    cost = profile_model(on_meta(name))
    assert cost.parameters == pytest.approx(parameters, abs=0.005e6)
    assert cost.product_macs == pytest.approx(products, abs=0.005e9)
    assert cost.scan_macs == pytest.approx(scans, abs=0.005e9)
    assert cost.macs == cost.product_macs + cost.scan_macs


@pytest.mark.parametrize(
    ("name", "parameters", "paper"), [("sigma_tiny", 48.3e6, 89.5e9), ("sigma_small", 69.8e6, 138.9e9)]
)
def test_sigma_against_its_paper(name, parameters, paper, on_meta):
    """The paper's count includes norms and resizes, as fvcore weighs them (about 1 G), and no scan."""
    cost = profile_model(on_meta(name))
    assert cost.parameters == pytest.approx(parameters, abs=0.05e6)
    assert 0.98 * paper < cost.product_macs < paper
    assert 0.10 * paper < cost.scan_macs < 0.13 * paper


@pytest.mark.parametrize(
    ("name", "parameters", "macs", "size"),
    [("mambaseg_compact", 25.44e6, 15.59e9, (200, 346)), ("mambaseg_nano", 4e6, 1.5e9, (240, 320))],
)
def test_our_networks_keep_to_their_budget(name, parameters, macs, size, on_meta):
    cost = profile_model(on_meta(name), size)
    assert 0.9 * parameters < cost.parameters <= parameters
    assert 0.7 * macs < cost.macs <= macs


def test_the_count_agrees_with_a_real_run():
    model = create_model("mambaseg_nano").eval()
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        model(torch.rand(1, 3, 40, 56), torch.randn(1, 10, 40, 56))
    assert profile_model(model, (40, 56)).product_macs == counter.get_total_flops() // 2


def test_the_model_is_left_alone_and_may_be_anywhere():
    model = create_model("mambaseg_ddd17", image_size=(32, 32)).half().train()
    before = {key: x.clone() for key, x in model.state_dict().items()}
    cost = profile_model(model, (32, 32))
    with torch.device("meta"):
        assert profile_model(create_model("mambaseg_ddd17", image_size=(32, 32))) == cost
    assert isinstance(cost, Profile)
    assert model.training
    assert all(p.requires_grad and p.dtype == torch.float16 for p in model.parameters())
    assert all(torch.equal(x, before[key]) for key, x in model.state_dict().items())


def test_another_image_size_is_refused(on_meta):
    with pytest.raises(ValueError, match=r"\[1, 1, 100, 100\].*200, 346"):
        profile_model(on_meta("mambaseg_ddd17"), (100, 100))

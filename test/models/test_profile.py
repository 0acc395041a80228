"""The cost of the released networks: the numbers that were counted on the authors' code."""

from __future__ import annotations

import pytest
import torch

from mambaseg_core.models import create_model
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

"""The networks that weigh their inputs: the weights, and their effect."""

from __future__ import annotations

import pytest
import torch

from mambaseg_core.checkpoint import create_model, load_checkpoint, load_weights, save_checkpoint
from mambaseg_core.models.presets import preset_preprocessing
from mambaseg_core.models.reliability import Judge, presence

SMALL = (40, 56)
OPTIONAL = ["mambaseg_compact", "mambaseg_nano"]


def pair_of(model, batch=2):
    return torch.rand(batch, model.in_channels, *SMALL), torch.randn(batch, model.bins, *SMALL)


@pytest.fixture(scope="module", params=["rsgmamba", "mambaseg_nano"])
def model(request):
    torch.manual_seed(0)
    return create_model(request.param, image_size=SMALL, reliability=True).eval()


def test_a_map_per_input_between_0_and_1(model):
    image, second = pair_of(model)
    with torch.inference_mode():
        maps = model.reliability(image, second)
    assert [tuple(x.shape) for x in maps] == [(2, *SMALL)] * 2
    for x in maps:
        assert ((x > 0) & (x < 1)).all()
        assert x.std() > 0  # it differs between pixels


def test_one_pass_returns_both(model):
    pair = pair_of(model)
    with torch.inference_mode():
        logits, maps = model.with_reliability(*pair)
        assert torch.equal(logits, model(*pair))
        assert all(map(torch.equal, maps, model.reliability(*pair)))


def test_a_missing_input_has_none_and_the_other_some(model):
    image, second = pair_of(model)
    with torch.inference_mode():
        without_second = model.reliability(image, None)
        without_image = model.reliability(None, second)
    assert not without_second[1].any()
    assert not without_image[0].any()
    assert (without_second[0] > 0).all()
    assert (without_image[1] > 0).all()


def test_a_covered_sensor_is_as_good_as_missing(model):
    """Only the covered sample loses it, and the sensor's constant leaves no trace in the logits."""
    image, second = pair_of(model)
    image[1], second[0] = 0.7, -3.0
    with torch.inference_mode():
        of_image, of_second = model.reliability(image, second)
        logits = model(image, second)
        torch.testing.assert_close(logits[:1], model(image[:1], None), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(logits[1:], model(None, second[1:]), rtol=1e-4, atol=1e-5)
    assert of_image[0].all()
    assert of_second[1].all()
    assert not of_image[1].any()
    assert not of_second[0].any()


def test_the_result_depends_on_the_weights(model, monkeypatch):
    pair = pair_of(model, batch=1)
    with torch.inference_mode():
        before = model(*pair)
        judge = Judge.forward
        monkeypatch.setattr(Judge, "forward", lambda self, own, other: 0.5 * judge(self, own, other))
        assert not torch.allclose(model(*pair), before)
        monkeypatch.setattr(Judge, "forward", lambda self, own, other: torch.zeros_like(own[..., :1]))
        nothing = model(*pair)
        torch.testing.assert_close(nothing, model(*(x.flip(2) for x in pair)))  # nothing is seen


def test_every_parameter_gets_a_gradient(model):
    model.zero_grad(set_to_none=True)
    model(*pair_of(model, batch=1)).square().mean().backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    model.zero_grad(set_to_none=True)
    assert not without


def test_it_can_be_learned_which_pixels_not_to_trust():
    """A few steps on the weights alone: noise on the left half of one input is separated from a smooth right half."""
    torch.manual_seed(0)
    judge = Judge(8, width=8)
    optimizer = torch.optim.Adam(judge.parameters(), lr=0.01)
    target = torch.ones(1, 8, 16, 1)
    target[:, :, :8] = 0
    for _ in range(60):
        smooth = torch.randn(1, 1, 1, 8).expand(1, 8, 16, 8)
        own = smooth + torch.randn(1, 8, 16, 8) * (1 - target)
        loss = (judge(judge.embed(own), judge.embed(smooth)) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1  # 0.39 where all is trusted as at the start


def test_presence_by_hand():
    x = torch.zeros(3, 2, 2, 2)
    x[1] = torch.tensor([0.5, -0.5]).reshape(2, 1, 1)  # another constant in each channel
    x[2, 1, 0, 0] = 2e-5
    x[1, :, 0, 0] += 1e-6  # as a resize leaves it
    assert presence(x).tolist() == [[[[0.0]]], [[[0.0]]], [[[1.0]]]]
    assert presence(x).shape == (3, 1, 1, 1)


@pytest.mark.parametrize("name", OPTIONAL)
def test_off_nothing_changes(name):
    torch.manual_seed(0)
    off = create_model(name, image_size=SMALL).eval()
    on = create_model(name, image_size=SMALL, reliability=True).eval()
    assert not off.reliability_aware
    added = on.state_dict().keys() - off.state_dict().keys()
    assert off.state_dict().keys() < on.state_dict().keys()
    assert {key.split(".")[0] for key in added} == {"reliabilities"}
    on.load_state_dict(off.state_dict(), strict=False)
    pair = pair_of(off, batch=1)
    with torch.inference_mode(), pytest.MonkeyPatch.context() as patch:
        assert not torch.allclose(on(*pair), off(*pair))
        patch.setattr(Judge, "forward", lambda self, own, other: torch.ones_like(own[..., :1]))
        assert torch.equal(on(*pair), off(*pair))  # the weights are all that was added


def test_off_there_is_no_reliability_to_ask_for(on_meta):
    model = on_meta("mambaseg_nano")
    for ask in (model.reliability, model.with_reliability):
        with pytest.raises(ValueError, match=r"mambaseg_nano has no reliability.*'mambaseg_nano', reliability=True"):
            ask(None, None)


@pytest.mark.parametrize("name", ["mambaseg_ddd17", "mambaseg_dsec", "sigma_tiny"])
def test_other_networks_have_none(name, on_meta):
    with pytest.raises(ValueError, match=f"'{name}', which has none.*mambaseg_compact, mambaseg_nano, rsgmamba"):
        on_meta(name, reliability=True)


def test_two_missing_inputs_are_refused(model):
    for ask in (model.reliability, model.with_reliability):
        with pytest.raises(ValueError, match=f"image and second are both None; {model.name}"):
            ask(None, None)


def test_checkpoints_record_whether_it_is_on(tmp_path):
    torch.manual_seed(0)
    setup = preset_preprocessing("mambaseg_nano", size=SMALL, channels=3)
    models = {on: create_model("mambaseg_nano", image_size=SMALL, reliability=on) for on in (False, True)}
    paths = {on: tmp_path / f"{on}.safetensors" for on in models}
    for on, made in models.items():
        save_checkpoint(paths[on], made, setup)
        loaded, _ = load_checkpoint(paths[on])
        assert loaded.reliability_aware == on
        assert all(map(torch.equal, loaded.state_dict().values(), made.state_dict().values()))
    with pytest.raises(ValueError, match="has reliability False, but the model has True"):
        load_weights(models[True], paths[False])
    with pytest.raises(ValueError, match="has reliability True, but the model has False"):
        load_weights(models[False], paths[True])

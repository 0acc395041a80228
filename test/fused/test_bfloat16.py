"""Inference forms whose products round their factors to bfloat16, and the Segmenter that runs them on the CPU."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mambaseg_core import create_model, extension
from mambaseg_core.fused.form import InferenceForm
from mambaseg_core.fused.networks import FusedMambaSeg
from mambaseg_core.inference import Segmenter
from mambaseg_core.models.presets import PRESETS, Network, build
from mambaseg_core.precision import rounds_factors

SIZE = (24, 32)
CASES = [pytest.param(name, marks=[] if "nano" in name else pytest.mark.slow) for name in PRESETS]
needs_extension = pytest.mark.skipif(bool(extension.MISSING), reason="without the extension the plain model runs")


def trained(name: str, size: tuple[int, int] = SIZE) -> Network:
    """Return a network whose biases, norms and statistics are not those of its start."""
    torch.manual_seed(0)
    model = build(name, image_size=size)
    with torch.no_grad():
        for tensor in itertools.chain(model.parameters(), model.buffers()):
            if tensor.ndim == 1 and tensor.is_floating_point():
                tensor.add_(0.2 * torch.rand_like(tensor))
    return model.eval()


def inputs(model: Network, size: tuple[int, int], batch: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return (
        torch.rand(batch, model.in_channels, *size, generator=generator),
        torch.randn(batch, model.bins, *size, generator=generator),
    )


@pytest.fixture(scope="module")
def nano() -> Network:
    return trained("mambaseg_nano")


@pytest.mark.parametrize("name", CASES)
@torch.inference_mode()
def test_every_preset_is_near_its_plain_form(name: str) -> None:
    model = trained(name)
    network = InferenceForm(model, bfloat16=True).network()
    for size, batch in ((SIZE, 2), *([((27, 37), 1), ((5, 6), 1)] if model.any_size else [])):
        image, second = inputs(model, size, batch)
        for pair in ((image, second), (image, None), (None, second)):
            found, expected = network(*pair), model(*pair)
            error = (found - expected).square().mean().sqrt() / expected.std()
            assert 0 < error < 0.03  # as for weights and features in bfloat16 (test_inference.py)


def test_all_products_but_the_last_and_nothing_else_are_packed_in_bfloat16(nano: Network) -> None:
    network = InferenceForm(nano, bfloat16=True).network()
    packed = {name for name, buffer in network.named_buffers() if buffer.dtype == torch.bfloat16}
    every = {name for name, _ in network.named_buffers() if name.rpartition(".")[2].startswith("packed")}
    assert every - packed == {"head.classify.packed"}
    assert len(packed) > 100
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}
    plain = InferenceForm(nano).network()
    assert {buffer.dtype for buffer in plain.buffers()} == {torch.float32}


@torch.inference_mode()
def test_new_values_of_weights_are_used(nano: Network) -> None:
    model = copy.deepcopy(nano)
    form, pair = InferenceForm(model, bfloat16=True), inputs(model, SIZE)
    network = form.network()
    before = network(*pair)
    for part in ("image_encoder.stem.conv1", "ddims.0.merge_image", "event_encoder.stages.1.blocks.0.mlp.fc2"):
        model.get_parameter(f"{part}.weight").data.mul_(-1.5)
        assert form.network() is network
        found, wanted = network(*pair), InferenceForm(model, bfloat16=True).network()(*pair)
        assert torch.equal(found, wanted)
        assert not torch.equal(found, before)
        before = found


@pytest.fixture
def own_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@needs_extension
@pytest.mark.usefixtures("own_threads")
@torch.inference_mode()
def test_the_same_bits_for_any_number_of_threads() -> None:
    model = create_model("mambaseg_nano", image_size=(101, 75), weights="synthetic").eval()
    network, found = InferenceForm(model, bfloat16=True).network(), []
    for threads in (1, 2, 3, 5):
        torch.set_num_threads(threads)
        found.append(network(*inputs(model, (101, 75))))
    assert all(torch.equal(found[0], other) for other in found[1:])


def test_it_is_exported(nano: Network) -> None:
    stage: Any = nano.image_encoder.stages[3]  # type: ignore[union-attr,index]
    network, x = InferenceForm(stage, bfloat16=True).network(), torch.rand(1, 3, 4, 192)
    with torch.no_grad():
        program = torch.export.export(network, (x,), strict=False)
        assert torch.equal(program.module()(x), network(x))


# -- Segmenter -------------------------------------------------------------------------------------------------------


def segmenter_of(model: nn.Module, **settings: Any) -> Segmenter:
    setup = replace(PRESETS["mambaseg_nano"].preprocessing, size=SIZE, view_size=SIZE, crop_bottom=0)
    given: dict[str, Any] = {"precision": "bfloat16", "preprocessing": setup, "warn": lambda _: None} | settings
    return Segmenter(model, "cpu", **given)


@needs_extension
def test_a_segmenter_rounds_the_factors_of_its_form(nano: Network) -> None:
    segmenter, plain = segmenter_of(nano), segmenter_of(nano, precision="float32")
    assert isinstance(segmenter._network(), FusedMambaSeg)
    assert segmenter.dtype == torch.float32
    assert segmenter.model is nano
    assert any(buffer.dtype == torch.bfloat16 for buffer in segmenter._network().buffers())
    frame = segmenter._noise(np.random.default_rng(0))
    untraced = segmenter.segment(*frame)
    segmenter.warm_up()
    for mask in (segmenter.segment(*frame), segmenter.for_camera(None).segment(*frame)):
        assert np.array_equal(mask.ids, untraced.ids)
        assert np.array_equal(mask.confidence, untraced.confidence)
    assert segmenter._traced is not None
    confidence = plain.segment(*frame).confidence
    assert 0 < np.abs(untraced.confidence - confidence).mean() < 0.01


class Own(nn.Module):
    """A model of a user's own."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor | None, second: Tensor | None) -> Tensor:
        logits: Tensor = self.model(image, second)
        return logits


def test_other_models_have_weights_and_features_in_bfloat16(nano: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    halved = copy.deepcopy(nano).bfloat16()
    for model in (Own(nano), halved):
        segmenter = segmenter_of(model)
        assert segmenter.dtype == torch.bfloat16
        assert segmenter._network() is segmenter.model
        assert next(segmenter.model.parameters()).dtype == torch.bfloat16
        segmenter.segment(*segmenter._noise(np.random.default_rng(0)))
    monkeypatch.setenv("MAMBASEG_BACKEND", "reference")
    assert segmenter_of(nano).dtype == torch.bfloat16


def test_an_arm_with_units_for_bfloat16_is_left_to_torch() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert rounds_factors("bfloat16", cpu, cpu_flags={"avx2"})
    assert rounds_factors("bfloat16", cpu, cpu_flags={"avx512_bf16", "amx_bf16"})
    assert not rounds_factors("bfloat16", cpu, cpu_flags={"asimd", "bf16"})
    assert not rounds_factors("float32", cpu, cpu_flags={"avx2"})
    assert not rounds_factors("bfloat16", gpu, cpu_flags={"avx2"})

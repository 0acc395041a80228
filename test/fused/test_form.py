"""The inference form of a network is the network: the same logits, masks and refusals, in fused operators."""

from __future__ import annotations

import copy
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils._python_dispatch import TorchDispatchMode

from mambaseg_core import extension, profile_model
from mambaseg_core.fused.form import InferenceForm
from mambaseg_core.fused.networks import FusedMambaSeg
from mambaseg_core.fused.packed import PackedWeights
from mambaseg_core.inference import Segmenter
from mambaseg_core.models.mambaseg.encoder import VSSBlock
from mambaseg_core.models.mambaseg.segformer_head import SegFormerHead
from mambaseg_core.models.presets import PRESETS, Network, build
from mambaseg_core.ops.checksums import PHASES

SIZE = (24, 32)
CASES = [
    pytest.param(name, reliability, marks=[] if "nano" in name else pytest.mark.slow)
    for name, preset in PRESETS.items()
    for reliability in ((False, True) if preset.reliability == "optional" else (False,))
]
PLAIN_LEFT = {
    "sigma": {
        "Conv2d",
        "Linear",
        "LayerNorm",
        "CroMB",
        "ConMB",
        "CrossStream",
        "DirectionalScan",
        "SequenceScan",
        "Squeeze",
    },
    "rsgmamba": {"Conv2d"},
    "mambaseg_ddd17": {"ChannelGate", "Linear"},
    "mambaseg_dsec": {"ChannelGate", "Linear"},
}
AROUND = {
    "ModuleList", "Sequential", "Identity", "VMambaEncoder", "Stage", "SiameseEncoder", "GatedStage", "Level",
    "SigmaFusion", "ReliableFusion",
}  # fmt: skip


class Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operators that run."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[str(func)] += 1
        return func(*args, **(kwargs or {}))


def trained(name: str, *, reliability: bool = False, size: tuple[int, int] = SIZE) -> Network:
    """Return a network whose biases, norms and statistics are not those of its start."""
    torch.manual_seed(0)
    model = build(name, image_size=size, reliability=reliability)
    with torch.no_grad():
        for tensor in itertools.chain(model.parameters(), model.buffers()):
            if tensor.ndim == 1 and tensor.is_floating_point():
                tensor.add_(0.2 * torch.rand_like(tensor))
    return model.eval()


def inputs(model: Network, size: tuple[int, int], batch: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return (
        torch.rand(batch, model.in_channels, *size, generator=generator),
        torch.randn(batch, model.bins, *size, generator=generator),
    )


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.std()))


@torch.inference_mode()
def assert_same(model: nn.Module, network: nn.Module, pair: tuple[Tensor | None, Tensor | None]) -> None:
    found, expected = network(*pair), model(*pair)
    assert_close(found, expected)
    assert (found.argmax(1) == expected.argmax(1)).float().mean() >= 0.99999
    if getattr(model, "reliability_aware", False):
        logits, maps = network.with_reliability(*pair)  # type: ignore[operator]
        assert torch.equal(logits, found)
        for one, other in zip(maps, model.with_reliability(*pair)[1], strict=True):  # type: ignore[operator]
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def nano() -> Network:
    return trained("mambaseg_nano")


@pytest.mark.parametrize(("name", "reliability"), CASES)
def test_plain_and_fused_agree(name: str, reliability: bool) -> None:
    model = trained(name, reliability=reliability)
    network = InferenceForm(model).network()
    assert network is not model
    for size, batch in ((SIZE, 2), *([((27, 37), 1), ((5, 6), 1)] if model.any_size else [])):
        image, second = inputs(model, size, batch)
        for pair in ((image, second), (image, None), (None, second)):
            assert_same(model, network, pair)


@pytest.mark.parametrize(("name", "reliability"), CASES)
def test_every_known_part_is_fused(name: str, reliability: bool) -> None:
    with torch.no_grad():
        model = trained(name, reliability=reliability)
        network = InferenceForm(model).network()
    left = {type(part).__name__ for part in network.modules() if not type(part).__name__.startswith("Fused")}
    family = name if name in PLAIN_LEFT else name.partition("_")[0]
    assert left - AROUND == PLAIN_LEFT.get(family, set())


@pytest.mark.skipif(bool(extension.MISSING), reason="the plain forms of the operators are many operators")
def test_a_frame_is_few_operators(nano: Network) -> None:
    with torch.inference_mode(), Operators() as plain:
        nano(*inputs(nano, SIZE, 1))
    network = InferenceForm(nano).network()
    assert isinstance(network, FusedMambaSeg)
    with torch.inference_mode(), Operators() as fused:
        network.coarse(*inputs(nano, SIZE, 1))
    assert not {"aten.native_layer_norm.default", "aten.addmm.default", "aten.gelu.default"} & set(fused.counts)
    assert not any("conv" in name and "mambaseg" not in name for name in fused.counts), fused.counts
    assert fused.counts["mambaseg.fused_mlp.default"] == 20
    assert fused.counts.total() < 400 < plain.counts.total()


def test_the_given_network_is_not_changed(nano: Network) -> None:
    before = copy.deepcopy(nano)
    cost = profile_model(nano)
    InferenceForm(nano).network()
    assert str(nano) == str(before)
    assert all(torch.equal(a, b) for a, b in zip(nano.state_dict().values(), before.state_dict().values(), strict=True))
    assert profile_model(nano) == cost
    nano.zero_grad()
    nano(*inputs(nano, SIZE, 1)).sum().backward()
    assert all(weight.grad is not None for weight in nano.image_encoder.parameters())  # type: ignore[union-attr]


# -- changes of the weights ------------------------------------------------------------------------------------------


def counted(weight: nn.Parameter) -> None:
    with torch.no_grad():
        weight.mul_(-1.5)


def uncounted(weight: nn.Parameter) -> None:
    weight.data.mul_(-1.5)


def of_numpy(weight: nn.Parameter) -> None:
    weight.detach().numpy()[...] *= -1.5


def one_value(weight: nn.Parameter) -> None:
    weight.data.view(-1)[-1] += 3


def two_signs(weight: nn.Parameter) -> None:
    weight.data.view(-1)[:2] += 1
    weight.data.view(-1)[:2].neg_()


def swapped(weight: nn.Parameter) -> None:
    weight.data = weight.data.flip(0)


def swapped_back_and_forth(weight: nn.Parameter) -> None:
    for _ in range(3):
        weight.data = weight.data * -1.5


def in_inference_mode(weight: nn.Parameter) -> None:
    with torch.inference_mode():
        weight.mul_(-1.5)


CHANGES = [counted, uncounted, of_numpy, one_value, two_signs, swapped, swapped_back_and_forth, in_inference_mode]
PARTS = [
    "image_encoder.stem.conv1.weight",
    "image_encoder.stages.0.blocks.0.norm1.weight",
    "event_encoder.stages.1.blocks.0.ss2d.in_proj.weight",
    "event_encoder.stages.1.blocks.0.ss2d.conv.weight",
    "event_encoder.stages.1.blocks.0.ss2d.scan.x_proj",
    "event_encoder.stages.1.blocks.0.ss2d.scan.A_log",
    "event_encoder.stages.1.blocks.0.ss2d.scan.dt_bias",
    "event_encoder.stages.1.blocks.0.mlp.fc1.bias",
    "event_encoder.stages.1.blocks.0.mlp.fc2.weight",
    "ddims.0.merge_image.weight",
    "ddims.0.csim.weights.conv1.weight",
    "mixes.0.weight",
    "head.conv.weight",
    "head.classify.bias",
]


@pytest.fixture(scope="module")
def kept(nano: Network) -> tuple[Network, InferenceForm]:
    model = copy.deepcopy(nano)
    return model, InferenceForm(model)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("part", PARTS)
def test_new_values_of_weights_are_used(kept: tuple[Network, InferenceForm], change: Any, part: str) -> None:
    model, form = kept
    pair, network = inputs(model, SIZE, 1), form.network()
    weight = model.get_parameter(part)
    with torch.inference_mode():
        before = network(*pair)
    old = weight.detach().clone()
    change(weight)
    try:
        # a change of few values that torch does not count takes some frames, any other one none
        for _ in range(PHASES if change in (one_value, two_signs) else 1):
            assert form.network() is network  # a trace of it is still good
        assert_same(model, network, pair)
        if not torch.equal(weight, old):
            with torch.inference_mode():
                assert not torch.equal(network(*pair), before)
    finally:
        weight.data.copy_(old)


def test_a_head_of_multiplied_weights_follows_all_of_them() -> None:
    model = trained("mambaseg_ddd17", size=(16, 24))
    form, pair = InferenceForm(model), inputs(model, (16, 24), 1)
    network = form.network()
    assert_same(model, network, pair)
    head = model.head
    tensors = (head.fuse.weight, head.fuse.bias, head.embed[2].weight, head.embed[3].bias, head.norm.running_mean,
               head.norm.running_var, head.norm.weight, head.norm.bias)  # fmt: skip
    for tensor in tensors:
        tensor.data.mul_(1.5)
        assert form.network() is network
        assert_same(model, network, pair)


def test_a_head_of_one_scale_is_itself() -> None:
    head = SegFormerHead([8], channels=16, num_classes=3).eval()
    features = [torch.randn(1, 4, 5, 8)]
    with torch.inference_mode():
        assert_close(InferenceForm(head).network()(features), head(features))


@pytest.mark.parametrize("change", [counted, uncounted])
def test_a_change_while_weights_are_packed_is_seen(change: Any) -> None:
    def pack(values: Tensor) -> Tensor:
        packed = values + 1
        if weight[0, 0] == 1:
            change(weight)  # as another thread may
        return packed

    weight, weights = nn.Parameter(torch.ones(3, 4)), PackedWeights()
    packed = weights.add(pack, weight)
    weights.watch()
    assert weights.refresh()
    assert weight[0, 0] != 1
    assert torch.equal(packed, weight + 1)


def test_loaded_weights_are_used(nano: Network) -> None:
    model = copy.deepcopy(nano)
    form = InferenceForm(model)
    network = form.network()
    model.load_state_dict({key: 0.8 * x for key, x in model.state_dict().items()})
    assert form.network() is network
    assert_same(model, network, inputs(model, SIZE, 1))
    model.load_state_dict({key: 0.9 * x for key, x in model.state_dict().items()}, assign=True)
    assert form.network() is not network
    assert_same(model, form.network(), inputs(model, SIZE, 1))


def test_an_unchanged_network_is_packed_once(nano: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    form = InferenceForm(nano)
    network = form.network()
    monkeypatch.setattr("mambaseg_core.fused.packed.PackedWeights._pack", lambda *_: pytest.fail("packed again"))
    assert form.network() is network


# -- what stays as it is ---------------------------------------------------------------------------------------------


class OwnBlock(VSSBlock):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 1.5


class OwnNorm(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        return -super().forward(x)


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


def own_block(model: Any) -> None:
    model.image_encoder.stages[0].blocks[1].__class__ = OwnBlock


def own_norm(model: Any) -> None:
    model.image_encoder.stages[0].blocks[1].norm2.__class__ = OwnNorm


def own_drop_path(model: Any) -> None:
    model.image_encoder.stages[0].blocks[1].drop_path = Doubled()


def own_forward(model: Any) -> None:
    mlp = model.image_encoder.stages[0].blocks[1].mlp
    plain = mlp.forward
    mlp.forward = lambda x: -plain(x)


def hooked(model: Any) -> None:
    model.image_encoder.stages[0].blocks[1].ss2d.conv.register_forward_hook(lambda *args: -args[2])


def hooked_before(model: Any) -> None:
    model.ddims[1].csim.register_forward_pre_hook(lambda _, args: (args[1], args[0]))


def hooked_container(model: Any) -> None:
    model.image_encoder.stages[1].register_forward_hook(lambda *args: -args[2])


def parametrized(model: Any) -> None:
    parametrize.register_parametrization(model.image_encoder.stages[0].blocks[1].mlp.fc1, "weight", Doubled())


def training_part(model: Any) -> None:
    model.head.train()


def other_window(model: Any) -> None:
    conv = model.image_encoder.stages[0].blocks[1].ss2d.conv
    conv.padding, conv.dilation = (2, 2), (2, 2)


def other_scan(model: Any) -> None:
    scan = model.image_encoder.stages[0].blocks[1].ss2d.scan
    plain = scan.op
    scan.op = lambda *args: -plain(*args)


def other_mix(model: Any) -> None:
    model.mixes[1] = nn.Sequential(model.mixes[1], Doubled())


def no_affine(model: Any) -> None:
    model.ddims[2].norm_image = nn.LayerNorm(128, elementwise_affine=False)


def no_bias(model: Any) -> None:
    model.ddims[1].csim.weights.conv1.bias = None


def shared_stages(model: Any) -> None:
    model.event_encoder.stages = model.image_encoder.stages


OWN = [own_block, own_norm, own_drop_path, own_forward, hooked, hooked_before, hooked_container, parametrized,
       training_part, other_window, other_scan, other_mix, no_affine, no_bias, shared_stages]  # fmt: skip


@pytest.mark.parametrize("change", OWN)
@pytest.mark.parametrize("later", [False, True])
def test_what_is_not_ours_stays_as_it_is(nano: Network, change: Any, later: bool) -> None:
    model = copy.deepcopy(nano)
    form, pair = InferenceForm(model), inputs(model, SIZE, 1)
    if later:
        form.network()
    with torch.inference_mode():
        before = model(*pair)
    change(model)
    network = form.network()
    assert form.network() is network  # built once for the change
    assert_same(model, network, pair)
    with torch.inference_mode():
        if change not in (training_part,):
            assert not torch.allclose(model(*pair), before)
    assert any(type(part).__name__ == "FusedVSSBlock" for part in network.modules())  # the rest is fused


class OwnNetwork(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.calls = model, 0

    def forward(self, image: Tensor | None, second: Tensor | None) -> Tensor:
        self.calls += 1
        logits: Tensor = -self.model(image, second)
        return logits


def whole_networks(model: Network) -> Iterator[nn.Module]:
    yield OwnNetwork(model).eval()
    subclass = copy.deepcopy(model)
    subclass.__class__ = type("Mine", (type(model),), {})
    yield subclass
    yield copy.deepcopy(model).double()
    yield copy.deepcopy(model).bfloat16()
    yield copy.deepcopy(model).train()


def test_whole_networks_stay_as_they_are(nano: Network) -> None:
    for model in whole_networks(nano):
        network = InferenceForm(model).network()
        assert not any(type(part).__name__.startswith("Fused") for part in network.modules()), type(model)


def test_a_network_that_changes_its_dtype_or_mode_is_left(nano: Network) -> None:
    model = copy.deepcopy(nano)
    form = InferenceForm(model)
    fused = form.network()
    for change in (model.train, model.double):
        change()
        assert not any(type(part).__name__.startswith("Fused") for part in form.network().modules())
        model.eval().float()
        again = InferenceForm(model) if change == model.double else form
        assert isinstance(again.network(), type(fused))
        assert_same(model, again.network(), inputs(model, SIZE, 1))


def test_autocast_runs_the_plain_network() -> None:
    model = trained("sigma_nano")
    form, pair = InferenceForm(model), inputs(model, SIZE, 1)
    fused = form.network()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(form.network()(*pair), model(*pair))
    assert form.network() is fused


def test_a_fused_network_refuses_gradients(nano: Network) -> None:
    logits = InferenceForm(nano).network()(*inputs(nano, SIZE, 1))
    with pytest.raises(RuntimeError, match="gradient"):
        logits.sum().backward()


# -- Segmenter -------------------------------------------------------------------------------------------------------


def segmenter_of(model: nn.Module, **settings: Any) -> Segmenter:
    setup = replace(PRESETS["mambaseg_nano"].preprocessing, size=SIZE, view_size=SIZE, crop_bottom=0)
    return Segmenter(model, "cpu", preprocessing=setup, warn=lambda _: None, **settings)


@pytest.mark.skipif(bool(extension.MISSING), reason="without the extension the plain model runs")
@pytest.mark.parametrize("reliability", [False, True])
def test_segmenter_runs_the_fused_form_and_agrees_with_the_plain_one(
    reliability: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = segmenter_of(trained("mambaseg_nano", reliability=reliability))
    assert isinstance(segmenter._network(), FusedMambaSeg)
    frame = segmenter._noise(np.random.default_rng(0))
    untraced = segmenter.segment(*frame)
    segmenter.warm_up()
    traced, twin = segmenter.segment(*frame), segmenter.for_camera(None).segment(*frame)
    monkeypatch.setattr(Segmenter, "_network", lambda self: self.model)
    plain = segmenter_of(segmenter.model).segment(*frame)
    for mask in (traced, twin):
        assert np.array_equal(mask.ids, untraced.ids)
        assert np.array_equal(mask.confidence, untraced.confidence)
        assert mask.reliability == untraced.reliability
    assert np.array_equal(plain.ids, traced.ids)
    np.testing.assert_allclose(plain.confidence, traced.confidence, atol=1e-4)
    assert (plain.reliability is None) == (traced.reliability is None)
    if plain.reliability is not None:
        np.testing.assert_allclose(plain.reliability, traced.reliability, atol=1e-5)


@pytest.mark.skipif(bool(extension.MISSING), reason="without the extension the plain model runs")
def test_segmenter_keeps_the_plain_form_elsewhere(nano: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAMBASEG_BACKEND", "reference")
    other = segmenter_of(nano)
    assert other._network() is other.model


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(nano: Network, wrong: float) -> None:
    segmenter = segmenter_of(copy.deepcopy(nano))
    frame = segmenter._noise(np.random.default_rng(0))
    segmenter.segment(*frame)
    segmenter.model.get_parameter("image_encoder.stages.0.blocks.0.mlp.fc1.weight").data[0, 0] = wrong
    with pytest.raises(ValueError, match="not all finite"):
        segmenter.segment(*frame)


# -- export ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fused", [False, True])
def test_both_forms_are_exported(nano: Network, fused: bool) -> None:
    stage: Any = nano.image_encoder.stages[3]  # type: ignore[union-attr,index]
    check_exported(InferenceForm(stage).network() if fused else stage, stage, (torch.rand(1, 3, 4, 192),), fused)


@pytest.mark.slow
@pytest.mark.parametrize("fused", [False, True])
def test_both_forms_of_a_whole_network_are_exported(nano: Network, fused: bool) -> None:
    check_exported(InferenceForm(nano).network() if fused else nano, nano, inputs(nano, SIZE, 1), fused)


def check_exported(network: nn.Module, plain: nn.Module, given: tuple[Tensor, ...], fused: bool) -> None:
    with torch.no_grad():
        program = torch.export.export(network, given, strict=False)
        assert_close(program.module()(*given), plain(*given))
    assert ("mambaseg.fused_mlp.default" in {str(node.target) for node in program.graph.nodes}) == fused


@pytest.mark.skipif(bool(extension.MISSING), reason="the plain forms of the operators depend on the number of threads")
def test_the_number_of_threads_changes_no_bit(nano: Network) -> None:
    network, pair, threads = InferenceForm(nano).network(), inputs(nano, (48, 64), 1), torch.get_num_threads()
    found = []
    with torch.inference_mode():
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            found.append(network(*pair))
    torch.set_num_threads(threads)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_the_plain_form_is_compiled() -> None:
    stem = trained("mambaseg_nano").image_encoder.stem
    x = torch.rand(1, 3, *SIZE)
    with torch.no_grad():
        assert_close(torch.compile(stem, backend="aot_eager")(x), stem(x))

"""Wrappers and prefixes of what training scripts save, and the names that an error puts first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mambaseg_core.checkpoint import create_model
from mambaseg_core.models import load_released_state_dict
from mambaseg_core.models.presets import list_models
from mambaseg_core.models.released.unwrap import WRAPPERS, tensors_of

Tensors = dict[str, Tensor]
ONE = {"a.weight": torch.ones(2), "a.bias": torch.zeros(2)}


def fail(sentence: str) -> None:
    pytest.fail(sentence)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return create_model("sigma_nano")


def prefixed(prefix: str, tensors: Tensors) -> Tensors:
    return {prefix + key: tensor for key, tensor in tensors.items()}


@pytest.mark.parametrize(
    "prefix",
    [
        *("", "module.", "model.", "_orig_mod.", "module.module.", "module._orig_mod.", "_orig_mod.module."),
        *("model._orig_mod.module.", "net.", "network.model.", "_fsdp_wrapped_module._checkpoint_wrapped_module."),
    ],
)
def test_prefixes_are_taken_off(model: nn.Module, prefix: str) -> None:
    given = prefixed(prefix, {key: tensor + 1 for key, tensor in model.state_dict().items()})
    other = create_model("sigma_nano")
    load_released_state_dict(other, given, warn=fail)
    assert all(torch.equal(tensor, given[prefix + key]) for key, tensor in other.state_dict().items())
    assert not other.authors_inputs, "our names come with our inputs"


def test_prefixes_inside_names_and_on_some_names_only() -> None:
    given = {"encoder._orig_mod.layer.weight": ONE["a.weight"], "module.head.bias": ONE["a.bias"]}
    assert tensors_of(given, fail).keys() == {"encoder.layer.weight", "head.bias"}
    assert tensors_of({"model_norm.weight": ONE["a.bias"]}, fail).keys() == {"model_norm.weight"}


def test_no_network_of_ours_loses_a_part_of_its_names() -> None:
    with torch.device("meta"):
        for name in list_models():
            state = create_model(name).state_dict()
            assert tensors_of(state, fail).keys() == state.keys(), name


def test_two_names_that_become_one_are_refused() -> None:
    with pytest.raises(ValueError, match=r"has both 'a\.weight' and 'module\.a\.weight'"):
        tensors_of({**ONE, **prefixed("module.", ONE)}, fail)


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_every_wrapper_is_taken_off(wrapper: str) -> None:
    assert tensors_of({"epoch": 3, wrapper: ONE, "optimizer": {"state": {0: ONE}}}, fail) == ONE


@pytest.mark.parametrize(
    "wrapped",
    [
        {"state_dict": {"model": ONE}},
        {"ema": {"module": prefixed("module.", ONE), "decay": 0.9}},
        {"model": {"state_dict": {"net": ONE}}},
        {"state_dict": {key: tensor.numpy() for key, tensor in ONE.items()}},
        {**ONE, "epoch": 3, "lr": 0.1},
        {"model_ema": prefixed("module.", ONE) | {"n_averaged": torch.tensor(3)}},
    ],
    ids=["twice", "averaged", "three times", "arrays", "beside plain values", "AveragedModel"],
)
def test_wrappers_in_wrappers(wrapped: dict[str, Any]) -> None:
    found = tensors_of(wrapped, fail)
    assert found.keys() == ONE.keys()
    assert all(torch.equal(found[key], tensor) for key, tensor in ONE.items())


def test_the_set_that_was_taken_is_said() -> None:
    said: list[str] = []
    average = {key: tensor + 1 for key, tensor in ONE.items()}
    found = tensors_of({"state_dict_ema": average, "state_dict": ONE}, said.append)
    assert torch.equal(found["a.weight"], ONE["a.weight"])
    assert said == ["the checkpoint holds several sets of weights: state_dict was taken, not state_dict_ema"]


def test_a_set_of_other_names_is_no_second_one() -> None:
    tensors_of({"model": ONE, "ema": {"decay": torch.tensor(0.9)}}, fail)


@pytest.mark.parametrize("state", [{}, {"epoch": 3}, {"weights": ONE}], ids=["empty", "no tensors", "unknown wrapper"])
def test_no_state_dict(state: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expected a state dict .* got one with the keys"):
        tensors_of(state, fail)


def without(tensors: Tensors, key: str) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if name != key}


KEY = "head.classify.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: {("head.clasify.weight" if key == KEY else key): x for key, x in t.items()},
            r"1 tensors missing \(head\.classify\.weight\) and 1 tensors unexpected \(head\.clasify\.weight\)",
        ),
        (
            lambda t: (
                without(without(t, KEY), "encoder.patch.bias")
                | {
                    "aux.weight": t[KEY],
                    "head.classifier.weight": t[KEY],
                    "encoder.patch.offset": t["encoder.patch.bias"],
                }
            ),
            r"2 tensors missing \(head\.classify\.weight, encoder\.patch\.bias\) and "
            r"3 tensors unexpected \(head\.classifier\.weight, encoder\.patch\.offset, aux\.weight\)",
        ),
        (lambda t: t | {KEY: t[KEY][:-1]}, r"head\.classify\.weight: got \[8, .*\], expected \[9, .*num_classes=8"),
        (lambda t: t | {KEY: t[KEY].half()[:-1]}, r"head\.classify\.weight: got \[8, .*\], expected \[9, "),
        (lambda t: t | {KEY: t[KEY].to(torch.int8)}, r"head\.classify\.weight is of torch\.int8"),
        (lambda t: t | {KEY: t[KEY].to_sparse()}, r"head\.classify\.weight is of torch\.float32, torch\.sparse_coo"),
        (lambda t: t | {KEY: t[KEY] * torch.nan}, r"head\.classify\.weight holds NaN or infinity"),
        (lambda t: t | {KEY: (t[KEY] + 1e9).half()}, r"head\.classify\.weight holds NaN or infinity"),
    ],
    ids=["typing error", "nearest first", "shape", "shape of half", "integers", "sparse", "NaN", "beyond float16"],
)
def test_what_does_not_fit_is_named(model: nn.Module, change: Callable[[Tensors], Tensors], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_released_state_dict(model, change(dict(model.state_dict())))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_floats_of_any_size_load(model: nn.Module, dtype: torch.dtype) -> None:
    given = {key: tensor.to(dtype) for key, tensor in model.state_dict().items()}
    other = create_model("sigma_nano")
    load_released_state_dict(other, given)
    assert all(torch.equal(tensor, given[key].float()) for key, tensor in other.state_dict().items())

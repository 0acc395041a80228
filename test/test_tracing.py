"""A traced model is the model: the same bits, for all inputs, and left at once where it would not be."""

from __future__ import annotations

import copy
import gc
import pickle
import re
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mambaseg_core.checkpoint import create_model
from mambaseg_core.events import Events
from mambaseg_core.inference import Mask, Segmenter
from mambaseg_core.models.presets import PRESETS

SIZE = (24, 32)
PRESET_CASES = [
    pytest.param(name, reliability, precision, marks=[] if "nano" in name or "ddd17" in name else pytest.mark.slow)
    for name, preset in PRESETS.items()
    for reliability in ((False, True) if preset.reliability == "optional" else (False,))
    for precision in ("float32", "bfloat16")
]


WATCHES = {Tensor.is_inference, Tensor.data_ptr, Tensor._version.__get__}  # of each weight; Python keeps its lock


class Calls(TorchFunctionMode):
    """Counts the calls of torch from Python that give up Python's lock and take it again."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.number += func not in WATCHES
        return func(*args, **(kwargs or {}))


class Small(nn.Module):
    """A network of a user's own, for both inputs or either."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(13, 8, 3, padding=1), nn.Conv2d(8, 5, 1)
        self.scale, self.seen, self.weights, self.named = 1.0, [], [1.0], {"a": 1}

    def forward(self, image: Tensor | None, second: Tensor | None) -> Tensor:
        some = image if image is not None else second
        assert some is not None
        image = torch.full((1, 3, *some.shape[2:]), 0.5) if image is None else image  # grey, not zeros
        second = torch.zeros(1, 10, *some.shape[2:]) if second is None else second
        return self.weights[0] * self.scale * self.last(self.first(torch.cat((image, second), 1)).relu())


def made(model: nn.Module, said: list[str] | None = None, **settings: Any) -> Segmenter:
    setup = replace(PRESETS["mambaseg_nano"].preprocessing, size=SIZE, view_size=SIZE, crop_bottom=0)
    setup = settings.pop("preprocessing", setup)
    return Segmenter(model, "cpu", preprocessing=setup, warn=[].append if said is None else said.append, **settings)


def untraced(segmenter: Segmenter, *inputs: Any) -> Mask:
    """Return the answer of the model itself."""
    return Segmenter(segmenter.model, "cpu", preprocessing=segmenter.preprocessing, precision="float32").segment(
        *inputs
    )


def same(a: Mask, b: Mask) -> bool:
    equal = np.array_equal(a.ids, b.ids) and np.array_equal(a.confidence, b.confidence)
    return equal and a.reliability == b.reliability


@pytest.fixture(scope="module")
def nano() -> Segmenter:
    torch.manual_seed(0)
    segmenter = made(create_model("mambaseg_nano", image_size=SIZE))
    segmenter.warm_up()
    return segmenter


@pytest.fixture(scope="module")
def frame() -> tuple[np.ndarray, Events]:
    rng = np.random.default_rng(3)
    t_ns = np.sort(rng.integers(10**18, 10**18 + 50_000_000, 2000))
    pixels = (rng.integers(0, SIZE[1], 2000), rng.integers(0, SIZE[0], 2000))
    events = Events.from_arrays(*pixels, t_ns, rng.integers(0, 2, 2000), height=SIZE[0], width=SIZE[1])
    return rng.integers(0, 100, (*SIZE, 3), np.uint8), events  # darker than the noise of `warm_up`


@pytest.mark.parametrize(("name", "reliability", "precision"), PRESET_CASES)
def test_every_preset_gives_the_same_bits_traced(name: str, reliability: bool, precision: str) -> None:
    torch.manual_seed(0)
    model = create_model(name, image_size=SIZE, **({"reliability": True} if reliability else {}))
    setup = replace(PRESETS[name].preprocessing, size=SIZE, view_size=SIZE, crop_bottom=0)
    segmenter = Segmenter(model, "cpu", preprocessing=setup, precision=precision, warn=lambda _: None)
    plain = copy.deepcopy(segmenter)
    segmenter.warm_up()
    assert segmenter._traced is not None
    image, second = segmenter._noise(np.random.default_rng(7))
    for inputs in ((image, second), (image, None), (None, second)):
        with Calls() as calls:
            answer = segmenter.segment(*inputs)
        assert calls.number < 60
        assert same(answer, plain.segment(*inputs))
    assert (answer.reliability is not None) == (reliability or name.startswith("rsgmamba"))


def test_a_traced_frame_is_a_few_calls_from_python(nano: Segmenter, frame: Any) -> None:
    counts = []
    for segmenter in (copy.deepcopy(nano), nano):  # a copy has no trace
        with Calls() as calls:
            segmenter.segment(*frame)
        counts.append(calls.number)
    plain, traced = counts
    assert traced < 30 < 600 < plain


class Marked(Small):
    """Writes into a buffer with its last operator."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mark", torch.zeros(1))

    def forward(self, image: Tensor | None, second: Tensor | None) -> Tensor:
        logits = super().forward(image, second)
        self.mark.copy_(logits.abs().sum() + 1)
        return logits


def test_a_traced_call_needs_no_lock_from_its_start_to_its_end(frame: Any) -> None:
    """Another thread takes Python's lock as soon as the call gives it up, and keeps it until the model is through."""
    segmenter = made(Marked())
    segmenter.warm_up()
    traced, inputs, mark = segmenter._traced, segmenter.prepare(*frame), segmenter.model.mark.numpy()
    assert traced is not None
    through, called, ready = [], threading.Event(), threading.Event()

    def hold() -> None:
        ready.set()
        called.wait()
        deadline = time.monotonic() + 60
        while not mark[0] and time.monotonic() < deadline:
            pass  # nothing here gives the lock up: a call that needs it would wait until the deadline
        through.append(bool(mark[0]))

    thread, interval = threading.Thread(target=hold), sys.getswitchinterval()
    thread.start()
    ready.wait()
    mark[0] = 0
    sys.setswitchinterval(1e6)
    try:
        with torch.inference_mode():
            called.set()
            traced(*inputs)
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert through == [True]


# -- models that no trace can follow ---------------------------------------------------------------------------------


class Night(Small):
    """Sees otherwise where it is dark, which the noise of `warm_up` never is."""

    def forward(self, image: Tensor | None, second: Tensor | None) -> Tensor:
        assert image is not None
        logits = super().forward(image, second)
        return logits.flip(1) if image.mean() < 0.3 else logits


class Listed(Small):
    def forward(self, image: Tensor | None, second: Tensor | None) -> Tensor:
        assert image is not None
        return super().forward(image, second) * max(0.1, image.flatten().tolist()[0])


class InNumpy(Small):
    def forward(self, image: Tensor | None, second: Tensor | None) -> Tensor:
        assert image is not None
        return super().forward(image, second) + torch.from_numpy(
            np.sort(image.numpy(), axis=None)[::-1][:5].copy()
        ).view(1, 5, 1, 1)


class Chosen(Small):
    """Works on the bright pixels, however many there are."""

    def forward(self, image: Tensor | None, second: Tensor | None) -> Tensor:
        assert image is not None
        logits = super().forward(image, second)
        bright = image[image > 0.3]
        return logits / (1 + bright.shape[0])


class Counted(Small):
    def forward(self, image: Tensor | None, second: Tensor | None) -> Tensor:
        self.scale += 0.5
        return super().forward(image, second)


class Remembered(Small):
    def forward(self, image: Tensor | None, second: Tensor | None) -> Tensor:
        logits = super().forward(image, second)
        self.seen = [*self.seen[-2:], logits]
        return torch.stack(self.seen).mean(0)


class Appended(Small):
    def forward(self, image: Tensor | None, second: Tensor | None) -> Tensor:
        logits = super().forward(image, second)
        self.seen.append(logits)
        return logits if len(self.seen) < 20 else logits.flip(1)


class Noisy(Small):
    def forward(self, image: Tensor | None, second: Tensor | None) -> Tensor:
        return nn.functional.dropout(super().forward(image, second), 0.5, training=True)


class Hooked(Small):
    def __init__(self) -> None:
        super().__init__()
        self.last.register_forward_hook(lambda *_: self.seen.append(1))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Night, r"depends on values"),
        (Listed, r"as a list"),
        (InNumpy, r"NumPy array"),
        (Chosen, r"depends on values"),
        (Counted, r"another mask|its own attributes"),
        (Remembered, r"another mask|its own attributes"),
        (Appended, r"its own attributes"),
        (Noisy, r"another mask"),
        (Hooked, r"hooks"),
    ],
)
def test_a_model_that_a_trace_would_change_runs_as_it_is(kind: Callable[[], Small], reason: str, frame: Any) -> None:
    torch.manual_seed(0)
    said: list[str] = []
    segmenter = made(kind(), said)
    segmenter.warm_up()
    assert segmenter._traced is None
    (sentence,) = said
    assert re.search(reason, sentence), sentence
    assert segmenter.warning == sentence
    before = copy.deepcopy(segmenter)
    torch.manual_seed(1)
    answer = segmenter.segment(*frame)
    torch.manual_seed(1)
    assert same(answer, untraced(before, *frame))
    segmenter.segment(*frame)
    assert len(said) == 1


def test_a_model_of_a_users_own_is_traced_for_both_inputs(frame: Any) -> None:
    torch.manual_seed(0)
    said: list[str] = []
    segmenter = made(Small(), said)
    segmenter.warm_up()
    assert (said, segmenter.warning, segmenter._traced is None) == ([], "", False)
    image, events = frame
    for inputs in ((image, events), (image, None), (None, events)):  # alone, its missing image is not zeros
        assert same(segmenter.segment(*inputs), untraced(segmenter, *inputs))


def test_a_scripted_model_is_left_as_it_is(frame: Any) -> None:
    torch.manual_seed(0)
    said: list[str] = []
    example = tuple(x[None] for x in made(Small()).prepare(*frame))
    segmenter = made(torch.jit.trace(Small().eval(), example), said)
    segmenter.warm_up()
    assert (said, segmenter._traced) == ([], None)
    assert same(segmenter.segment(*frame), untraced(segmenter, *frame))


# -- models that change after `warm_up` ------------------------------------------------------------------------------


def fill(segmenter: Segmenter) -> None:
    with torch.no_grad():
        for weight in segmenter.model.parameters():
            weight.mul_(-1.5)


def load(segmenter: Segmenter) -> None:
    segmenter.model.load_state_dict({key: -1.5 * x for key, x in segmenter.model.state_dict().items()})


def swap_data(segmenter: Segmenter) -> None:
    segmenter.model.last.weight.data = -segmenter.model.last.weight.data


@pytest.mark.parametrize("change", [fill, load, swap_data])
def test_new_values_of_weights_are_used_traced(change: Callable[[Segmenter], None], frame: Any) -> None:
    torch.manual_seed(0)
    said: list[str] = []
    segmenter = made(Small(), said)
    segmenter.warm_up()
    old = segmenter.segment(*frame)
    change(segmenter)
    new = segmenter.segment(*frame)
    assert not same(new, old)
    assert same(new, untraced(segmenter, *frame))
    assert (said, segmenter._traced is None) == ([], False)


def other_model(segmenter: Segmenter) -> None:
    segmenter.model = Small().eval()


def other_part(segmenter: Segmenter) -> None:
    segmenter.model.last = nn.Conv2d(8, 5, 1)


def other_weight(segmenter: Segmenter) -> None:
    segmenter.model.last.weight = nn.Parameter(-segmenter.model.last.weight.detach())


def assigned(segmenter: Segmenter) -> None:
    segmenter.model.load_state_dict({key: -x for key, x in segmenter.model.state_dict().items()}, assign=True)


def setting(segmenter: Segmenter) -> None:
    segmenter.model.scale = -2.0


def hook(segmenter: Segmenter) -> None:
    segmenter.model.last.register_forward_hook(lambda _module, _inputs, logits: -logits)


def patched(segmenter: Segmenter) -> None:
    convolve = segmenter.model.last.forward
    segmenter.model.last.forward = lambda x: -convolve(x)


def listed(segmenter: Segmenter) -> None:
    segmenter.model.weights[0] = -2.0


def renamed(segmenter: Segmenter) -> None:
    segmenter.model.named["b"] = segmenter.model.named.pop("a")
    segmenter.model.weights[0] = -2.0


def training(segmenter: Segmenter) -> None:
    segmenter.model.first.register_module("norm", nn.BatchNorm2d(3))
    segmenter.model.train()


@pytest.mark.parametrize(
    "change", [other_model, other_part, other_weight, assigned, setting, hook, patched, listed, renamed, training]
)
def test_a_changed_model_drops_its_trace_and_says_so_once(change: Callable[[Segmenter], None], frame: Any) -> None:
    torch.manual_seed(0)
    said: list[str] = []
    segmenter = made(Small(), said)
    segmenter.warm_up()
    change(segmenter)
    assert same(segmenter.segment(*frame), untraced(segmenter, *frame))
    segmenter.segment(*frame)
    (sentence,) = said
    assert "has changed since" in sentence
    if change is not hook:
        segmenter.warm_up()
        assert segmenter._traced is not None
        assert same(segmenter.segment(*frame), untraced(segmenter, *frame))


def test_warm_up_after_a_change_says_nothing(frame: Any) -> None:
    torch.manual_seed(0)
    said: list[str] = []
    segmenter = made(Small(), said)
    segmenter.warm_up()
    other_part(segmenter)
    segmenter.warm_up()
    assert (said, segmenter._traced is None) == ([], False)
    assert same(segmenter.segment(*frame), untraced(segmenter, *frame))


def test_inputs_of_another_size_and_autocast_leave_the_trace(nano: Segmenter, frame: Any) -> None:
    plain = copy.deepcopy(nano)
    larger = torch.rand(3, 40, 48), torch.rand(10, 40, 48)
    for found, expected in zip(nano._infer(*larger), plain._infer(*larger), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert nano._infer(*larger)[0].shape == (40, 48)
    with torch.autocast("cpu", torch.bfloat16):
        assert same(nano.segment(*frame), plain.segment(*frame))
    assert not same(
        plain.segment(*frame),
        Segmenter(nano.model, "cpu", precision="bfloat16", warn=[].append, preprocessing=nano.preprocessing).segment(
            *frame
        ),
    )


def test_threads_share_one_traced_model(nano: Segmenter, frame: Any) -> None:
    expected, found = untraced(nano, *frame), []

    def work() -> None:
        found.extend(nano.segment(*frame) for _ in range(5))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 15
    assert all(same(mask, expected) for mask in found)


def test_another_number_of_threads_changes_nothing(nano: Segmenter, frame: Any) -> None:
    number = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert same(nano.segment(*frame), untraced(nano, *frame))
    finally:
        torch.set_num_threads(number)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda segmenter: pickle.loads(pickle.dumps(segmenter))])
def test_a_copy_has_weights_of_its_own(nano: Segmenter, frame: Any, copied: Callable[[Segmenter], Segmenter]) -> None:
    twin, before = copied(nano), nano.segment(*frame)
    assert same(twin.segment(*frame), before)
    fill(twin)
    twin.warm_up()
    assert not same(twin.segment(*frame), before)
    assert same(nano.segment(*frame), before)


def test_a_segmenter_that_is_gone_keeps_no_weights() -> None:
    segmenter = made(create_model("mambaseg_nano", image_size=SIZE))
    segmenter.warm_up()
    weights = [weakref.ref(weight) for weight in segmenter.model.parameters()]
    del segmenter
    gc.collect()
    assert not any(weight() is not None for weight in weights)


COMPILER = """
import sys, torch
from mambaseg_core import Segmenter, create_model
segmenter = Segmenter(create_model("mambaseg_nano", image_size=(24, 32)), "cpu")
segmenter.warm_up()
print(segmenter._traced is not None, "torch._dynamo" in sys.modules)
"""


def test_a_trace_imports_no_compiler() -> None:
    done = subprocess.run([sys.executable, "-c", COMPILER], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["True", "False"]

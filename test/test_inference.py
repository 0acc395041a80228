from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from mambaseg_core.checkpoint import create_model
from mambaseg_core.events import Events
from mambaseg_core.inference import Segmenter, choose_device
from mambaseg_core.ops import selection
from mambaseg_core.synth.dsec_drive import make_calibration

SIZE = (24, 32)


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    torch.manual_seed(0)
    return Segmenter(create_model("mambaseg_ddd17", image_size=SIZE), "cpu")


@pytest.fixture(scope="module")
def events() -> Events:
    rng = np.random.default_rng(1)
    t_ns = np.sort(rng.integers(10**18, 10**18 + 50_000_000, 3000))
    return Events.from_arrays(
        rng.integers(0, 346, 3000), rng.integers(0, 260, 3000), t_ns, rng.integers(0, 2, 3000), height=260, width=346
    )


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 255, (260, 346), np.uint8)


def test_a_mask_is_what_the_model_says(segmenter: Segmenter, image: np.ndarray, events: Events) -> None:
    mask = segmenter.segment(image, events)
    tensors = segmenter.prepare(image, events)
    with torch.inference_mode():
        probabilities = segmenter.model(*(tensor[None] for tensor in tensors)).softmax(1)[0]
    assert mask.ids.dtype == np.uint8
    np.testing.assert_array_equal(mask.ids, probabilities.argmax(0).numpy())
    np.testing.assert_allclose(mask.confidence, probabilities.max(0).values.numpy(), rtol=1e-6)
    assert mask.prepare_ms > 0
    assert mask.inference_ms > 0


def test_events_change_the_answer(segmenter: Segmenter, image: np.ndarray, events: Events) -> None:
    with_events = segmenter.segment(image, events).confidence
    without = segmenter.segment(image, Events.empty(260, 346)).confidence
    assert np.abs(with_events - without).max() > 1e-4


def test_a_prepared_image_gives_the_same_masks_and_is_not_prepared_again(
    segmenter: Segmenter, image: np.ndarray, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = [events, events.part(0, 1500), None]
    expected = [segmenter.segment(image, window) for window in windows]
    taken = image.copy()
    prepared = segmenter.prepare_image(taken)
    taken[:] = 0  # a camera's buffer is written again
    monkeypatch.setattr(type(segmenter.preprocessing), "image_pixels", None)
    for window, wanted in zip(windows, expected, strict=True):
        mask = segmenter.segment(prepared, window)
        np.testing.assert_array_equal(mask.ids, wanted.ids)
        np.testing.assert_array_equal(mask.confidence, wanted.confidence)


def test_an_image_that_was_prepared_for_another_view_is_refused(
    segmenter: Segmenter, image: np.ndarray, events: Events
) -> None:
    other = segmenter.for_camera(make_calibration((260, 346), (260, 346)))
    with pytest.raises(ValueError, match=r"prepared to \[24, 32\] by another Segmenter, preprocessing or cal"):
        segmenter.segment(other.prepare_image(image), events)
    other = segmenter.for_camera(None)
    other.preprocessing = replace(segmenter.preprocessing, crop_bottom=0)  # other rows, resized to the same size
    with pytest.raises(ValueError, match="by another Segmenter, preprocessing or calibration"):
        segmenter.segment(other.prepare_image(image), events)
    cropped = copy.copy(segmenter)
    cropped.preprocessing = replace(segmenter.preprocessing, crop_bottom=segmenter.preprocessing.crop_bottom + 20)
    with pytest.raises(ValueError, match=r"prepared to \[24, 32\] by another Segmenter"):  # of the same size
        segmenter.segment(cropped.prepare_image(image), events)
    with pytest.raises(ValueError, match="cannot be one view"):
        segmenter.segment(segmenter.prepare_image(image[:100]), events)


def test_the_grid_is_reused_but_not_what_prepare_gave(segmenter: Segmenter, image: np.ndarray, events: Events) -> None:
    prepared = segmenter.prepare(image, events)[1]
    assert prepared is not None
    kept = prepared.clone()
    first = segmenter.segment(image, events)
    memory = segmenter._spare_grid
    assert memory is not None
    again = segmenter.segment(image, events)
    assert segmenter._spare_grid is memory
    np.testing.assert_array_equal(first.confidence, again.confidence)
    segmenter.segment(image[:100], Events.empty(100, 346))
    assert segmenter._spare_grid is not memory
    assert torch.equal(kept, prepared)


def test_one_sensor_alone(segmenter: Segmenter, image: np.ndarray, events: Events) -> None:
    image_only, events_only = segmenter.segment(image, None), segmenter.segment(None, events)
    assert image_only.ids.shape == events_only.ids.shape == SIZE
    no_events = segmenter.segment(image, Events.empty(260, 346))
    np.testing.assert_array_equal(image_only.confidence, no_events.confidence)
    assert not np.array_equal(events_only.confidence, no_events.confidence)
    with pytest.raises(ValueError, match="image and second are both None"):
        segmenter.segment(None, None)


def test_edges_come_from_the_raw_events(segmenter: Segmenter, image: np.ndarray, events: Events) -> None:
    given = segmenter.prepare(image, events, events.t_ns[[0, -1]])[1]
    assert torch.equal(segmenter.prepare(image, events)[1], given)
    longer = segmenter.prepare(image, events, np.array([events.t_ns[0] - 10**7, events.t_ns[-1]]))[1]
    assert not torch.equal(longer, given)


def test_the_mask_returns_to_the_cameras_size(segmenter: Segmenter, image: np.ndarray, events: Events) -> None:
    ids = segmenter.segment(image, events).ids
    camera = segmenter.to_camera(ids, (260, 346))
    assert camera.shape == (260, 346)
    assert (camera[200:] == 255).all()
    assert set(np.unique(camera[:200])) == set(np.unique(ids))


def test_after_warming_up_a_frame_finds_all_maps_made() -> None:
    rig = make_calibration(image_size=(45, 60), event_size=(40, 56))
    segmenter = Segmenter(create_model("mambaseg_nano", image_size=SIZE), "cpu", calibration=rig)
    segmenter.warm_up()
    made = set(vars(rig))
    some = Events.from_arrays([5, 9], [7, 3], [0, 10], [0, 1], height=rig.event_raw.height, width=rig.event_raw.width)
    mask = segmenter.segment(np.zeros((*rig.image_size, 3), np.uint8), some)
    assert segmenter.to_camera(mask.ids, rig.image_size).shape == rig.image_size
    assert set(vars(rig)) == made


def test_a_model_that_gives_nan_is_refused(image: np.ndarray, events: Events) -> None:
    model = create_model("mambaseg_ddd17", image_size=SIZE)
    with torch.no_grad():
        next(iter(model.parameters())).fill_(float("nan"))
    with pytest.raises(ValueError, match="not all finite"):
        Segmenter(model, "cpu").segment(image, events)


def test_a_gpu_is_chosen_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each thread has a current device of its own: "cuda" alone would be another one there."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert [str(choose_device(name)) for name in ("auto", "cuda", "cuda:0")] == ["cuda:1", "cuda:1", "cuda:0"]


def test_devices_are_chosen_or_refused() -> None:
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ValueError, match="device is 'gpu'"):
        choose_device("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no CUDA device"):
            choose_device("cuda")


def test_bfloat16_moves_logits_by_what_its_eight_bits_allow(image: np.ndarray, events: Events) -> None:
    """The bound holds on every processor: each rounds the same factors, and sums in another order.

    Rounding changes a value by at most a fraction u = 2**-8, and by u / sqrt(3) in the root mean square. On its way a
    feature of this network goes through about 75 products: 5 in each of 10 blocks, then in fusions and head. Each
    rounds both factors. The roundings are independent and the norms keep the features' spread. So the root mean square
    error of the logits is sqrt(150 / 3) * u = 2.8 % of their standard deviation (measured: 0.8 %). The largest of
    845,000 errors may be eight times that (4).
    """
    exact = Segmenter(create_model("mambaseg_nano", weights="synthetic"), "cpu")
    rounded = Segmenter(exact.model, "cpu", precision="bfloat16")
    inputs = [tensor[None] for tensor in exact.prepare(image, events)]
    with torch.inference_mode():
        wanted = exact.model(*inputs)
        error = rounded._network()(*(tensor.to(rounded.dtype) for tensor in inputs)).float() - wanted
    moved = math.sqrt(150 / 3) * 2**-8 * wanted.std()
    assert 0 < error.square().mean().sqrt() < moved
    assert error.abs().max() < 8 * moved
    best, second = wanted[0].topk(2, dim=0).values
    clear = (best - second > 2 * 8 * moved).numpy()
    assert clear.mean() > 0.1  # enough to compare: how many are clear in noise goes by the weights
    np.testing.assert_array_equal(rounded.segment(image, events).ids[clear], exact.segment(image, events).ids[clear])


def test_bfloat16_leaves_the_given_model_alone(segmenter: Segmenter) -> None:
    before = {name: x.clone() for name, x in segmenter.model.state_dict().items()}
    Segmenter(segmenter.model, "cpu", precision="bfloat16")._network()
    for name, x in segmenter.model.state_dict().items():
        assert x.dtype == before[name].dtype
        assert torch.equal(x, before[name])


def test_a_gpu_that_does_not_work_is_left_for_the_cpu_only_where_the_device_is_auto(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def explain(device: torch.device) -> selection.Choice:
        raise selection.DeviceError(f"device is '{device}', on which torch cannot compute (RuntimeError: no kernel)")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(selection, "explain", explain)
    left = Segmenter(segmenter.model, warn=said.append)
    assert left.device == torch.device("cpu")
    assert (
        said
        == [left.warning]
        == ["device is 'cuda:0', on which torch cannot compute (RuntimeError: no kernel); the model runs on the CPU"]
    )
    with pytest.raises(ValueError, match="device is 'cuda:0', on which torch cannot compute"):
        Segmenter(segmenter.model, "cuda")


def test_a_back_end_that_is_not_the_best_is_said(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(selection, "explain", lambda device: selection.Choice("reference", "triton: no C compiler"))
    other = copy.copy(segmenter)
    other.warning, other._warn = "", said.append
    assert other._working_device("cuda") == torch.device("cuda:0")
    assert said == ["scans on cuda:0 run on the back end 'reference', which may be slow: triton: no C compiler"]

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mambaseg_core.events import Events
from mambaseg_core.models.presets import preset_preprocessing
from mambaseg_core.ops.voxel_grid import voxel_grid
from mambaseg_core.preprocessing import DDD17, DSEC, Preprocessing, picture_preprocessing


def test_the_presets_are_those_of_the_released_code() -> None:
    assert DDD17.window.duration_ns == 50_000_000
    assert DSEC.window.count == 100_000
    assert (DDD17.kept_rows(260), DSEC.kept_rows(480)) == (200, 440)
    assert (len(DDD17.label_set.classes), len(DSEC.label_set.classes)) == (6, 11)


def test_without_resizing_an_image_is_only_cropped_and_scaled() -> None:
    image = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    expected = torch.from_numpy(image[:440].astype(np.float32) / 255).permute(2, 0, 1)
    torch.testing.assert_close(DSEC.image_tensor(image), expected)


def test_without_resizing_a_grid_is_the_data_sets_bit_for_bit() -> None:
    rng = np.random.default_rng(0)
    events = Events.from_arrays(
        rng.integers(0, 346, 5000), rng.integers(0, 260, 5000), np.sort(rng.integers(0, 10**8, 5000)),
        rng.integers(0, 2, 5000), height=260, width=346,
    )  # fmt: skip
    edges = events.t_ns[[0, -1]]
    assert torch.equal(DDD17.voxel_tensor(events, edges), voxel_grid(events, 10, "bilinear", edges)[:, :200])


def test_other_resolutions_are_resized_after_the_same_share_was_cropped() -> None:
    small = replace(DSEC, size=(110, 160))
    image = np.zeros((960, 1280, 3), np.uint8)
    image[880:] = 255  # the bonnet
    tensor = small.image_tensor(image)
    assert tensor.shape == (3, 110, 160)
    assert float(tensor.max()) == 0.0
    events = Events.from_arrays([5, 6], [479, 100], [0, 1], [1, 1], height=480, width=640)
    grid = small.voxel_tensor(events, None)
    assert grid.shape == (10, 110, 160)
    assert float(grid.sum()) == pytest.approx(1 / 16)  # the mean over 4x4 pixels; the event on the bonnet is gone


def test_grey_and_colour_are_converted() -> None:
    grey = np.full((260, 346), 51, np.uint8)
    assert DDD17.image_tensor(np.repeat(grey[..., None], 3, 2)).shape == (1, 200, 346)
    colour = replace(DDD17, channels=3).image_tensor(grey)
    assert colour.shape == (3, 200, 346)
    assert float(colour.min()) == float(colour.max()) == pytest.approx(0.2)


@pytest.mark.parametrize("size", [(240, 320), (200, 346), (110, 160), (147, 213), (440, 640), (600, 900)])
def test_grey_gives_the_bits_of_the_same_picture_in_colour(size: tuple[int, int]) -> None:
    grey = np.random.default_rng(0).integers(0, 255, (480, 640), np.uint8)
    setup = replace(DSEC, size=size)
    tensor = setup.image_tensor(grey)
    assert torch.equal(tensor, setup.image_tensor(np.repeat(grey[..., None], 3, 2)))
    assert tensor.stride() == setup.image_tensor(np.zeros((480, 640, 3), np.uint8)).stride()


@pytest.mark.parametrize("mode", ["bilinear", "binned"])
@pytest.mark.parametrize("size", [(240, 320), (200, 346), (439, 640), (440, 640), (500, 700)])
def test_a_grid_is_resized_as_torch_does(mode: str, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    t_ns = np.sort(rng.integers(0, 10**8, 50_000))
    x, y, p = rng.integers(0, 640, 50_000), rng.integers(0, 480, 50_000), rng.integers(0, 2, 50_000)
    events, setup = Events.from_arrays(x, y, t_ns, p, height=480, width=640), replace(DSEC, size=size, voxel_mode=mode)
    whole = voxel_grid(events, 10, mode)[None, :, :440]
    how: dict[str, Any] = {"mode": "area"} if size[0] <= 440 else {"mode": "bilinear", "align_corners": False}
    grid = setup.voxel_tensor(events, None)
    torch.testing.assert_close(grid, F.interpolate(whole, size, **how)[0], rtol=1e-5, atol=1e-5)
    assert torch.equal(grid, setup.voxel_tensor(events, None, torch.empty(10, 480, 640)))


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.float32), np.zeros((4, 4, 4), np.uint8)])
def test_other_arrays_are_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        DDD17.image_tensor(image)


def test_a_mask_goes_back_to_its_place_and_the_bonnet_is_none() -> None:
    ids = np.arange(6, dtype=np.uint8).repeat(20)[:, None].repeat(173, 1)[:100]
    view = replace(DDD17, size=(100, 173)).mask_in_view(ids, (520, 692))
    assert view.shape == (520, 692)
    assert (view[400:] == 255).all()
    assert (view[:80] == 0).all()
    assert (view[80:160] == 1).all()


def test_it_survives_a_checkpoint_header() -> None:
    for setup in (DDD17, DSEC):
        assert Preprocessing.from_dict(setup.to_dict()) == setup


def test_a_preset_has_it_at_every_size_and_number_of_channels() -> None:
    assert preset_preprocessing("mambaseg_nano", size=(24, 32), channels=1) == replace(DSEC, size=(24, 32), channels=1)
    with pytest.raises(ValueError, match=r"unknown model 'unet'; known models: mambaseg_ddd17, mambaseg_dsec"):
        preset_preprocessing("unet", size=(1, 1), channels=1)


def test_the_second_input_is_events_or_a_picture_and_travels_with_the_checkpoint() -> None:
    setup = picture_preprocessing((2, 3), second="depth", repeat=4, second_range=(1000.0, 3000.0))
    metres = np.array([[0, 1, 2], [3, np.nan, np.inf]], np.float32)
    expected = torch.tensor([[0, 0, 0.5], [1, 0, 0]])
    assert torch.equal(setup.second_tensor(1000 * metres), expected.repeat(4, 1, 1))
    assert Preprocessing.from_dict(json.loads(json.dumps(setup.to_dict()))) == setup
    old = {key: value for key, value in DSEC.to_dict().items() if not key.startswith("other")}
    assert Preprocessing.from_dict(old) == DSEC
    with pytest.raises(ValueError, match=r"second input is an image \[2, 3\]; this model expects events"):
        DSEC.second_input(metres, None, None)
    with pytest.raises(ValueError, match="second input is events; this model expects depth"):
        setup.second_input(Events.from_arrays([], [], [], [], height=2, width=3), None, None)


@pytest.mark.parametrize("value", [0, 7, 14, 20, 255])
@pytest.mark.parametrize(("size", "second"), [((512, 640), "thermal"), ((600, 800), "depth")])
def test_a_picture_of_one_value_stays_one_value_at_another_size(size: tuple[int, int], second: str, value: int) -> None:
    """OpenCV's mean of floats differs in the last bit; with it, a covered camera would count as uncovered."""
    setup = picture_preprocessing((480, 640), second=second)
    tensor = setup.second_tensor(np.full(size, value, np.uint8 if second == "thermal" else np.uint16))
    assert tensor.shape == (3, 480, 640)
    assert tensor.unique().tolist() == [pytest.approx(value / 255)]

"""Class ids as pictures, against exact arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mambaseg_core.labels import DSEC_11, IGNORE, LABEL_SETS, LabelSet

SIZE = (37, 53)


def ids_of(labels: LabelSet) -> np.ndarray:
    """Every id, those without a class too."""
    return np.resize(np.arange(256, dtype=np.uint8), SIZE)


def picture(channels: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*SIZE, *channels), dtype=np.uint8)


@pytest.mark.parametrize("labels", LABEL_SETS.values(), ids=LABEL_SETS)
def test_every_id_has_its_color_and_those_without_a_class_are_black(labels: LabelSet) -> None:
    ids = ids_of(labels)
    colors = labels.color_mask(ids)
    assert (colors.shape, colors.dtype) == ((*SIZE, 3), np.uint8)
    for row in range(SIZE[0]):
        for column in range(SIZE[1]):
            number = int(ids[row, column])
            expected = labels.colors[number] if number < len(labels.colors) else (0, 0, 0)
            assert tuple(colors[row, column].tolist()) == expected


@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.3, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("channels", [(3,), ()], ids=["rgb", "gray"])
def test_an_overlay_is_the_exact_blend_rounded(alpha: float, channels: tuple[int, ...]) -> None:
    image, ids = picture(channels), ids_of(DSEC_11)
    before = image.copy()
    rgb = image if channels else np.stack([image] * 3, axis=-1)
    exact = rgb * (1.0 - alpha) + DSEC_11.color_mask(ids) * alpha
    blend = DSEC_11.overlay(image, ids, alpha=alpha)
    seen = ids < len(DSEC_11.classes)
    assert (blend.shape, blend.dtype) == (rgb.shape, np.uint8)
    assert np.abs(blend - exact)[seen].max() <= 0.5 + 1e-4
    np.testing.assert_array_equal(blend[~seen], rgb[~seen])
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize(
    "cut",
    [
        lambda a: a[::2, 1::3],
        lambda a: a[:, ::-1],
        lambda a: a[5:, 7:],
        lambda a: np.swapaxes(a, 0, 1),
        lambda a: a[3:4, 2:3],
    ],
)
def test_parts_and_turned_pictures_are_blended_as_their_copies(cut: Any) -> None:
    image, ids = cut(picture((3,))), cut(ids_of(DSEC_11))
    image.flags.writeable = ids.flags.writeable = False  # buffers of messages
    expected = DSEC_11.overlay(np.ascontiguousarray(image), np.ascontiguousarray(ids))
    np.testing.assert_array_equal(DSEC_11.overlay(image, ids), expected)


def test_a_picture_without_a_class_stays_what_it_is() -> None:
    image = picture((3,))
    np.testing.assert_array_equal(DSEC_11.overlay(image, np.full(SIZE, IGNORE, np.uint8)), image)


def test_shares_are_counted_over_pixels_with_a_class() -> None:
    ids = np.array([[0, 0, 5, IGNORE], [5, 5, 10, 200]], np.uint8)
    assert DSEC_11.shares(ids) == pytest.approx([2 / 6, 0, 0, 0, 0, 3 / 6, 0, 0, 0, 0, 1 / 6])
    assert DSEC_11.shares(ids[:, ::2]) == pytest.approx([1 / 4, 0, 0, 0, 0, 2 / 4, 0, 0, 0, 0, 1 / 4])
    assert DSEC_11.shares(np.full(SIZE, IGNORE, np.uint8)) == [0.0] * 11

from __future__ import annotations

from mambaseg_core.data.loading import evenly, layout_of
from mambaseg_core.models.presets import preset_preprocessing
from mambaseg_core.preprocessing import picture_preprocessing


def test_samples_are_evenly_spread() -> None:
    assert evenly(10, 0) == evenly(10, 12) == list(range(10))
    assert evenly(11, 3) == [0, 5, 10]


def test_the_layout_is_that_of_the_labels_and_the_second_input() -> None:
    assert layout_of(preset_preprocessing("mambaseg_dsec", size=(48, 64), channels=3)) == "dsec"
    assert layout_of(preset_preprocessing("mambaseg_ddd17", size=(48, 64), channels=1)) == "ddd17"
    assert layout_of(picture_preprocessing((48, 64))) == "rgbx"

"""Which rows of the view a run cuts, by layout and by whose recordings they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mambaseg_core.data.dsec_dataset import SPLITS
from mambaseg_core.preprocessing import DDD17, DSEC
from mambaseg_core.training.config import DataConfig, read_config
from mambaseg_core.training.data import make_preprocessing

RECIPES = Path(__file__).parents[2] / "config" / "train"


def root_with(tmp_path: Path, names: list[str]) -> str:
    (tmp_path / "splits.yaml").write_text(f"train: {names}\ntest: [elsewhere]\n")
    return str(tmp_path)


def test_the_published_data_sets_keep_their_published_crop(tmp_path: Path) -> None:
    assert make_preprocessing(DataConfig()) == DSEC
    assert make_preprocessing(DataConfig(root=str(tmp_path))).crop_bottom == 40  # DSEC-Semantic's split
    some = root_with(tmp_path, [*SPLITS["train"][:2], "interlaken_00_c"])
    assert make_preprocessing(DataConfig(root=some)).crop_bottom == 40
    ddd17 = DataConfig(layout="ddd17", size=(200, 346), channels=1)
    assert make_preprocessing(ddd17) == DDD17
    for name in ("dsec", "ddd17"):
        assert make_preprocessing(read_config(RECIPES / f"{name}.yaml").data).crop_bottom > 0


@pytest.mark.parametrize("names", [["day_00"], ["zurich_city_00_a", "my_street"], ["zurich_city_00_a_2"]])
def test_other_recordings_in_dsecs_layout_are_not_cropped(tmp_path: Path, names: list[str]) -> None:
    setup = make_preprocessing(DataConfig(root=root_with(tmp_path, names)))
    assert (setup.crop_bottom, setup.kept_rows(480), setup.kept_rows(260)) == (0, 480, 260)


def test_the_crop_is_as_configured(tmp_path: Path) -> None:
    root = root_with(tmp_path, ["day_00"])
    assert make_preprocessing(DataConfig(root=root, crop_bottom=40)) == DSEC
    assert make_preprocessing(DataConfig(crop_bottom=0)).crop_bottom == 0
    assert make_preprocessing(DataConfig(layout="ddd17", crop_bottom=0)).crop_bottom == 0
    pairs = DataConfig(layout="rgbx", second="depth", size=(48, 64))
    assert make_preprocessing(pairs).crop_bottom == 0
    assert make_preprocessing(DataConfig(layout="rgbx", second="depth", size=(48, 64), crop_bottom=8)).crop_bottom == 8
    with pytest.raises(ValueError, match=r"data\.crop_bottom is 480 of the 480 rows of a view, expected fewer"):
        make_preprocessing(DataConfig(crop_bottom=480))


def test_a_crop_that_leaves_no_row_of_a_small_view_is_refused() -> None:
    setup = make_preprocessing(DataConfig(layout="pictures", inputs="image", crop_bottom=475))
    assert setup.kept_rows(480) == 5
    with pytest.raises(
        ValueError, match=r"the crop of 475 of 480 rows leaves none of a view's 24, expected some; lower"
    ):
        setup.image_tensor(np.zeros((24, 32, 3), np.uint8))


def test_the_recipe_of_made_up_drives_sees_the_whole_view() -> None:
    assert make_preprocessing(read_config(RECIPES / "synthetic.yaml").data).crop_bottom == 0

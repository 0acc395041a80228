from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mambaseg_core.cli.train import parse_changes
from mambaseg_core.labels import LABEL_SETS
from mambaseg_core.training.config import OptimizerConfig, parse_config, read_config
from mambaseg_core.training.data import make_preprocessing
from mambaseg_core.training.module import learning_rate

ROOT = Path(__file__).parents[2]


def test_every_shipped_recipe_is_read_and_holds_the_papers_numbers() -> None:
    paths = sorted((ROOT / "config" / "train").glob("*.yaml"))
    recipes = {path.stem: read_config(path) for path in paths}
    assert list(recipes) == [
        "ddd17",
        "dsec",
        "mfnet",
        "nyu",
        "pictures",
        "pst900",
        "sunrgbd",
        "synthetic",
        "synthetic_thermal",
    ]
    ddd17, dsec, synthetic = recipes["ddd17"], recipes["dsec"], recipes["synthetic"]
    assert (ddd17.loop.epochs, ddd17.loop.batch, ddd17.optimizer.lr, ddd17.data.size) == (60, 12, 2e-4, (200, 346))
    assert (dsec.loop.epochs, dsec.loop.batch, dsec.optimizer.lr, dsec.data.size) == (60, 4, 6e-5, (440, 640))
    assert synthetic.model.name == recipes["synthetic_thermal"].model.name == "mambaseg_nano"
    for name, pictures in (("mfnet", 1176), ("pst900", 597), ("nyu", 795), ("sunrgbd", 5285)):
        recipe = recipes[name]
        assert (recipe.optimizer.lr, recipe.optimizer.weight_decay, recipe.optimizer.schedule) == (6e-5, 0.01, "poly")
        assert (recipe.loop.epochs, recipe.loop.batch) == (500, 8)
        assert recipe.optimizer.warmup == 10 * math.ceil(pictures / 8)
        assert recipe.data.labels in LABEL_SETS
        assert recipe.data.second == ("depth" if name in ("nyu", "sunrgbd") else "thermal")
        assert make_preprocessing(recipe.data).bins == 3


def test_poly_falls_by_the_power_of_nine_tenths_after_the_warm_up() -> None:
    optimizer = OptimizerConfig(lr=2.0, schedule="poly", warmup=10)
    assert learning_rate(optimizer, 4, 110) == pytest.approx(1.0)
    assert learning_rate(optimizer, 10, 110) == 2.0
    assert learning_rate(optimizer, 60, 110) == pytest.approx(2 * 0.5**0.9)
    assert learning_rate(optimizer, 110, 110) == 0.0


def test_plain_values_and_back(values: dict[str, Any]) -> None:
    config = parse_config(values, {"data.scale": [0.5, 2]})
    assert config.data.scale == (0.5, 2.0)
    assert parse_config(config.to_dict(), {}) == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer.learning_rate": 1e-3}, r"optimizer\.learning_rate is unknown; did you mean .* Known: lr,"),
        ({"loop.step": 3}, r"loop\.step is unknown; did you mean steps\?"),
        ({"optimiser.lr": 1e-3}, r"section optimiser is unknown; did you mean optimizer\?"),
        ({"loop.steps": 0}, r"loop\.epochs is 0 and loop\.steps is 0; expected one of them"),
        ({"loop.epochs": 3}, r"loop\.epochs is 3 and loop\.steps is 6"),
        ({"loop.batch": 2.5}, r"loop\.batch is 2\.5; expected int"),
        ({"data.image_age_ms": -1}, r"data\.image_age_ms is -1\.0; expected a number from 0 to 10000"),
        ({"data.image_age_ms": math.nan}, r"data\.image_age_ms is nan; expected a number from 0 to 10000"),
        ({"data.image_age_ms": [0, 100]}, r"data\.image_age_ms is \[0, 100\]; expected float"),
        (
            {"data.layout": "rgbx", "data.second": "thermal", "data.window_ms": 0, "data.image_age_ms": 100},
            r"data\.image_age_ms is 100 with data\.layout 'rgbx', whose images have no times; expected 0",
        ),
        ({"loop.batch": True}, r"loop\.batch is True; expected int"),
        ({"optimizer.lr": "1e-4"}, r"optimizer\.lr is '1e-4'; expected float \(YAML reads 1e-4 as text: write 1\.0e-4"),
        ({"optimizer.lr": -1.0}, r"optimizer\.lr is -1\.0; expected a number from"),
        ({"data.size": [64]}, r"data\.size is \[64\]; expected a list of two"),
        ({"data.crop": [0, 48]}, r"data\.crop is \[0, 48\]; expected \[height, width\]"),
        ({"data.scale": [2, 1]}, r"data\.scale is \[2\.0, 1\.0\]"),
        ({"data.layout": "kitti"}, r"data\.layout is 'kitti'; expected one of 'dsec', 'ddd17'"),
        ({"data.inputs": "none"}, r"data\.inputs is 'none'"),
        ({"data.labels": "dsec_12"}, r"data\.labels is 'dsec_12'; expected one of None, 'dsec_11'"),
        ({"data.second": "thermal"}, r"data\.second is 'thermal'; expected one of 'events'"),
        ({"data.layout": "rgbx"}, r"data\.second is 'events'; expected one of 'thermal', 'depth'"),
        ({"data.layout": "rgbx", "data.second": "sonar"}, r"data\.second is 'sonar'; expected one of 'thermal'"),
        ({"data.layout": "rgbx", "data.second": "depth"}, r"data\.window_ms 50 with data\.layout 'rgbx'"),
        ({"data.second_range": [9, 3]}, r"data\.second_range is \[9\.0, 3\.0\]"),
        ({"data.second_channel": 3}, r"data\.second_channel is unknown; did you mean second_channels\?"),
        ({"loop.precision": "fp16"}, r"loop\.precision is 'fp16'"),
        ({"model.reliability": 1}, r"model\.reliability is 1; expected bool"),
        ({"model.weights": "a", "model.imagenet": "b"}, r"model\.weights is 'a' and model\.imagenet is 'b'"),
    ],
)
def test_a_bad_value_is_named(configure: Callable[..., Any], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        configure(changes)


def test_a_missing_key_is_named(values: dict[str, Any]) -> None:
    del values["optimizer"]["lr"]
    with pytest.raises(ValueError, match=r"section optimizer: missing 1 required.*'lr'"):
        parse_config(values, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a: [", "is not YAML"),
        (b"a: \xff", "is not YAML"),
        (b"a: 2026-13-45", "is not YAML"),
        (b"- 1", "holds a list"),
        (b"loop: 3", "loop is 3"),
    ],
)
def test_a_file_that_is_no_configuration_is_named(tmp_path: Path, text: bytes, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(text)
    with pytest.raises(ValueError, match=rf"bad\.yaml.*{message}"):
        read_config(path)


@pytest.mark.parametrize("word", ["loop.steps=[", "loop.steps", "steps=3"])
def test_a_word_that_sets_nothing_is_named(word: str) -> None:
    with pytest.raises(ValueError, match=rf"--set is {re.escape(repr(word))}; expected"):
        parse_changes([word])


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ValueError, match=r"nowhere\.yaml does not exist"):
        read_config("nowhere.yaml")

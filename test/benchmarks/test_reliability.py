"""The two scripts from end to end: train two networks with equal steps, judge them, go on, judge again."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import yaml

from mambaseg_core.checkpoint import load_checkpoint

MODELS = ["mambaseg_nano", "mambaseg_nano+reliability"]
TINY = [
    "--steps", "2", "--batch", "2", "--set", "data.size=[48,64]", "--set", "data.crop=[32,32]",
    "--set", "data.workers=0", "--set", "data.scale=[1,1]",
]  # fmt: skip


def call(script, *words):
    command = [sys.executable, str(script), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def runs(scripts, pairs, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    words = [pairs, "--models", *MODELS, "--out", out, "--device", "cpu", *TINY]
    return out, call(scripts / "reliability.py", *words), words


def rows(text):
    """Cells of the Markdown table's lines by their first one."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {line[0]: line[1:] for line in lines}


def test_both_are_trained_alike_and_judged(runs):
    out, result, _ = runs
    assert result.returncode == 0, result.stderr
    configs = [yaml.safe_load((out / f"{name}-0/config.yaml").read_text()) for name in MODELS]
    assert [config["model"].pop("reliability") for config in configs] == [False, True]
    assert configs[0] == configs[1]
    assert configs[0]["data"]["modality_dropout"] == 0  # no corruption in training
    assert (configs[0]["loop"]["steps"], configs[0]["data"]["second_channels"]) == (2, 10)
    made = [load_checkpoint(out / f"{name}-0/last.safetensors")[0] for name in MODELS]
    assert [model.reliability_aware for model in made] == [False, True]
    table = rows(result.stdout)
    assert table["corruption at test time"] == MODELS
    for column, name in enumerate(MODELS):
        found = json.loads((out / f"{name}-0/corrupted.json").read_text())
        assert (found["model"], found["seed"]) == (name, 0)
        for corruption, miou in found["miou"].items():
            assert table[corruption][column] == f"{100 * miou:.1f}"
    assert list(table)[1:] == [*found["miou"], "mean loss by corruption"]


def test_what_is_finished_is_not_repeated(scripts, runs):
    out, first, words = runs
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    again = call(scripts / "reliability.py", *words)
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before
    assert rows(again.stdout) == rows(first.stdout)


def test_the_same_checkpoints_are_judged_alike_alone(scripts, runs, pairs):
    out, first, _ = runs
    paths = [out / f"{name}-0/last.safetensors" for name in MODELS]
    result = call(scripts / "corruption.py", pairs, "--checkpoints", *paths, "--device", "cpu")
    assert result.returncode == 0, result.stderr
    found, expected = rows(result.stdout), rows(first.stdout)
    assert found.pop("corruption at test time") == list(map(str, paths))
    del expected["corruption at test time"]
    assert found == expected


def test_how_far_each_modality_is_trusted(scripts, runs, pairs):
    out, _, _ = runs
    path = out / "mambaseg_nano+reliability-0/last.safetensors"
    result = call(scripts / "corruption.py", pairs, "--checkpoints", path, "--device", "cpu", "--trust")
    assert result.returncode == 0, result.stderr
    table = {name: [float(x) for x in cells[0].split(" / ")] for name, cells in list(rows(result.stdout).items())[1:]}
    assert len(table) == 8
    assert all(0 < x < 1 for x in table["clean"])
    assert table["image missing"][0] == table["second missing"][1] == 0
    assert table["image missing"][1] > 0 < table["second missing"][0]


def test_another_option_than_reliability_is_named(scripts, pairs, tmp_path):
    result = call(scripts / "reliability.py", pairs, "--models", "mambaseg_nano+trust", "--out", tmp_path)
    assert result.returncode != 0
    assert "--models has 'mambaseg_nano+trust'; expected NAME or NAME+reliability" in result.stderr

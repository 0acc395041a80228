"""The comparison at equal training: who takes part, the ledger, the bootstrap, and a run that is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import compare as script
import numpy as np
import pytest
import torch
import yaml
from equal_training import runs
from equal_training.bootstrap import compare
from equal_training.contenders import GROUPS, SIZE, register_contenders
from equal_training.ledger import Entry, Ledger, protocol_of
from equal_training.runs import configuration, locked, pace, profile_of
from equal_training.tables import tables
from safetensors.torch import load_file

from mambaseg_core.models import presets
from mambaseg_core.training.config import TrainConfig, parse_config, read_config
from mambaseg_core.training.module import SegmentationModule

LEARNING = Path(script.__file__).parent
NANO = {contender.name: contender for contender in GROUPS["nano"]}
TINY: dict[str, dict[str, Any]] = {
    "model": {"name": "mambaseg_nano"},
    "data": {
        "size": [32, 48],
        "window_ms": 50,
        "image_age_ms": 100,
        "workers": 0,
        "modality_dropout": 0.5,
        "scale": [1.0, 1.5],
    },
    "optimizer": {"lr": 1.0e-3, "warmup": 2, "clip": 1.0},
    "loop": {"steps": 4, "batch": 2, "checkpoint_every": 2, "log_every": 1, "validate_samples": 1},
}
# step 4 of 4 is not done yet
KILLED = """
import os, signal, sys
import compare
from mambaseg_core.training.module import SegmentationModule

step = SegmentationModule.training_step

def dying(self, batch, batch_idx):
    if self.global_step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, batch, batch_idx)

SegmentationModule.training_step = dying
compare.main(sys.argv[1:])
"""


@pytest.fixture(autouse=True)
def contenders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the contenders for one test: other tests run over all presets."""
    monkeypatch.setattr(presets, "PRESETS", dict(presets.PRESETS))
    register_contenders()


@pytest.fixture
def config() -> TrainConfig:
    return read_config(LEARNING / "equal_training.yaml")


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY))
    return path


def words(data: Path, tiny: Path, folder: Path, *more: object) -> list[str]:
    given = (data, "--config", tiny, "--out", folder / "runs", "--ledger", folder / "ledger", "--seeds", 0, *more)
    return [str(word) for word in given]


# -- contenders


def test_the_released_fusion_has_the_same_widths_or_the_same_parameters(config: TrainConfig) -> None:
    found = {name: profile_of(config, contender) for name, contender in NANO.items()}
    assert config.data.size == SIZE
    ours = found["mambaseg_nano"].parameters
    assert found["released_fusion_slim"].parameters == pytest.approx(ours, rel=0.02)
    assert found["addition"].parameters < ours < found["released_fusion"].parameters
    assert found["image_only"] == found["events_only"] == found["mambaseg_nano"]


def test_the_networks_of_the_same_widths_differ_in_their_fusion_only(config: TrainConfig) -> None:
    shapes = {}
    for name in ("mambaseg_nano", "released_fusion", "addition"):
        with torch.device("meta"):
            model = runs.create_model(NANO[name].model, image_size=SIZE)
        shapes[name] = {key: x.shape for key, x in model.state_dict().items() if not key.startswith("ddims.")}
        assert [key for key in model.state_dict() if key.startswith("ddims.")] or name == "addition"
    assert shapes["mambaseg_nano"] == shapes["released_fusion"] == shapes["addition"]


def test_all_contenders_train_on_the_same_samples_in_the_same_order(
    streets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mambaseg_core.training.run import train

    values = {**TINY, "data": {**TINY["data"], "root": str(streets)}}
    base = parse_config(values, {"loop.steps": 2, "loop.batch": 3})
    seen: dict[str, list[Any]] = {}
    step = SegmentationModule.training_step
    for contender in (NANO["mambaseg_nano"], NANO["released_fusion"], NANO["image_only"]):
        found = seen.setdefault(contender.name, [])

        def spy(self: Any, batch: Any, number: int, found: list[Any] = found) -> Any:
            found.append((batch.index, batch.label.sum().item(), batch.covered, batch.image.sum().item()))
            return step(self, batch, number)

        monkeypatch.setattr(SegmentationModule, "training_step", spy)
        train(configuration(base, contender, 0), tmp_path / contender.name, accelerator="cpu", progress=False)
    assert seen["mambaseg_nano"] == seen["released_fusion"]
    assert any(any(one) for batch in seen["mambaseg_nano"] for one in batch[2])  # an input was blanked
    assert [batch[:2] for batch in seen["image_only"]] == [batch[:2] for batch in seen["mambaseg_nano"]]
    assert not any(any(one) for batch in seen["image_only"] for one in batch[2])


# -- bootstrap


def counts(iou: list[list[float]], pixels: int = 1000) -> np.ndarray:
    """Return counts [S, Q, 3, 1] of one class whose predictions are right, and cover this share of the truth."""
    share = np.array(iou)
    hits = np.round(share * pixels)
    return np.stack([hits, np.full(share.shape, pixels), hits], axis=-1)[..., None]


def test_equal_networks_differ_by_nothing() -> None:
    one = counts([[0.5, 0.7, 0.2], [0.4, 0.6, 0.1]])
    found = compare(one, one, ["day"] * 3)
    assert (found.value, found.low, found.high, found.verdict) == (0, 0, 0, "not worse")


def test_a_difference_that_is_the_same_everywhere_has_no_spread() -> None:
    theirs = counts([[0.5, 0.7, 0.2], [0.4, 0.6, 0.1]])
    ours = counts([[0.6, 0.8, 0.3], [0.5, 0.7, 0.2]])
    found = compare(ours, theirs, ["day", "day", "night"])
    assert [found.value, found.low, found.high] == pytest.approx([0.1] * 3)
    assert found.verdict == "better"
    assert compare(theirs, ours, ["day"] * 3).verdict == "not shown"


def test_the_spread_of_sequences_and_of_seeds_by_hand() -> None:
    # one of two sequences is drawn: +0.1 or -0.1
    found = compare(counts([[0.6, 0.4]]), counts([[0.5, 0.5]]), ["day", "day"])
    assert [found.value, found.low, found.high] == pytest.approx([0, -0.1, 0.1])
    # two of three seeds: -0.3 in one draw of nine
    found = compare(counts([[0.2], [0.5], [0.8]]), counts([[0.5]] * 3), ["day"])
    assert [found.value, found.low, found.high] == pytest.approx([0, -0.3, 0.3])
    # both: seeds add 0.3 and sequences 0.1
    ours = counts([[0.3, 0.1], [0.6, 0.4], [0.9, 0.7]])
    found = compare(ours, counts([[0.5, 0.5]] * 3), ["day", "day"])
    assert [found.value, found.low, found.high] == pytest.approx([0, -0.4, 0.4])


def test_one_less_is_drawn_than_there_are() -> None:
    """Three of four, one of which is 0.1 ahead: it is drawn twice or more with 5/32, three times with 1/64."""
    found = compare(counts([[0.6, 0.5, 0.5, 0.5]]), counts([[0.5] * 4]), ["day"] * 4)
    assert [found.value, found.low, found.high] == pytest.approx([0.025, 0, 0.2 / 3])


def test_every_draw_has_all_conditions() -> None:
    found = compare(counts([[0.6, 0.4]]), counts([[0.5, 0.5]]), ["day", "night"])
    assert [found.value, found.low, found.high] == pytest.approx([0, 0, 0])


def test_a_pair_is_drawn_together() -> None:
    """Sequences differ widely, and both networks alike: what they share is no spread of the difference."""
    theirs = counts([[0.1, 0.3, 0.5, 0.7, 0.9]])
    found = compare(theirs + counts([[0.004] * 5], 1000) * [[1], [0], [1]], theirs, ["day"] * 5)
    assert [found.low, found.high] == pytest.approx([0.004, 0.004])


# -- ledger


@pytest.fixture
def entry() -> Entry:
    return Entry(
        contender="mambaseg_nano",
        seed=0,
        parameters=10,
        macs=20,
        protocol={"loop.steps": 3000, "data.size": [120, 160]},
        data={"train": {"events": 1_000_000, "images": 300}, "test": {"events": 500_000, "images": 100}},
        made={"step_s": 0.4, "commits": ["abc"]},
        conditions={"night_00": "night", "day_00": "day"},
        judged={
            "both": {"day_00": [[6], [10], [8]], "night_00": [[5], [10], [5]]},
            "both, dark": {"night_00": [[2], [4], [2]]},
        },
    )


def test_an_entry_is_read_as_it_was_written(entry: Entry, tmp_path: Path) -> None:
    assert list(Ledger(tmp_path / "ledger")) == []
    Ledger(tmp_path / "ledger").add(entry)
    found = Ledger(tmp_path / "ledger")
    assert list(found) == [entry]
    assert (found.has("mambaseg_nano", 0), found.has("mambaseg_nano", 1)) == (True, False)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"protocol": {"loop.steps": 1500, "data.size": [120, 160]}},
            r"loop\.steps is 1500, but .* have 3000; expected",
        ),
        ({"protocol": {"loop.steps": 3000}}, r"data\.size is None, but .* have \[120, 160\]"),
        (
            {"data": {"train": {"events": 1_002_000, "images": 300}, "test": {"events": 500_000, "images": 100}}},
            "the number of events in train is 1002000, but .* have 1000000",
        ),
        (
            {"data": {"train": {"events": 1_000_000, "images": 300}, "test": {"events": 500_000, "images": 101}}},
            "the number of images in test is 101",
        ),
        ({"parameters": 11}, "the number of parameters of mambaseg_nano is 11, but .* have 10"),
    ],
)
def test_runs_that_do_not_belong_together_are_not_mixed(
    entry: Entry, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    Ledger(tmp_path).add(entry)
    other = replace(entry, seed=1, **changes)
    with pytest.raises(ValueError, match=sentence):
        Ledger(tmp_path).add(other)
    assert len(list(tmp_path.iterdir())) == 1
    (tmp_path / other.file_name).write_text(json.dumps(other.__dict__))  # put there by hand
    with pytest.raises(ValueError, match="expected the same"):
        Ledger(tmp_path)


def test_a_copy_of_the_data_that_another_processor_made_is_the_same(entry: Entry, tmp_path: Path) -> None:
    Ledger(tmp_path).add(entry)
    data = {"train": {"events": 1_000_900, "images": 300}, "test": {"events": 499_600, "images": 100}}
    Ledger(tmp_path).add(replace(entry, seed=1, data=data))
    assert len(list(Ledger(tmp_path))) == 2


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"contender": 1}'])
def test_a_file_that_is_no_entry_is_named(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a-0.json").write_text(text)
    assert script.main(["--table", "--ledger", str(tmp_path)]) == 2
    assert "a-0.json is no finished run" in capsys.readouterr().err


def test_an_entry_under_another_name_is_refused(entry: Entry, tmp_path: Path) -> None:
    Ledger(tmp_path).add(entry)
    (tmp_path / entry.file_name).rename(tmp_path / "mambaseg_nano-1.json")
    with pytest.raises(ValueError, match=r"holds the run mambaseg_nano-0\.json; expected its own name"):
        Ledger(tmp_path)


def test_a_protocol_has_what_changes_weights_and_nothing_of_one_run(config: TrainConfig) -> None:
    found = protocol_of(config)
    assert found["loop.steps"] == 2500
    assert found["data.size"] == [120, 160]
    other = configuration(config, NANO["released_fusion"], 7)
    other = replace(other, data=replace(other.data, root="/elsewhere", workers=3, cache="/cache"))
    assert protocol_of(other) == found
    assert "data.cover" not in found  # as by default, as in a ledger from before there was this key


def test_the_table_by_hand(entry: Entry, tmp_path: Path) -> None:
    Ledger(tmp_path).add(entry)
    judged = {"both": {"day_00": [[5], [10], [5]], "night_00": [[5], [10], [5]]}}
    Ledger(tmp_path).add(replace(entry, contender="addition", judged=judged))
    lines = tables(Ledger(tmp_path), GROUPS["nano"])
    assert "| mambaseg_nano | both | 1 | 50.0 | 50.0 | 50.0 |" in lines  # 11 of 22, 5 of 10, 6 of 12
    assert "| mambaseg_nano | both, dark | 1 | 50.0 | 50.0 | - |" in lines  # no dark pixel by day
    assert "| addition | both | 1 | +0.0 [+0.0, +0.0] | not worse | +0.0 [+0.0, +0.0] | +0.0 [+0.0, +0.0] |" in lines


def test_the_time_of_a_step_is_not_that_of_an_interruption(tmp_path: Path) -> None:
    marks = [(10, 4.0), (20, 8.0), (30, 3.0), (40, 7.5)]  # resumed after step 20
    lines = [json.dumps({"step": step, "loss": 1.0, "seconds": seconds}) for step, seconds in marks]
    (tmp_path / "metrics.jsonl").write_text("\n".join([*lines, json.dumps({"step": 40, "validation": {}})]))
    assert pace(tmp_path / "metrics.jsonl") == 0.425


# -- runs


def test_a_run_is_held_by_one_process(tmp_path: Path) -> None:
    with locked(tmp_path / "run") as first, locked(tmp_path / "run") as second:
        assert (first, second) == (True, False)
    with locked(tmp_path / "run") as again:
        assert again


def test_a_killed_run_goes_on_to_the_same_weights_and_a_finished_one_is_not_repeated(
    streets: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = words(streets, tiny, tmp_path / "killed", "--contenders", "released_fusion")
    around = {**os.environ, "PYTHONPATH": os.pathsep.join([str(LEARNING), *sys.path])}
    ended = subprocess.run([sys.executable, "-c", KILLED, *killed], env=around, timeout=300, check=False)
    assert ended.returncode == -signal.SIGKILL
    folder = tmp_path / "killed" / "runs" / "released_fusion-0"
    assert (folder / "resume.pt").is_file()
    assert not list((tmp_path / "killed").glob("ledger/*"))
    assert script.main(killed) == 0
    assert script.main(words(streets, tiny, tmp_path / "whole", "--contenders", "released_fusion")) == 0
    first, second = (
        load_file(tmp_path / name / "runs" / "released_fusion-0" / "last.safetensors") for name in ("killed", "whole")
    )
    assert first.keys() == second.keys()
    assert all(torch.equal(tensor, second[key]) for key, tensor in first.items())
    (mine,), (whole,) = (list(Ledger(tmp_path / name / "ledger")) for name in ("killed", "whole"))
    assert replace(mine, made={}) == replace(whole, made={})
    assert mine.judged.keys() >= {"both", "both, 100 ms", "image", "second"}
    assert mine.judged["both, 100 ms"] != mine.judged["both"]
    assert mine.conditions == {"street_b": "day"}
    assert mine.judged["both"]["street_b"][1] == mine.judged["image"]["street_b"][1]  # the same truth
    assert mine.judged["both"] != mine.judged["image"]

    monkeypatch.setattr("mambaseg_core.training.run.train", lambda *_, **__: pytest.fail("it was trained again"))
    for part in sorted(folder.iterdir(), reverse=True):  # elsewhere there is the ledger only
        part.unlink() if part.is_file() else None
    assert script.main(killed) == 0


def test_another_protocol_is_refused_before_it_is_trained(
    streets: Path, tiny: Path, tmp_path: Path, entry: Entry, capsys: pytest.CaptureFixture[str]
) -> None:
    Ledger(tmp_path / "ledger").add(entry)
    for name in ("addition", entry.contender):  # a finished run of another protocol answers for none of this one
        assert script.main(words(streets, tiny, tmp_path, "--contenders", name)) == 2
        assert "; expected the same: set it so, or choose another folder with --ledger" in capsys.readouterr().err
    assert not list((tmp_path / "runs").rglob("resume.pt"))


def test_two_processes_share_the_runs(
    streets: Path, tiny: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    given = words(
        streets, tiny, tmp_path, "--contenders", "addition", "image_only", "--jobs", 2, "--set", "loop.steps=1"
    )
    assert script.main(given) == 0
    assert sorted(path.name for path in (tmp_path / "ledger").iterdir()) == ["addition-0.json", "image_only-0.json"]
    assert capfd.readouterr().out.count("| network | | parameters, M |") == 1


def test_unknown_contenders_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        script.main([str(tmp_path), "--contenders", "nano"])
    assert "--contenders has nano; expected some of mambaseg_nano, released_fusion" in capsys.readouterr().err

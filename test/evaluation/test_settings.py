"""Several ages and inputs in one evaluation: who is judged on what, and what the report says of it."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mambaseg_core.checkpoint import create_model, save_checkpoint
from mambaseg_core.data.dataset import AgedSample, RecordingDataset, SampleDataset
from mambaseg_core.data.dsec import DsecSequence
from mambaseg_core.data.loading import open_dataset
from mambaseg_core.data.sample import Sample
from mambaseg_core.evaluation.aged_batches import aged_batches
from mambaseg_core.evaluation.evaluate import AGES_MS, PARTS, evaluate
from mambaseg_core.evaluation.metrics import RESAMPLES, confusion_matrix
from mambaseg_core.evaluation.prior import PositionPrior
from mambaseg_core.evaluation.regions import REGIONS, changed_region, find_regions
from mambaseg_core.evaluation.report import to_json, write_html, write_json
from mambaseg_core.evaluation.results import Setting
from mambaseg_core.evaluation.tables import (
    age_sentences,
    condition_rows,
    percent,
    prior_sentence,
    region_rows,
    setting_head,
    summary_rows,
)
from mambaseg_core.training.config import DataConfig
from mambaseg_core.training.data import make_preprocessing

SETUP = make_preprocessing(DataConfig(size=(64, 96), window_ms=50))
MS = 1_000_000


class Painted(nn.Module):
    """Predicts the class that is painted: with both inputs the events', else the one of the input that is there."""

    def forward(self, image: Tensor, second: Tensor) -> Tensor:
        seen = (255 * image[:, 0]).round().long() // 20
        felt = second.sum(1).round().long()
        felt_there = (second.abs().sum((1, 2, 3)) > 0)[:, None, None]
        ids = torch.where(felt_there, felt, seen).clamp(0, 10)
        return torch.nn.functional.one_hot(ids, 11).permute(0, 3, 1, 2).float()


def picture(ids: Tensor) -> Tensor:
    return (20 * ids.clamp(max=10) / 255).float().expand(3, -1, -1)


def painted(ids: Tensor, felt: Tensor, name: str, condition: str, number: int) -> Sample:
    second = torch.zeros(10, *ids.shape)
    second[0] = felt
    return Sample(picture(ids), second, ids, 1000 * MS + number, name, number, condition)


class Streets(SampleDataset):
    """Four sequences of labels drawn at random, three samples each; the image of 33 ms shows the label before."""

    def __init__(self) -> None:
        super().__init__(SETUP)
        draw = torch.Generator().manual_seed(3)
        small = torch.randint(0, 11, (13, 8, 12), generator=draw)
        ids = small.repeat_interleave(8, 1).repeat_interleave(8, 2)
        ids[:, :, :2] = 255
        self.samples, self.before = [], []
        for number in range(12):
            name, condition = f"drive_{number // 3}", "night" if number < 6 else "day"
            felt = torch.where(torch.rand(64, 96, generator=draw) < 0.7, ids[number + 1].clamp(max=10), 2)
            self.samples.append(painted(ids[number + 1], felt, name, condition, number))
            self.before.append(ids[number])

    def __len__(self) -> int:
        return len(self.samples)

    def load(self, number: int) -> Sample:
        return self.samples[number]

    def at_ages(self, number: int, ages_ns: Sequence[int]) -> list[AgedSample | None]:
        sample, before = self.samples[number], self.before[number]
        old = replace(sample, image=picture(before), age_ns=34 * MS)
        aged = None if number % 3 == 0 else AgedSample(old, before)
        known = {0: AgedSample(sample), 33 * MS: aged}
        return [known.get(age_ns) for age_ns in ages_ns]


PRIOR = PositionPrior(torch.full((64, 96), 5), "train", 500, 812)


@pytest.fixture(scope="module")
def found() -> Any:
    return evaluate(Painted(), Streets(), keep=PARTS, ages_ms=[0, 33, 66], prior=PRIOR, examples=2, batch=5)


def test_each_setting_is_judged_on_its_inputs(found: Any) -> None:
    streets = Streets()
    assert list(found.tallies) == [Setting(age, inputs) for age in (0, 33, 66) for inputs in PARTS]
    for (age_ms, inputs), tally in found.tallies.items():
        expected = torch.zeros(11, 11, dtype=torch.int64)
        for number, sample in enumerate(streets.samples):
            if age_ms == 66 or (age_ms == 33 and number % 3 == 0):
                continue
            felt = sample.second[0].long()
            seen = sample.label if age_ms == 0 else streets.before[number]
            expected += confusion_matrix(felt if inputs != "image" else seen.clamp(max=10), sample.label, 11)
        assert torch.equal(tally.total(), expected), (age_ms, inputs)
    assert found.left_out == {0: 0, 33: 4, 66: 12}
    assert [found.tallies[Setting(age, "both")].count() for age in (0, 33, 66)] == [12, 8, 0]
    assert found.tallies[Setting(33, "image")].mean_age_ms == 34


def test_the_order_of_ages_and_inputs_and_the_batches_change_no_count(found: Any) -> None:
    other = evaluate(Painted(), Streets(), keep=["second", "image"], ages_ms=[33, 0], examples=12, batch=4)
    for setting, tally in other.tallies.items():
        for region in REGIONS:
            assert torch.equal(tally.matrices(region), found.tallies[setting].matrices(region))
    assert other.main is other.tallies[Setting(33, "second")]
    assert [example.title for example in other.examples][:2] == [
        "drive_0/1, night, image 34 ms old", "drive_0/2, night, image 34 ms old"
    ]  # fmt: skip
    assert len(other.examples) == 8


def test_regions_are_of_the_labels_time_and_the_same_for_all(found: Any) -> None:
    streets = Streets()
    for age_ms, numbers in ((0, range(12)), (33, [n for n in range(12) if n % 3])):
        pixels = dict.fromkeys(REGIONS, 0)
        for number in numbers:
            sample = streets.samples[number]
            inside = find_regions(sample.image, sample.label, SETUP.label_set)
            if age_ms:
                inside["changed"] = changed_region(streets.before[number], sample.label)
            for region, mask in inside.items():
                pixels[region] += int((mask & (sample.label != 255)).sum())
        for inputs in PARTS:
            tally = found.tallies[Setting(age_ms, inputs)]
            assert {region: int(tally.total(region).sum()) for region in REGIONS} == pixels
        assert pixels["changed"] == (0 if age_ms == 0 else pixels["changed"]) != pixels["all"]
    image = found.tallies[Setting(33, "image")]
    assert int(image.total("changed").diag().sum()) == 0  # the old image shows another class there
    assert found.tallies[Setting(0, "image")].scores("moving").accuracy == 1.0


def test_conditions_and_sequences_add_up(found: Any) -> None:
    tally = found.tallies[Setting(33, "both")]
    assert tally.conditions == ["day", "night"]
    assert tally.matrices().shape == (4, 11, 11)
    for region in REGIONS:
        parts = tally.total(region, "day") + tally.total(region, "night")
        assert torch.equal(parts, tally.total(region))
        assert torch.equal(tally.matrices(region).sum(0), parts)
    assert tally.count("night") == 4
    gain = found.gain(0, condition="night")
    both, image = (found.tallies[Setting(0, inputs)].scores(condition="night") for inputs in ("both", "image"))
    assert gain.miou == both.miou - image.miou < 0
    assert gain.interval[0] <= gain.miou <= gain.interval[1]
    assert found.gain(66) is None


def test_the_old_keys_and_the_first_setting_agree(found: Any) -> None:
    plain = evaluate(Painted(), Streets(), batch=12, examples=2)
    old, new = to_json(plain, {"data": "x"}), to_json(found, {"data": "x"})
    for key in ("data", "classes", "absent", "overall", "conditions", "confusion"):
        assert old[key] == new[key]
    assert old["position_prior"] is None
    assert [example.title for example in found.examples] == ["drive_0/0, night", "drive_3/11, day"]


def test_scores_json_holds_what_scores_are_made_of(found: Any, tmp_path: Path) -> None:
    write_json(tmp_path / "scores.json", found, {"checkpoint": "a [\n 1 ] b"})
    text = (tmp_path / "scores.json").read_text()
    values = json.loads(text)
    assert values == json.loads(json.dumps(to_json(found, {"checkpoint": "a [\n 1 ] b"})))
    assert text.count("\n") < 20_000
    assert [(one["age_ms"], one["inputs"]) for one in values["settings"]] == [
        (age, inputs) for age in (0, 33, 66) for inputs in PARTS
    ]
    one = values["settings"][3]
    assert (one["samples"], one["left_out"], one["mean_age_ms"]) == (8, 4, 34.0)
    assert list(one["regions"]) == list(REGIONS)
    boundary = one["regions"]["boundary"]
    assert [(s["condition"], s["name"]) for s in boundary["sequences"]] == [
        ("day", "drive_2"), ("day", "drive_3"), ("night", "drive_0"), ("night", "drive_1")
    ]  # fmt: skip
    night = boundary["conditions"]["night"]
    hits, truth, predicted = (
        torch.tensor([s[name] for s in boundary["sequences"] if s["condition"] == "night"]).sum(0)
        for name in ("hits", "truth", "predicted")
    )
    matrix = torch.tensor(night["confusion"])
    assert (hits.equal(matrix.diag()), truth.equal(matrix.sum(1)), predicted.equal(matrix.sum(0))) == (True,) * 3
    iou = (hits.double() / (truth + predicted - hits))[truth > 0]
    assert night["miou"] == float(iou.mean())
    empty = values["settings"][0]["regions"]["changed"]["conditions"]["all"]
    assert (empty["miou"], empty["accuracy"], empty["pixels"], empty["interval"]) == (None, None, 0, None)
    assert values["position_prior"]["conditions"]["all"]["accuracy"] > 0
    assert (values["position_prior"]["labels"], values["position_prior"]["available"]) == (500, 812)
    assert values["bootstrap"] == {"level": 0.95, "resamples": RESAMPLES, "seed": 0}


def test_tables_have_a_dash_and_not_zero_where_there_is_nothing(found: Any, tmp_path: Path) -> None:
    assert setting_head(found, "region")[3:] == (
        "pixels", "both", "image", "events", "position prior", "both - image"
    )  # fmt: skip
    rows = {row[:2]: row[2:] for row in region_rows(found)}
    assert rows["changed", "0"] == ("12", "0", "-", "-", "-", "-", "-")
    assert rows["all", "66"] == ("0", "0", "-", "-", "-", "-", "-")
    assert rows["all", "0"][3] == "100.00"
    conditions = condition_rows(found)
    assert [row[:3] for row in conditions] == [
        (name, age, count)
        for name, counts in (("all", "12 8 0"), ("day", "6 4 0"), ("night", "6 4 0"))
        for age, count in zip(("0", "33", "66"), counts.split(), strict=True)
    ]
    assert age_sentences(found) == [
        "Image age 33 ms: 8 images, 34.0 ms old in the mean; 4 of 12 samples have none and are left out.",
        "Image age 66 ms: no image is that old; 12 of 12 samples have none and are left out.",
    ]
    accuracy = 100 * found.prior_tally.scores().accuracy
    assert f"of 500 of 812 labels of the split 'train': accuracy {accuracy:.2f} %, mIoU " in prior_sentence(found)
    write_html(tmp_path / "report.html", found, {"inputs": list(PARTS), "ages_ms": [0.0, 33.0], "data": "a<b"})
    page = (tmp_path / "report.html").read_text()
    assert html.escape(prior_sentence(found)) in page
    assert "<td>both, image, second</td>" in page
    assert "<td>0, 33</td>" in page
    assert "<td>a&lt;b</td>" in page
    for region, text in REGIONS.items():
        assert f"<h3>{region}</h3>" in page
        assert html.escape(text) in page
    for sentence in age_sentences(found):
        assert sentence in page


def test_the_prior_is_judged_on_the_samples_of_each_age(found: Any) -> None:
    for age_ms in (0, 33, 66):
        both, prior = (dict(found.columns(age_ms))[name] for name in ("both", "position prior"))
        assert prior.samples == both.samples
        for region in REGIONS:
            assert torch.equal(prior.matrices(region).sum(2), both.matrices(region).sum(2))
    later = evaluate(Painted(), Streets(), ages_ms=[33], prior=PRIOR)
    assert to_json(later, {})["position_prior"]["conditions"]["all"]["samples"] == 8


def test_a_condition_without_labels_is_left_out_and_the_others_are_scored() -> None:
    streets = Streets()
    for number in range(6):  # by night
        streets.samples[number] = replace(streets.samples[number], label=torch.full((64, 96), 255))
    found = evaluate(Painted(), streets)
    assert list(found.by_condition) == ["day"]
    assert [row[:3] for row in summary_rows(found)] == [
        ("all", "12", row_of(found, "day")), ("day", "6", row_of(found, "day")), ("night", "6", "-")
    ]  # fmt: skip
    assert list(to_json(found, {})["conditions"]) == ["day"]


class Nights(Streets):
    """Streets whose nights have no older images."""

    def at_ages(self, number: int, ages_ns: Sequence[int]) -> list[AgedSample | None]:
        night = self.samples[number].condition == "night"
        return [
            None if night and ns else aged for ns, aged in zip(ages_ns, super().at_ages(number, ages_ns), strict=True)
        ]


def test_a_condition_that_the_first_age_has_not_is_in_the_table_of_all() -> None:
    found = evaluate(Painted(), Nights(), ages_ms=[33, 0])
    rows = [row[:3] for row in condition_rows(found)]
    assert rows[2:] == [("day", "33", "4"), ("day", "0", "6"), ("night", "33", "0"), ("night", "0", "6")]


def row_of(found: Any, condition: str) -> str:
    return percent(found.by_condition[condition].miou)


@pytest.mark.parametrize("ages", [[], [-1], [float("nan")], [0, 0], [1e9]])
def test_ages_that_cannot_be(ages: list[float]) -> None:
    with pytest.raises(ValueError, match=r"ages of the image are .* ms; expected one or more different numbers from 0"):
        evaluate(Painted(), Streets(), ages_ms=ages)


class Pairs(SampleDataset):
    """Samples without times of images, as pairs of two cameras have none."""

    def __init__(self) -> None:
        super().__init__(SETUP)
        self.streets = Streets()

    def __len__(self) -> int:
        return len(self.streets)

    def load(self, number: int) -> Sample:
        return self.streets.samples[number]


def test_where_images_have_no_times_older_ones_are_left_out() -> None:
    found = evaluate(Painted(), Pairs(), ages_ms=[0, 33])
    assert found.left_out == {0: 0, 33: 12}
    assert torch.equal(found.all_confusion, evaluate(Painted(), Streets()).all_confusion)


@pytest.mark.parametrize("keep", ["sound", [], ["both", "events"]])
def test_inputs_that_cannot_be(keep: Any) -> None:
    with pytest.raises(ValueError, match=r"keep is .*; expected one or more of both, image, second"):
        evaluate(Painted(), Streets(), keep=keep)


def test_workers_hand_over_few_tensors() -> None:
    """A tensor from a worker takes an open file, of which a process has about 1000."""
    streets = Streets()
    (one, *_) = aged_batches(streets, range(12), [0, 33 * MS, 66 * MS], batch=12, workers=0)
    tensors = [
        one.now.image,
        one.now.second,
        one.now.label,
        *(part for old in one.old for part in old if part is not None),
    ]
    assert sum(isinstance(tensor, Tensor) for tensor in tensors) <= 10
    found = evaluate(Painted(), streets, keep=PARTS, ages_ms=[0, 33], examples=0, batch=3, workers=2)
    again = evaluate(Painted(), streets, keep=PARTS, ages_ms=[0, 33], examples=0)
    assert all(torch.equal(found.tallies[key].matrices(), tally.matrices()) for key, tally in again.tallies.items())


def test_a_first_age_that_no_image_has_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the image's age is 66 ms, but none of the 12 samples has an image of that"):
        evaluate(Painted(), Streets(), ages_ms=[66, 0])


def test_a_sample_is_loaded_once_for_all_settings(streets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    windows: list[int] = []
    cut = DsecSequence.window

    def counted(self: DsecSequence, end_ns: int, *others: Any) -> Any:
        windows.append(end_ns)
        return cut(self, end_ns, *others)

    dataset = open_dataset("dsec", str(streets), "test", SETUP)
    assert isinstance(dataset, RecordingDataset)
    monkeypatch.setattr(DsecSequence, "window", counted)
    found = evaluate(Painted(), dataset, keep=PARTS, ages_ms=[0, 50, 100], examples=0)
    assert len(windows) == len(set(windows)) == len(dataset) == 6
    assert found.left_out == {0: 0, 50: 1, 100: 2}
    assert found.tallies[Setting(50, "both")].mean_age_ms == pytest.approx(50)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "nano.safetensors"
    save_checkpoint(path, create_model("mambaseg_nano", image_size=SETUP.size), SETUP)
    return path


def test_the_command_judges_all_in_full_and_says_the_prior_always(
    mambaseg: Callable[..., Any], streets: Path, checkpoint: Path, tmp_path: Path
) -> None:
    words = ("eval", checkpoint, streets, "--workers", 0, "--out", tmp_path)
    plain = mambaseg(*words, "--samples", 2)
    assert plain.returncode == 0, plain.stdout
    prior = re.compile(r"each pixel of 6 of 6 labels of the split 'train': accuracy \d+\.\d\d %, mIoU \d+\.\d\d %\.")
    assert prior.search(plain.stdout)
    for region in REGIONS:
        assert f" {region} " in plain.stdout
    assert [one["age_ms"] for one in json.loads((tmp_path / "scores.json").read_text())["settings"]] == [0.0]
    full = mambaseg(*words, "--full", "--samples", 2)
    assert full.returncode == 0, full.stdout
    assert prior.search(full.stdout)
    assert "Image age 66 ms: no image is that old; 2 of 2 samples have none and are left out." in full.stdout
    assert "Image age 33 ms: 1 images, 50.0 ms old in the mean" in full.stdout
    values = json.loads((tmp_path / "scores.json").read_text())
    assert (values["inputs"], values["ages_ms"]) == (list(PARTS), list(AGES_MS))
    assert len(values["settings"]) == 12


def test_the_command_refuses_ages_that_are_none(mambaseg: Callable[..., Any], streets: Path, checkpoint: Path) -> None:
    for words, message in (
        (("--ages", "0;33"), "--ages is '0;33'; expected numbers with commas between them, such as 0,33,66,100"),
        (("--ages", "-5"), r"ages of the image are [-5.0] ms; expected one or more different numbers from 0 to 10000"),
        (("--full", "--keep", "image"), "--full came with --keep image and --ages 0; expected it alone"),
        (("--ages", "66"), "the image's age is 66 ms, but none of the 2 samples has an image of that age"),
    ):
        result = mambaseg("eval", checkpoint, streets, "--workers", 0, "--samples", 2, *words)
        assert result.returncode == 1
        assert message in result.stdout.replace("\n", " ")

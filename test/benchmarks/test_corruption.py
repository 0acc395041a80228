"""What the corruptions do to a sample, by value, and that every checkpoint meets the same."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import pytest
import torch

from mambaseg_core.checkpoint import create_model, save_checkpoint
from mambaseg_core.data.sample import Sample
from mambaseg_core.preprocessing import picture_preprocessing

ROWS = ["clean", "image noisy", "second noisy", "second moved by 8 px", "image missing", "second missing"]


@pytest.fixture(scope="module")
def corruption(scripts):
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("corruption", scripts / "corruption.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def sample():
    random = torch.Generator().manual_seed(0)
    image = 0.25 + 0.5 * torch.rand(3, 40, 50, generator=random)
    other = (0.25 + 0.5 * torch.rand(1, 40, 50, generator=random)).repeat(3, 1, 1)
    return Sample(image, other, torch.zeros(40, 50, dtype=torch.int64), 0, "a", 0, "day")


def corrupted(corruption, name, sample, seed=0):
    return corruption.CORRUPTIONS[name](sample, torch.Generator().manual_seed(seed))


def test_each_changes_what_it_names_and_nothing_else(corruption, sample):
    assert list(corruption.CORRUPTIONS) == ROWS
    before = replace(sample, image=sample.image.clone(), second=sample.second.clone())
    for name in ROWS:
        found = corrupted(corruption, name, sample)
        assert torch.equal(found.image, sample.image) != name.startswith("image"), name
        assert torch.equal(found.second, sample.second) != name.startswith("second"), name
        assert found.label is sample.label
    assert torch.equal(sample.image, before.image)  # what was given is left alone
    assert torch.equal(sample.second, before.second)


def test_noise_by_value(corruption, sample):
    image = corrupted(corruption, "image noisy", sample).image
    other = corrupted(corruption, "second noisy", sample).second
    for noisy, plain in ((image, sample.image), (other, sample.second)):
        assert (noisy.min(), noisy.max()) == (0, 1)
        inside = (noisy > 0) & (noisy < 1)
        assert 0.15 < (noisy - plain)[inside].std() < 0.25  # 0.25, less what was cut off at 0 and 1
    assert not torch.equal(image[0] - sample.image[0], image[1] - sample.image[1])
    assert torch.equal(other[0], other[1])  # one picture, repeated


def test_a_shift_by_value(corruption, sample):
    known = {
        (0, 1): lambda x: (x[:, 8:], x[:, :8], sample.second[:, :-8]),
        (0, 0): lambda x: (x[:, :-8], x[:, -8:], sample.second[:, 8:]),
        (1, 1): lambda x: (x[..., 8:], x[..., :8], sample.second[..., :-8]),
        (1, 0): lambda x: (x[..., :-8], x[..., -8:], sample.second[..., 8:]),
    }
    met = set()
    for seed in range(20):
        moved = corrupted(corruption, "second moved by 8 px", sample, seed).second
        fits = [
            key
            for key, parts in known.items()
            if torch.equal(parts(moved)[0], parts(moved)[2]) and not parts(moved)[1].any()
        ]
        assert len(fits) == 1, seed
        met |= set(fits)
    assert met == set(known)


def test_what_is_missing_is_zero(corruption, sample):
    assert not corrupted(corruption, "image missing", sample).image.any()
    assert not corrupted(corruption, "second missing", sample).second.any()


def test_every_checkpoint_meets_the_same(corruption, pairs, tmp_path, monkeypatch):
    """Two networks, of 10 and of 3 channels of the one thermal picture, one judged twice."""
    torch.manual_seed(0)
    met = []

    def spy(model, dataset, *, samples, **others):
        met.append([dataset[number] for number in range(len(dataset))])
        return evaluate(model, dataset, samples=samples, **others)

    evaluate = corruption.evaluate
    monkeypatch.setattr(corruption, "evaluate", spy)
    scores = []
    for name in ("mambaseg_nano", "sigma_nano", "sigma_nano"):
        model = create_model(name, num_classes=11, image_size=(48, 64))
        setup = picture_preprocessing((48, 64), repeat=model.bins, labels="dsec_11")
        save_checkpoint(tmp_path / "a.safetensors", model, setup)
        scores.append(corruption.judge(tmp_path / "a.safetensors", pairs, split="test", samples=0, device="cpu"))
    assert [list(found) for found in scores] == [ROWS] * 3
    first, *others = met[:6], met[6:12], met[12:]
    for other in others:
        for row, (of_first, of_other) in enumerate(zip(first, other, strict=True)):
            for a, b in zip(of_first, of_other, strict=True):
                assert torch.equal(a.image, b.image), ROWS[row]
                assert torch.equal(a.second[:1], b.second[:1]), ROWS[row]
    assert not torch.equal(first[1][0].image - first[0][0].image, first[1][1].image - first[0][1].image)  # by sample


def test_the_table_by_hand(corruption):
    clean = dict.fromkeys(ROWS, 0.5)
    worse = {**dict.fromkeys(ROWS, 0.4), "clean": 0.5, "second missing": 0.2}
    columns = {"a": {name: [value] for name, value in clean.items()}, "b": {name: [x, x] for name, x in worse.items()}}
    lines = corruption.table(columns)
    assert lines[0] == "| corruption at test time | a | b |"
    assert lines[2] == "| clean | 50.0 | 50.0 ± 0.0 |"
    assert lines[7] == "| second missing | 50.0 | 20.0 ± 0.0 |"
    assert lines[8] == "| mean loss by corruption | 0.0 | 14.0 ± 0.0 |"


def test_a_lens_cap_by_value(corruption, sample):
    for name, of in (("image covered", "image"), ("second covered", "second")):
        found = corruption.CAPS[name](sample, torch.Generator().manual_seed(0))
        picture, kept = getattr(found, of), "second" if of == "image" else "image"
        assert picture.shape == getattr(sample, of).shape
        assert getattr(found, kept) is getattr(sample, kept)
        assert float(picture.mean()) == pytest.approx(10 / 255, abs=1e-3)
        assert float(picture[0].std()) == pytest.approx(2 / 255, rel=0.1)
        assert torch.equal(picture[0], picture[1]) == (of == "second")

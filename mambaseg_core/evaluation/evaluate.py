"""Evaluation of a model on a data set: by condition, region, age of the image and inputs, with example images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from mambaseg_core.data.dataset import AgedSample, SampleDataset
from mambaseg_core.data.loading import blanked, evenly
from mambaseg_core.data.sample import Batch, Sample, collate
from mambaseg_core.data.transforms import resize_inputs
from mambaseg_core.evaluation.prior import PositionPrior
from mambaseg_core.evaluation.regions import changed_region, find_regions, image_picture
from mambaseg_core.evaluation.results import Evaluation, Example, JudgedSequence, Setting, Tally
from mambaseg_core.pictures import event_picture
from mambaseg_core.precision import float32_products

FULL: Final = 3.0
"""Difference between the numbers of ON and OFF events of a pixel that is drawn in full color."""

AGES_MS: Final = (0.0, 33.0, 66.0, 100.0)
"""Ages of the image in a full evaluation, milliseconds."""

MOST_MS: Final = 10_000
"""Largest age of an image, milliseconds."""

PARTS: Final = ("both", "image", "second")
"""Inputs in a full evaluation: both, the image alone, the second input alone."""


def evaluate(
    model: nn.Module,
    dataset: SampleDataset,
    *,
    device: torch.device | str = "cpu",
    keep: str | Sequence[str] = "both",
    ages_ms: Sequence[float] = (0.0,),
    prior: PositionPrior | None = None,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    batch: int = 4,
    workers: int = 0,
    samples: int = 0,
    examples: int = 12,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Evaluate a model in one or several settings; each sample is loaded once for all of them.

    Args:
        model: a model of `create_model`; it is put into evaluation mode on `device`.
        dataset: data set with the model's preprocessing.
        device: device of the computation.
        keep: "both", or the one input that is not blanked: "image" or "second"; or several of these.
        ages_ms: ages of the image at the time of events and label, milliseconds. A sample without such an image
            (`data.image_age.image_of_age`) is left out for that age, and counted.
        prior: position prior, judged on the same samples.
        scales: as in `predict_ids`.
        flip: as in `predict_ids`.
        batch: samples per forward pass.
        workers: processes that load data.
        samples: number of samples, evenly spread; 0: all.
        examples: number of samples kept as examples, evenly spread.
        progress: called with the number of samples done and of all samples.

    Raises:
        ValueError: a scale or an age cannot be, no sample has an image of the first age, or the model takes one size
            only.
    """
    _check_scales(model, scales)
    _check_ages(ages_ms)
    setup, numbers = dataset.preprocessing, evenly(len(dataset), samples)
    parts = (keep,) if isinstance(keep, str) else tuple(keep)
    classes = len(setup.label_set.classes)
    tallies = {Setting(age_ms, inputs): Tally(classes) for age_ms in ages_ms for inputs in parts}
    found = Evaluation(
        setup.label_set, tallies, [], setup.second, dict.fromkeys(ages_ms, 0), prior, prior and Tally(classes)
    )
    judge = _Judge(model.eval().to(device), torch.device(device), scales, flip, found)
    shown = set(evenly(len(numbers), examples)) if examples else set()
    aged = _AgedSubset(dataset, numbers, [0, *(round(1e6 * age_ms) for age_ms in ages_ms)])
    done = 0
    for group in DataLoader(aged, batch, num_workers=workers, collate_fn=list, persistent_workers=workers > 0):
        for row, (sample, predicted) in judge(group).items():
            if done + row in shown:
                found.examples.append(_example(blanked(collate([sample]), parts[0]), predicted, setup.second))
        done += len(group)
        if progress:
            progress(done, len(numbers))
    if not found.main.samples:
        raise ValueError(
            f"the image's age is {ages_ms[0]:g} ms, but none of the {len(numbers)} samples has an image of that age; "
            "expected an age at which the recordings have images: begin --ages with another, such as 0"
        )
    return found


class _AgedSubset(Dataset[list[AgedSample | None]]):
    """Samples of chosen numbers, each with its images of some ages."""

    def __init__(self, dataset: SampleDataset, numbers: Sequence[int], ages_ns: Sequence[int]) -> None:
        self.dataset, self.numbers, self.ages_ns = dataset, numbers, ages_ns

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, place: int) -> list[AgedSample | None]:
        return self.dataset.at_ages(self.numbers[place], self.ages_ns)


@dataclass(frozen=True)
class _Judge:
    """Runs a model in all settings of an evaluation, and counts the pixels there."""

    model: nn.Module
    device: torch.device
    scales: Sequence[float]
    flip: bool
    found: Evaluation

    def __call__(self, group: list[list[AgedSample | None]]) -> dict[int, tuple[Sample, Tensor]]:
        """Judge some samples, each with the labeled image first, then with an image of each age.

        Returns:
            by place in the group: the sample of the first setting and its prediction, int64 [H, W].
        """
        found, now = self.found, [one.sample for aged in group if (one := aged[0]) is not None]
        regions = [find_regions(sample.image, sample.label, found.labels) for sample in now]
        if found.prior is not None and found.prior_tally is not None:
            for sample, inside in zip(now, regions, strict=True):
                found.prior_tally.add(_sequence(sample), found.prior.ids, sample.label, inside)
        first: dict[int, tuple[Sample, Tensor]] | None = None
        alone: list[Tensor] = []  # without the image its age does not matter
        for number, age_ms in enumerate(found.ages_ms, 1):
            old = {row: one for row, aged in enumerate(group) if (one := aged[number]) is not None}
            found.left_out[age_ms] += len(group) - len(old)
            for inputs in found.inputs:
                if inputs == "second":
                    alone = alone or self._predict(now, inputs)
                    predicted = [alone[row] for row in old]
                else:
                    predicted = self._predict([one.sample for one in old.values()], inputs)
                for (row, one), ids in zip(old.items(), predicted, strict=True):
                    inside = regions[row]
                    if one.before is not None:
                        inside = {**inside, "changed": changed_region(one.before, one.sample.label)}
                    tally = found.tallies[Setting(age_ms, inputs)]
                    tally.add(_sequence(one.sample), ids, one.sample.label, inside, one.sample.age_ns)
                if first is None:
                    first = {row: (old[row].sample, ids) for row, ids in zip(old, predicted, strict=True)}
        return first or {}

    def _predict(self, samples: list[Sample], inputs: str) -> list[Tensor]:
        if not samples:
            return []
        batch = blanked(collate(samples), inputs).to(self.device)
        with float32_products("float32", self.device):
            return list(predict_ids(self.model, batch, scales=self.scales, flip=self.flip).cpu())


def _sequence(sample: Sample) -> JudgedSequence:
    return JudgedSequence(sample.condition, sample.sequence)


@torch.inference_mode()
def predict_ids(model: nn.Module, batch: Batch, *, scales: Sequence[float] = (1.0,), flip: bool = False) -> Tensor:
    """Return the predicted class ids, int64 [B, H, W].

    Args:
        model: model in evaluation mode.
        batch: batch on the model's device.
        scales: factors of the inputs' size. The logits of all scales, resized to the labels' size, are added, as in
            the public code of CMX and Sigma.
        flip: also add the logits of the mirrored inputs.
    """
    size = batch.label.shape[1], batch.label.shape[2]
    total: Tensor | None = None
    for scale in scales:
        image, second = batch.image, batch.second
        if scale != 1:
            image, second = resize_inputs(image, second, (round(scale * size[0]), round(scale * size[1])))
        logits: Tensor = model(image, second)
        if flip:
            logits = logits + model(image.flip(-1), second.flip(-1)).flip(-1)
        if scale != 1:
            logits = F.interpolate(logits, size, mode="bilinear", align_corners=False)
        total = logits if total is None else total + logits
    assert total is not None  # `_check_scales` refuses an empty list
    return total.argmax(1)


def _check_scales(model: nn.Module, scales: Sequence[float]) -> None:
    if not scales or min(scales) <= 0:
        raise ValueError(f"scales are {list(scales)}; expected one or more factors above 0, such as 0.75 1.0 1.25")
    if set(scales) != {1.0} and not getattr(model, "any_size", True):
        size = "x".join(map(str, model.image_size))  # type: ignore[arg-type]
        raise ValueError(f"scales are {list(scales)}, but {model.name} takes {size} only; leave --scales out")


def _check_ages(ages_ms: Sequence[float]) -> None:
    if not ages_ms or not all(0 <= age_ms <= MOST_MS for age_ms in ages_ms) or len(set(ages_ms)) < len(ages_ms):
        raise ValueError(
            f"ages of the image are {list(ages_ms)} ms; expected one or more different numbers from 0 to {MOST_MS}, "
            "such as 0, 33, 66 and 100"
        )


def _example(batch: Batch, predicted: Tensor, kind: str) -> Example:
    second = batch.second[0]
    age = f", image {batch.age_ns[0] / 1e6:.0f} ms old" if batch.age_ns[0] else ""
    return Example(
        title=f"{batch.sequence[0]}/{batch.index[0]}, {batch.condition[0]}{age}",
        image=image_picture(batch.image[0]),
        second=event_picture(second.sum(0).numpy() / FULL) if kind == "events" else image_picture(second[:1]),
        truth=batch.label[0].to(torch.uint8).numpy(),
        predicted=predicted.to(torch.uint8).numpy(),
    )

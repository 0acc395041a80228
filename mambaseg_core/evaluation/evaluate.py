"""Evaluation of a model on a data set: by condition, region, age of the image and inputs, with example images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mambaseg_core.data.dataset import SampleDataset
from mambaseg_core.data.loading import blanked, evenly
from mambaseg_core.data.sample import Batch
from mambaseg_core.data.transforms import resize_inputs
from mambaseg_core.engines.network import EngineNetwork
from mambaseg_core.evaluation.aged_batches import AgedBatch, aged_batches
from mambaseg_core.evaluation.prior import PositionPrior
from mambaseg_core.evaluation.regions import changed_region, find_regions, image_picture
from mambaseg_core.evaluation.results import Evaluation, Example, JudgedSequence, Setting, Tally
from mambaseg_core.fused.form import InferenceForm
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
        ValueError: a scale, an age or an input cannot be, no sample has an image of the first age, or the model takes
            one size only.
    """
    _check_scales(model, scales)
    if flip and isinstance(model, EngineNetwork):
        raise ValueError(
            "flip is set, but an exported file gives one mask of one size; expected a checkpoint: leave it out"
        )
    _check_ages(ages_ms)
    parts = (keep,) if isinstance(keep, str) else tuple(keep)
    if not parts or not set(parts) <= set(PARTS):
        raise ValueError(f"keep is {keep!r}; expected one or more of {', '.join(PARTS)}")
    setup, numbers = dataset.preprocessing, evenly(len(dataset), samples)
    classes = len(setup.label_set.classes)
    tallies = {Setting(age_ms, inputs): Tally(classes) for age_ms in ages_ms for inputs in parts}
    guessed = {age_ms: Tally(classes) for age_ms in ages_ms} if prior else {}
    found = Evaluation(setup.label_set, tallies, [], setup.second, dict.fromkeys(ages_ms, 0), prior, guessed)
    judge = _Judge(InferenceForm(model.eval().to(device)), torch.device(device), scales, flip, found)
    shown = set(evenly(len(numbers), examples)) if examples else set()
    ages_ns = [round(1e6 * age_ms) for age_ms in ages_ms]
    done = 0
    for aged in aged_batches(dataset, numbers, ages_ns, batch=batch, workers=workers):
        judge(aged, {row for row in range(len(aged.now)) if done + row in shown})
        done += len(aged.now)
        if progress:
            progress(done, len(numbers))
    if not found.main.samples:
        raise ValueError(
            f"the image's age is {ages_ms[0]:g} ms, but none of the {len(numbers)} samples has an image of that age; "
            "expected an age at which the recordings have images: begin --ages with another, such as 0"
        )
    return found


@dataclass(frozen=True)
class _Judge:
    """Runs a model in all settings of an evaluation, and counts the pixels there."""

    form: InferenceForm
    device: torch.device
    scales: Sequence[float]
    flip: bool
    found: Evaluation

    def __call__(self, aged: AgedBatch, shown: set[int]) -> None:
        """Judge a batch in all settings.

        Args:
            aged: the batch.
            shown: rows that become examples in the first setting.
        """
        found, now = self.found, aged.now
        sequences = [JudgedSequence(*names) for names in zip(now.condition, now.sequence, strict=True)]
        regions = [find_regions(image, label, found.labels) for image, label in zip(now.image, now.label, strict=True)]
        alone: Tensor | None = None  # without the image its age does not matter
        for age_ms, old in zip(found.ages_ms, aged.old, strict=True):
            batch = aged.at(old)
            found.left_out[age_ms] += len(now) - len(batch)
            insides = [regions[row] for row in old.rows]
            if old.before is not None:
                labels = zip(insides, old.before, batch.label, strict=True)
                insides = [{**inside, "changed": changed_region(before, label)} for inside, before, label in labels]
            if found.prior is not None:
                for row, inside, age_ns in zip(old.rows, insides, old.age_ns, strict=True):
                    found.prior_tallies[age_ms].add(sequences[row], found.prior.ids, now.label[row], inside, age_ns)
            for inputs in found.inputs:
                tally = found.tallies[Setting(age_ms, inputs)]
                if inputs == "second":
                    alone = self._predict(now, "second") if alone is None else alone
                    predicted = alone[old.rows]
                else:
                    predicted = self._predict(batch, inputs)
                for place, row in enumerate(old.rows):
                    tally.add(sequences[row], predicted[place], now.label[row], insides[place], old.age_ns[place])
                    if tally is found.main and row in shown:
                        found.examples.append(_example(blanked(batch, inputs), predicted, place, found.second))

    def _predict(self, batch: Batch, inputs: str) -> Tensor:
        if not len(batch):
            return batch.label
        with float32_products("float32", self.device):
            blank = blanked(batch, inputs).to(self.device)
            return predict_ids(self.form.network(), blank, scales=self.scales, flip=self.flip).cpu()


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
    if isinstance(model, EngineNetwork):
        return model.ids(batch.image, batch.second)
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


def _example(batch: Batch, predicted: Tensor, row: int, kind: str) -> Example:
    second = batch.second[row]
    age = f", image {batch.age_ns[row] / 1e6:.0f} ms old" if batch.age_ns[row] else ""
    return Example(
        title=f"{batch.sequence[row]}/{batch.index[row]}, {batch.condition[row]}{age}",
        image=image_picture(batch.image[row]),
        second=event_picture(second.sum(0).numpy() / FULL) if kind == "events" else image_picture(second[:1]),
        truth=batch.label[row].to(torch.uint8).numpy(),
        predicted=predicted[row].to(torch.uint8).numpy(),
    )

"""Results of an evaluation: confusion matrices by age of the image, inputs, region and sequence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from mambaseg_core.evaluation.metrics import Scores, confusion_matrix, gain_interval, miou_interval
from mambaseg_core.evaluation.prior import PositionPrior
from mambaseg_core.labels import LabelSet
from mambaseg_core.pictures import Picture


class JudgedSequence(NamedTuple):
    """A sequence and its condition; a sequence of several conditions counts once for each."""

    condition: str
    name: str


class Setting(NamedTuple):
    """What a model was given.

    Attributes:
        age_ms: wanted age of the image, milliseconds.
        inputs: "both", or the one input that was not blanked: "image" or "second".
    """

    age_ms: float
    inputs: str


class Gain(NamedTuple):
    """Difference of two mIoU, 0 to 1.

    Attributes:
        miou: the difference.
        interval: 95 % interval of paired bootstrap resamples of the sequences; None below two sequences.
    """

    miou: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Example:
    """One sample as images for the report.

    Attributes:
        title: sequence, number and condition.
        image: RGB uint8 [H, W, 3].
        second: RGB uint8 [H, W, 3]: events as `event_picture` draws them, or the thermal or depth image.
        truth: class ids, uint8 [H, W].
        predicted: class ids, uint8 [H, W].
    """

    title: str
    image: Picture
    second: Picture
    truth: Picture
    predicted: Picture


@dataclass
class Tally:
    """Counted pixels of one setting, or of the position prior.

    Attributes:
        classes: number of classes K.
        confusion: by region and sequence, int64 [K, K], truth by row.
        samples: number of samples of each sequence.
        ages_ns: sum of the ages of all images, nanoseconds.
    """

    classes: int
    confusion: dict[str, dict[JudgedSequence, Tensor]] = field(default_factory=dict)
    samples: dict[JudgedSequence, int] = field(default_factory=dict)
    ages_ns: int = 0

    def add(
        self, sequence: JudgedSequence, predicted: Tensor, truth: Tensor, regions: dict[str, Tensor], age_ns: int = 0
    ) -> None:
        """Count the pixels of a sample in each region; ids int64 [H, W], regions bool [H, W]."""
        for region, inside in regions.items():
            found = confusion_matrix(predicted[inside], truth[inside], self.classes)
            counts = self.confusion.setdefault(region, {})
            counts[sequence] = counts[sequence] + found if sequence in counts else found
        self.samples[sequence] = self.samples.get(sequence, 0) + 1
        self.ages_ns += age_ns

    @property
    def conditions(self) -> list[str]:
        """Names of the conditions, sorted."""
        return sorted({sequence.condition for sequence in self.samples})

    @property
    def mean_age_ms(self) -> float:
        """Mean age of the images, milliseconds."""
        return self.ages_ns / 1e6 / max(1, sum(self.samples.values()))

    def count(self, condition: str | None = None) -> int:
        """Return the number of samples of a condition; None: of all."""
        return sum(count for sequence, count in self.samples.items() if condition in (None, sequence.condition))

    def matrices(self, region: str = "all", condition: str | None = None) -> Tensor:
        """Return the confusion matrices of the sequences of a condition, sorted by name, int64 [sequences, K, K]."""
        counts = self.confusion.get(region, {})
        chosen = [counts[sequence] for sequence in sorted(counts) if condition in (None, sequence.condition)]
        return torch.stack(chosen) if chosen else torch.zeros(0, self.classes, self.classes, dtype=torch.int64)

    def total(self, region: str = "all", condition: str | None = None) -> Tensor:
        """Return the confusion matrix of a condition, int64 [K, K]."""
        return self.matrices(region, condition).sum(0)

    def scores(self, region: str = "all", condition: str | None = None) -> Scores | None:
        """Return the scores of a condition in a region; None if it has no pixel there."""
        total = self.total(region, condition)
        return Scores.of(total) if int(total.sum()) else None

    def interval(self, region: str = "all", condition: str | None = None) -> tuple[float, float] | None:
        """Return the bootstrap's 95 % interval of the mIoU over sequences; None below two sequences."""
        return miou_interval(self.matrices(region, condition))


@dataclass(frozen=True)
class Evaluation:
    """Results of an evaluation. What names no setting is of the first one, in the region "all".

    Attributes:
        labels: the classes.
        tallies: counts of each setting.
        examples: some of the samples, in the first setting.
        second: kind of the second input: "events", "thermal" or "depth".
        left_out: number of samples without an image of an age, by age in milliseconds.
        prior: the position prior; None if none was given.
        prior_tallies: counts of the prior on the samples of each age; empty if none was given.
    """

    labels: LabelSet
    tallies: dict[Setting, Tally]
    examples: list[Example]
    second: str = "events"
    left_out: dict[float, int] = field(default_factory=dict)
    prior: PositionPrior | None = None
    prior_tallies: dict[float, Tally] = field(default_factory=dict)

    @property
    def main(self) -> Tally:
        """Counts of the first setting."""
        return next(iter(self.tallies.values()))

    @property
    def prior_tally(self) -> Tally | None:
        """Counts of the prior on the samples of the first setting; None if no prior was given."""
        return next(iter(self.prior_tallies.values()), None)

    @property
    def ages_ms(self) -> list[float]:
        """Wanted ages of the images, milliseconds."""
        return list(dict.fromkeys(setting.age_ms for setting in self.tallies))

    @property
    def inputs(self) -> list[str]:
        """Inputs of the settings."""
        return list(dict.fromkeys(setting.inputs for setting in self.tallies))

    @property
    def overall(self) -> Scores:
        """Scores over all samples."""
        return Scores.of(self.all_confusion)

    @property
    def all_confusion(self) -> Tensor:
        """Confusion matrix of all samples, int64 [K, K]."""
        return self.main.total()

    @property
    def confusion(self) -> dict[str, Tensor]:
        """Confusion matrix of each condition, int64 [K, K]."""
        return {name: self.main.total(condition=name) for name in self.main.conditions}

    @property
    def samples(self) -> dict[str, int]:
        """Number of samples of each condition."""
        return {name: self.main.count(name) for name in self.main.conditions}

    @property
    def by_condition(self) -> dict[str, Scores]:
        """Scores of each condition that has a labeled pixel."""
        return {name: Scores.of(matrix) for name, matrix in self.confusion.items() if int(matrix.sum())}

    @property
    def absent(self) -> tuple[str, ...]:
        """Names of the classes that never occur in the truth."""
        return tuple(n for n, iou in zip(self.labels.classes, self.overall.iou, strict=True) if iou is None)

    def columns(self, age_ms: float) -> Iterator[tuple[str, Tally]]:
        """Yield the inputs of an age with their counts, and "position prior" with its own on the same samples."""
        for setting, tally in self.tallies.items():
            if setting.age_ms == age_ms:
                yield setting.inputs, tally
        if age_ms in self.prior_tallies:
            yield "position prior", self.prior_tallies[age_ms]

    def gain(self, age_ms: float, region: str = "all", condition: str | None = None) -> Gain | None:
        """Return how far both inputs are above the image alone; None if one is not judged or has no pixel."""
        both, image = (self.tallies.get(Setting(age_ms, inputs)) for inputs in ("both", "image"))
        if both is None or image is None or not int(both.total(region, condition).sum()):
            return None
        matrices = both.matrices(region, condition), image.matrices(region, condition)
        higher, lower = (Scores.of(one.sum(0)).miou for one in matrices)
        return Gain(higher - lower, gain_interval(*matrices))

"""Tables of an evaluation as rows of text, for the terminal and the report."""

from __future__ import annotations

from collections.abc import Iterator

from mambaseg_core.evaluation.metrics import LEVEL, RESAMPLES
from mambaseg_core.evaluation.regions import REGIONS
from mambaseg_core.evaluation.results import Evaluation, Gain

Rows = list[tuple[str, ...]]

SUMMARY: tuple[str, ...] = ("condition", "samples", "mIoU %", f"{100 * LEVEL:g} % interval", "accuracy %")
"""Heads of `summary_rows`."""


def summary_rows(evaluation: Evaluation) -> Rows:
    """Return rows of (condition, samples, mIoU, interval, accuracy); the first row has all samples."""
    tally = evaluation.main
    rows: Rows = []
    for name in (None, *tally.conditions):
        scores = tally.scores(condition=name)
        values = (None, None) if scores is None else (scores.miou, scores.accuracy)
        interval = interval_text(tally.interval(condition=name))
        rows.append((name or "all", str(tally.count(name)), percent(values[0]), interval, percent(values[1])))
    return rows


def class_rows(evaluation: Evaluation) -> Rows:
    """Return rows of (class, IoU over all samples, IoU of each condition)."""
    columns = [evaluation.overall, *evaluation.by_condition.values()]
    return [
        (name, *(percent(scores.iou[number]) for scores in columns))
        for number, name in enumerate(evaluation.labels.classes)
    ]


def setting_head(evaluation: Evaluation, first: str) -> tuple[str, ...]:
    """Return the heads of `region_rows` and `condition_rows`: what a row is of, then a column for each mIoU."""
    names = [name for name, _ in evaluation.columns(evaluation.ages_ms[0])]
    gain = ("both - image",) if {"both", "image"} <= set(names) else ()
    shown = (evaluation.second if name == "second" else name for name in names)
    return (first, "image age ms", "samples", "pixels", *shown, *gain)


def region_rows(evaluation: Evaluation, condition: str | None = None) -> Rows:
    """Return rows of (region, age, samples, pixels, mIoU of each input) for each region and age."""
    return [row for region in REGIONS for row in _setting_rows(evaluation, region, region, condition)]


def condition_rows(evaluation: Evaluation, region: str = "all") -> Rows:
    """Return rows of (condition, age, samples, pixels, mIoU of each input) for each condition and age."""
    found = {name for tally in evaluation.tallies.values() for name in tally.conditions}
    names = (None, *sorted(found))
    return [row for name in names for row in _setting_rows(evaluation, name or "all", region, name)]


def _setting_rows(evaluation: Evaluation, title: str, region: str, condition: str | None) -> Iterator[tuple[str, ...]]:
    gains = {"both", "image"} <= set(evaluation.inputs)
    for age_ms in evaluation.ages_ms:
        columns = [tally for _, tally in evaluation.columns(age_ms)]
        scores = [tally.scores(region, condition) for tally in columns]
        gain = evaluation.gain(age_ms, region, condition)
        yield (
            title,
            f"{age_ms:g}",
            str(columns[0].count(condition)),
            str(0 if scores[0] is None else scores[0].pixels),
            *(percent(None if one is None else one.miou) for one in scores),
            *([gain_text(gain)] if gains else []),
        )


def absent_sentence(evaluation: Evaluation) -> str:
    """Return a sentence that names the classes left out of the mean."""
    if not evaluation.absent:
        return "Every class occurs in the truth."
    return f"Never in the truth, and left out of the mean: {', '.join(evaluation.absent)}."


def prior_sentence(evaluation: Evaluation) -> str:
    """Return a sentence with the scores of the position prior; empty without one."""
    prior, tally = evaluation.prior, evaluation.prior_tally
    scores = None if tally is None else tally.scores()
    if prior is None or scores is None:
        return ""
    origin = f"{prior.labels} of {prior.available} labels of the split {prior.split!r}"
    why = f" (not of 'train': {prior.reason})" if prior.reason else ""
    return (
        f"Position prior, the most frequent class at each pixel of {origin}{why}: accuracy "
        f"{percent(scores.accuracy)} %, mIoU {percent(scores.miou)} %."
    )


def age_sentences(evaluation: Evaluation) -> list[str]:
    """Return a sentence for each age but 0: how old the images are, and how many samples have none."""
    sentences = []
    for setting, tally in evaluation.tallies.items():
        if setting.age_ms and setting.inputs == evaluation.inputs[0]:
            out, count = evaluation.left_out[setting.age_ms], tally.count()
            old = f"{count} images, {tally.mean_age_ms:.1f} ms old in the mean" if count else "no image is that old"
            left = f"; {out} of {out + count} samples have none and are left out" if out else ""
            sentences.append(f"Image age {setting.age_ms:g} ms: {old}{left}.")
    return sentences


def bootstrap_sentence() -> str:
    """Return a sentence that explains the intervals."""
    return (
        f"Intervals: {100 * LEVEL:g} %, from {RESAMPLES} bootstrap resamples of the sequences; of one sequence there "
        "is none."
    )


def percent(value: float | None) -> str:
    """Return a score of 0 to 1 in %, "-" for None."""
    return "-" if value is None else f"{100 * value:.2f}"


def interval_text(interval: tuple[float, float] | None) -> str:
    """Return an interval in %, "-" for None."""
    return "-" if interval is None else f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"


def gain_text(gain: Gain | None) -> str:
    """Return a gain in points with its interval, "-" for None."""
    if gain is None:
        return "-"
    return f"{100 * gain.miou:+.2f}" + (f" ({interval_text(gain.interval)})" if gain.interval else "")

"""Reports of an evaluation: JSON, and one self-contained HTML file."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from mambaseg_core.evaluation.metrics import LEVEL, RESAMPLES, Scores
from mambaseg_core.evaluation.regions import REGIONS
from mambaseg_core.evaluation.results import Evaluation, Example, Tally
from mambaseg_core.evaluation.tables import (
    SUMMARY,
    absent_sentence,
    age_sentences,
    bootstrap_sentence,
    class_rows,
    condition_rows,
    percent,
    prior_sentence,
    region_rows,
    setting_head,
    summary_rows,
)
from mambaseg_core.files import write_text
from mambaseg_core.labels import IGNORE, LabelSet
from mambaseg_core.pictures import EVENT_LEGEND, Color, Picture, encode_png

_STYLE = """body { font: 14px sans-serif; margin: 2em; max-width: 90em }
table { border-collapse: collapse; margin: 1em 0 } th, td { padding: .25em .7em; text-align: right }
th { border-bottom: 1px solid #888 } td:first-child, th:first-child { text-align: left }
.box { display: inline-block; width: 1em; height: 1em; vertical-align: middle }
.row { display: flex; gap: 6px } figure { margin: 0; flex: 1 } img { width: 100%; image-rendering: pixelated }
figcaption { color: #555 }"""


def to_json(evaluation: Evaluation, about: dict[str, Any]) -> dict[str, Any]:
    """Return scores (0 to 1) and confusion matrices as plain values; docs/training.md describes them.

    Args:
        evaluation: the results.
        about: origin of the results: checkpoint, data and so on.
    """
    names = evaluation.labels.classes
    return {
        **about,
        "classes": list(names),
        "absent": list(evaluation.absent),
        "overall": _plain(evaluation.overall, names),
        "conditions": {
            name: {"samples": evaluation.samples[name], **_plain(scores, names)}
            for name, scores in evaluation.by_condition.items()
        },
        "confusion": {name: matrix.tolist() for name, matrix in sorted(evaluation.confusion.items())},
        "position_prior": _prior(evaluation),
        "bootstrap": {"level": LEVEL, "resamples": RESAMPLES, "seed": 0},
        "settings": [
            {
                "age_ms": setting.age_ms,
                "inputs": setting.inputs,
                "samples": tally.count(),
                "left_out": evaluation.left_out.get(setting.age_ms, 0),
                "mean_age_ms": tally.mean_age_ms,
                "regions": {region: _region(tally, region, names) for region in REGIONS},
            }
            for setting, tally in evaluation.tallies.items()
        ],
    }


def _prior(evaluation: Evaluation) -> dict[str, Any] | None:
    prior, tally = evaluation.prior, evaluation.prior_tally
    if prior is None or tally is None:
        return None
    return {
        "split": prior.split,
        "labels": prior.labels,
        "available": prior.available,
        "reason": prior.reason,
        "conditions": _conditions(tally, "all", evaluation.labels.classes),
    }


def _region(tally: Tally, region: str, names: tuple[str, ...]) -> dict[str, Any]:
    counts = tally.confusion.get(region, {})
    sequences = [
        {
            "name": key.name,
            "condition": key.condition,
            "hits": counts[key].diag().tolist(),
            "truth": counts[key].sum(1).tolist(),
            "predicted": counts[key].sum(0).tolist(),
        }
        for key in sorted(counts)  # each picture is one where there are no recordings, so matrices would be too much
    ]
    return {"conditions": _conditions(tally, region, names), "sequences": sequences}


def _conditions(tally: Tally, region: str, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the scores of "all" and of each condition; None instead of scores where there is no pixel."""
    found: dict[str, Any] = {}
    for condition in (None, *tally.conditions):
        scores, total = tally.scores(region, condition), tally.total(region, condition)
        plain = {"miou": None, "accuracy": None, "pixels": 0, "iou": {}} if scores is None else _plain(scores, names)
        interval = {"interval": tally.interval(region, condition)}
        found[condition or "all"] = {
            "samples": tally.count(condition),
            **plain,
            **interval,
            "confusion": total.tolist(),
        }
    return found


def write_json(path: Path, evaluation: Evaluation, about: dict[str, Any]) -> None:
    """Write the values of `to_json`, a row of a matrix on a line."""
    text = json.dumps(to_json(evaluation, about), indent=1)
    rows = re.sub(r"\[\n\s*([-\d.e,\s]+?)\s*\]", lambda found: f"[{' '.join(found[1].split())}]", text)
    _write(path, rows + "\n")


def write_html(path: Path, evaluation: Evaluation, about: dict[str, Any]) -> None:
    """Write the report: scores, confusion matrix, and images of the examples."""
    names = evaluation.labels.classes
    several = len(evaluation.tallies) > 1
    notes = [prior_sentence(evaluation), bootstrap_sentence(), *age_sentences(evaluation)]
    legend = (f"<b>{name}</b>: {html.escape(text)}" for name, text in REGIONS.items())
    parts = [
        "<!doctype html><meta charset='utf-8'><title>mambaseg eval</title>",
        f"<style>{_STYLE}</style><h1>mIoU {percent(evaluation.overall.miou)}</h1>",
        _table(["", ""], ((html.escape(key), html.escape(_text(value))) for key, value in about.items())),
        *(f"<p>{html.escape(note)}</p>" for note in notes if note),
        "<h2>By condition</h2>",
        _table(SUMMARY, summary_rows(evaluation)),
        "<h2>By region: mIoU in %</h2>",
        f"<p>{'<br>'.join(legend)}</p>",
        _table(setting_head(evaluation, "region"), region_rows(evaluation)),
        *(_by_region(evaluation) if several else []),
        "<h2>By class: IoU in %</h2>",
        _table(["class", "all", *evaluation.by_condition], _class_rows(evaluation)),
        f"<p>{html.escape(absent_sentence(evaluation))}</p>",
        "<h2>Confusion: share in % of a true class (row) that was taken for a class (column)</h2>",
        _confusion(evaluation.all_confusion, names),
        f"<h2>Samples: image, {evaluation.second}, truth, prediction, error (red; ignored pixels are gray)</h2>",
        *([_event_legend()] if evaluation.second == "events" else []),
        *(_figures(example, evaluation.labels, evaluation.second) for example in evaluation.examples),
    ]
    _write(path, "\n".join(parts) + "\n")


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _by_region(evaluation: Evaluation) -> Iterable[str]:
    """Yield the tables by condition, age and inputs, one for each region."""
    yield "<h2>By condition, age of the image and inputs: mIoU in %</h2>"
    for region in REGIONS:
        yield f"<h3>{region}</h3>" + _table(setting_head(evaluation, "condition"), condition_rows(evaluation, region))


def _class_rows(evaluation: Evaluation) -> Iterable[tuple[str, ...]]:
    for (name, *values), color in zip(class_rows(evaluation), evaluation.labels.colors, strict=True):
        yield (f"{_box(color)} {html.escape(name)}", *values)


def _event_legend() -> str:
    return f"<p>Events: {', '.join(f'{_box(color)} {name}' for name, color in EVENT_LEGEND)}</p>"


def _box(color: Color) -> str:
    return f"<span class='box' style='background: rgb{color}'></span>"


def _confusion(matrix: Tensor, names: tuple[str, ...]) -> str:
    shares = (matrix.double() / matrix.sum(1, keepdim=True).clamp(min=1)).tolist()
    rows = [
        (
            html.escape(name),
            *(f"<div style='background: rgba(40, 90, 200, {share:.2f})'>{100 * share:.1f}</div>" for share in row),
        )
        for name, row in zip(names, shares, strict=True)
    ]
    return _table(["truth", *names], rows)


def _figures(example: Example, labels: LabelSet, second: str) -> str:
    pictures = {
        "image": example.image,
        second: example.second,
        "truth": labels.color_mask(example.truth),
        "prediction": labels.color_mask(example.predicted),
        "error": error_picture(example),
    }
    figures = (
        f"<figure><img src='data:image/png;base64,{_png(picture)}'><figcaption>{name}</figcaption></figure>"
        for name, picture in pictures.items()
    )
    return f"<h3>{html.escape(example.title)}</h3><div class='row'>{''.join(figures)}</div>"


def error_picture(example: Example) -> Picture:
    """Draw the errors, RGB [H, W, 3]: correct pixels white, wrong ones red, ignored ones gray."""
    picture = np.full((*example.truth.shape, 3), 255, np.uint8)
    picture[example.truth != example.predicted] = (210, 30, 30)
    picture[example.truth == IGNORE] = 150
    return picture


def _png(picture: Picture) -> str:
    return base64.b64encode(encode_png(picture)).decode()


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = ["".join(f"<td>{cell}</td>" for cell in row) for row in rows]
    title = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    return f"<table><tr>{title}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _plain(scores: Scores, names: tuple[str, ...]) -> dict[str, Any]:
    iou = {name: value for name, value in zip(names, scores.iou, strict=True) if value is not None}
    return {"miou": scores.miou, "accuracy": scores.accuracy, "pixels": scores.pixels, "iou": iou}


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)

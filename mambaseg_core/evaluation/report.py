"""Reports of an evaluation: JSON, and one self-contained HTML file."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from mambaseg_core.evaluation.evaluate import Evaluation, Example
from mambaseg_core.evaluation.metrics import Scores
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
    """Return scores (0 to 1) and confusion matrices as plain values.

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
    }


def write_json(path: Path, evaluation: Evaluation, about: dict[str, Any]) -> None:
    """Write the values of `to_json`."""
    _write(path, json.dumps(to_json(evaluation, about), indent=1) + "\n")


def write_html(path: Path, evaluation: Evaluation, about: dict[str, Any]) -> None:
    """Write the report: scores, confusion matrix, and images of the examples."""
    names = evaluation.labels.classes
    parts = [
        "<!doctype html><meta charset='utf-8'><title>mambaseg eval</title>",
        f"<style>{_STYLE}</style><h1>mIoU {_percent(evaluation.overall.miou)}</h1>",
        _table(["", ""], ((html.escape(str(k)), html.escape(str(v))) for k, v in about.items())),
        "<h2>By condition</h2>",
        _table(["condition", "samples", "mIoU", "accuracy"], summary_rows(evaluation)),
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


def summary_rows(evaluation: Evaluation) -> list[tuple[str, str, str, str]]:
    """Return rows of (condition, samples, mIoU, accuracy); the first row has all samples."""
    rows = [("all", sum(evaluation.samples.values()), evaluation.overall)]
    rows += [(name, evaluation.samples[name], scores) for name, scores in evaluation.by_condition.items()]
    return [(name, str(count), _percent(s.miou), _percent(s.accuracy)) for name, count, s in rows]


def class_rows(evaluation: Evaluation) -> list[tuple[str, ...]]:
    """Return rows of (class, IoU over all samples, IoU of each condition)."""
    columns = [evaluation.overall, *evaluation.by_condition.values()]
    return [
        (name, *(_percent(scores.iou[number]) for scores in columns))
        for number, name in enumerate(evaluation.labels.classes)
    ]


def absent_sentence(evaluation: Evaluation) -> str:
    """Return a sentence that names the classes left out of the mean."""
    if not evaluation.absent:
        return "Every class occurs in the truth."
    return f"Never in the truth, and left out of the mean: {', '.join(evaluation.absent)}."


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


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)

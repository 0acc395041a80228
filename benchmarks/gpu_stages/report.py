"""The report: a Markdown table for each stage, made from the rows of the last time it ran."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gpu_stages.plan import STAGES
from gpu_stages.results import Row


def report(rows: list[Row]) -> str:
    """Return the Markdown of rows that were read from one or more files."""
    runs = [row for row in rows if "run" in row]
    lines = [f"- {_line(run)}" for run in runs]
    for stage in STAGES:
        if last := _last_run([row for row in rows if row.get("stage") == stage.name]):
            lines += ["", f"### {stage.name}: {stage.what}", "", *_section(last)]
    return "\n".join(lines)


def _last_run(rows: list[Row]) -> list[Row]:
    """Return the rows from the last start on."""
    starts = [number for number, row in enumerate(rows) if row.get("status") in ("started", "skipped")]
    return rows[starts[-1] :] if starts else rows


def _section(rows: list[Row]) -> Iterator[str]:
    """Yield how a stage ended, its tables (rows with the same columns belong together) and what failed."""
    end = next((row for row in reversed(rows) if row.get("status") != "started" and "status" in row), None)
    yield "no end: the run was ended from outside" if end is None else _line(end)
    measured = [row for row in rows if "status" not in row and "failed" not in row]
    tables: dict[str, list[Row]] = {}
    for row in measured:
        tables.setdefault(str(row.get("table", "")), []).append(row)
    for name, found in tables.items():
        yield from ("", f"{name}:") if name else ()
        yield from ("", *_table(found))
    failures = [row for row in rows if "failed" in row]
    yield from ("", "Failed:", "") if failures else ()
    yield from (f"- {row['failed']}: {row['error']}" for row in failures)


def _table(rows: list[Row]) -> Iterator[str]:
    """Yield a table with the columns of all rows, in the order in which they first occur."""
    columns = list(dict.fromkeys(key for row in rows for key in row if key not in ("stage", "table")))
    yield "| " + " | ".join(column.replace("_", " ") for column in columns) + " |"
    yield "|" + "---|" * len(columns)
    for row in rows:
        yield "| " + " | ".join(_cell(row.get(column)) for column in columns) + " |"


def _line(row: Row) -> str:
    """Return a row as "key: value" pairs."""
    return ", ".join(f"{key}: {_cell(value)}" for key, value in row.items() if key != "stage")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
    if isinstance(value, list):
        return ", ".join(map(_cell, value))
    return " ".join(str(value).split()).replace("|", "\\|")

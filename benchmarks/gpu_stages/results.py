"""Results as JSON lines: appended one by one, and on disk before the next is measured."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILE = "results.jsonl"
Row = dict[str, Any]


def append(path: Path, row: Row) -> None:
    """Append a row and wait until it is on disk."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> list[Row]:
    """Read the rows of a file; one that was cut short by a kill is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


@dataclass
class Run:
    """What a stage gets: where and how large it runs, and where its rows go.

    Attributes:
        device: "cuda" or "cpu".
        tiny: Whether sizes are tiny, to try the script.
        out: Folder of the results.
        stage: Name of the stage.
        failures: Parts that failed so far.
    """

    device: str
    tiny: bool
    out: Path
    stage: str
    failures: int = field(default=0, init=False)

    @property
    def on_gpu(self) -> bool:
        """Whether the stage runs on a GPU."""
        return self.device != "cpu"

    def add(self, **row: Any) -> None:
        """Write one row of the stage's table."""
        append(self.out / FILE, {"stage": self.stage, **row})

    def fail(self, part: str, error: str, details: str = "") -> None:
        """Write that a part of the stage failed."""
        self.failures += 1
        append(self.out / FILE, {"stage": self.stage, "failed": part, "error": error, "details": details[-3000:]})

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Run a part of the stage whose failure leaves a traceback in the results and does not end the stage."""
        try:
            yield
        except Exception as error:  # whatever it is belongs into the results, and the next part may work
            print(traceback.format_exc(), flush=True)
            text = " ".join(str(error).split())[:300]
            self.fail(name, f"{type(error).__name__}: {text}", traceback.format_exc())

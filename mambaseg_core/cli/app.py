"""The command's root, its console and its progress bars."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, TypeAlias

import typer
from rich.console import Console
from rich.progress import Progress
from rich.text import Text

app = typer.Typer(
    help="Semantic masks of the road scene from a camera and an event camera.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
console = Console(markup=False, emoji=False)  # what is printed may be a path

Engine: TypeAlias = Annotated[
    str, typer.Option(help="auto: by the file; or torch, onnxruntime, openvino, aoti or tensorrt")
]


def warn(sentence: str) -> None:
    """Print a one-sentence warning."""
    say("warning", sentence, "yellow")


def say(word: str, sentence: str, style: str) -> None:
    """Print a sentence after a coloured word and a colon, as it is: it may name any path."""
    console.print(Text.assemble((f"{word}:", style), f" {sentence}"), soft_wrap=True)


@contextmanager
def shown_warnings() -> Iterator[None]:
    """Print each `RecordingWarning` raised inside once, as one sentence."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def print_sentence(message: Warning | str, category: type[Warning], *rest: Any, **options: Any) -> None:
            from mambaseg_core.recordings.errors import RecordingWarning  # slow; only where a recording was opened

            if issubclass(category, RecordingWarning):
                warn(str(message))
            else:
                show(message, category, *rest, **options)

        warnings.showwarning = print_sentence
        yield


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar; yield a function of the number of steps done and of all steps."""
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(what)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def size_of(what: str, text: str) -> tuple[int, int]:
    """Return (height, width) of a text such as 240x320; raise ValueError for any other."""
    parts = text.split("x")
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        raise ValueError(f"{what} is {text!r}, expected height x width in pixels, such as 240x320")
    return int(parts[0]), int(parts[1])

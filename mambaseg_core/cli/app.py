"""The command's root, its console and its progress bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

app = typer.Typer(
    help="Semantic masks of the road scene from a camera and an event camera.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
console = Console()


def warn(sentence: str) -> None:
    """Print a one-sentence warning."""
    console.print(f"[yellow]warning:[/yellow] {escape(sentence)}", highlight=False, soft_wrap=True)


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar; yield a function of the number of steps done and of all steps."""
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(what)
        yield lambda done, total: bar.update(task, completed=done, total=total)

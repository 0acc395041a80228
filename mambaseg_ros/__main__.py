"""The `mambaseg` command, also as `python -m mambaseg_ros`: what is done before the slow imports."""

from __future__ import annotations

from mambaseg_ros import signals
from mambaseg_ros.cores import prepare_command


def main() -> None:
    """Run the command; a signal ends it in silence at any time."""
    signals.end_at_once(signals.INTERRUPTED)
    prepare_command()
    from mambaseg_ros.cli import main as command  # imports torch

    signals.run_command(command)


if __name__ == "__main__":
    main()

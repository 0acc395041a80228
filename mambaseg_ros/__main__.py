"""`python -m mambaseg_ros` is the `mambaseg` command."""

from mambaseg_ros.cli import main

main()

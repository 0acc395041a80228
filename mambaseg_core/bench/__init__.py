"""Benchmarks run by `mambaseg bench`; docs/benchmarks.md has their output.

They are part of the package, so that the command works wherever the package is installed and every user can compare a
machine with the published tables.
"""

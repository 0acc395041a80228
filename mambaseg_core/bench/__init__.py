"""Benchmarks, run by `mambaseg bench`; docs/benchmarks.md holds what they printed.

They live in the package and not in a folder beside it, so that the command works wherever the package is installed and
every user can compare a machine with the published tables.
"""

"""Data sets and the synthetic scene."""

"""Operators of the models and of the event path."""

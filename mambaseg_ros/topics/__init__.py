"""Subscriptions, publishers, and what people are told about them."""

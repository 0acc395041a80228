"""Synthetic drives: a scene, its light, the cameras that see it, and the data sets written from them."""

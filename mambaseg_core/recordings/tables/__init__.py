"""Events as tables: NumPy arrays and text."""

"""Prophesee's own files: `.raw` and `.dat`."""

"""Files of tensors, known by their bytes: archives and older pickles of torch.save, and safetensors."""

from __future__ import annotations

from mambaseg_core.tensor_files.read import read_metadata, read_tensors

__all__ = ["read_metadata", "read_tensors"]

"""Exported files of a small network, made once."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_networks import small_network

from mambaseg_core.export.network import ExportForm
from mambaseg_core.export.onnx_file import export_onnx

FORMS = {
    "logits": ExportForm(),
    "mask": ExportForm(outputs="mask"),
    "pairs_of_images": ExportForm(inputs="image", batch=2),
}


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, engines: None) -> dict[str, Path]:
    """Files of one network by what they are for."""
    folder = tmp_path_factory.mktemp("exported")
    for name, form in FORMS.items():
        export_onnx(small_network("mambaseg_nano"), folder / f"{name}.onnx", form, frames=1)
    return {name: folder / f"{name}.onnx" for name in FORMS}

"""Data sets of labeled images, each with its events or a second camera's image."""

from mambaseg_core.data.dataset import RecordingDataset, SampleDataset
from mambaseg_core.data.ddd17 import Ddd17Dataset
from mambaseg_core.data.dsec_dataset import DsecDataset
from mambaseg_core.data.picture_folder import PictureDataset
from mambaseg_core.data.rgbx import RgbxDataset
from mambaseg_core.data.sample import Batch, Sample, collate

__all__ = [
    "Batch",
    "Ddd17Dataset",
    "DsecDataset",
    "PictureDataset",
    "RecordingDataset",
    "RgbxDataset",
    "Sample",
    "SampleDataset",
    "collate",
]

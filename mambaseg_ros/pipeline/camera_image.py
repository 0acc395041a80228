"""An image of the camera on its way to the model: read and prepared once, ahead of its mask where there is time."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from mambaseg_core.inference import PreparedImage, Segmenter
from mambaseg_ros.messages.images import Image, image_from_message
from mambaseg_ros.pipeline.region import Region, read_region


class CameraImage:
    """An image message, with what was made of it so far. Only the worker's thread uses it.

    Args:
        message: sensor_msgs/Image or CompressedImage.
    """

    def __init__(self, message: Any) -> None:
        self.message = message
        self._picture: Image | None = None
        self._prepared: PreparedImage | None = None
        self._region: Region | None = None  # that was prepared
        self._tried = False

    def read(self) -> Image:
        """Return the picture, uint8 [H, W] or RGB [H, W, 3].

        Raises:
            ValueError: as `image_from_message`.
        """
        if self._picture is None:
            self._picture = image_from_message(self.message)
        return self._picture

    def prepared(self, segmenter: Segmenter, region: Region | None) -> PreparedImage:
        """Return what the model takes of the picture, or of its region of interest.

        It is prepared again where region or calibration have changed.

        Raises:
            ValueError: as `read` and `Segmenter.prepare_image`.
        """
        kept = self._prepared
        if kept is None or region != self._region or kept.calibration is not segmenter.calibration:
            picture = self.read()
            self._prepared = kept = segmenter.prepare_image(picture if region is None else region.of_image(picture))
            self._region = region
        return kept

    def prepare_ahead(self, segmenter: Segmenter, roi: str) -> None:
        """Read and prepare it once, before anything needs it. Errors are left to those who need it.

        Args:
            segmenter: that makes the mask.
            roi: the parameter.
        """
        if self._tried:
            return
        self._tried = True
        with suppress(Exception):  # raised again where the mask is made
            self.prepared(segmenter, read_region(roi))

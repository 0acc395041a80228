"""From the model's mask to a `PublishedMask`: mapped back to the image, or as it left the model."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from mambaseg_core.inference import Mask, Segmenter
from mambaseg_ros.messages.camera_infos import MaskView
from mambaseg_ros.messages.images import Image
from mambaseg_ros.pipeline.results import PublishedMask


def mask_to_publish(
    segmenter: Segmenter, mask: Mask, *, header: Any, image: Image | None, size: tuple[int, int], full: bool
) -> PublishedMask:
    """Return what is published of a mask; all but the ids are made when somebody asks for them.

    Args:
        segmenter: that made the mask.
        mask: in the model's view.
        header: of the published mask.
        image: the camera's image, None if the mask is of the second input alone.
        size: (height, width) of the image, or of the second input without one.
        full: whether the mask gets that size; False leaves it as the model made it.
    """
    setup = segmenter.preprocessing
    back = setup.mask_in_view if image is None else segmenter.to_camera

    def placed(values: Image) -> Image:
        return back(values, size) if full else values

    ids = placed(mask.ids)
    return PublishedMask(
        header=header,
        image=image,
        ids=ids,
        over_image=(lambda: ids) if full else partial(back, mask.ids, size),
        view=_view(segmenter, size, has_image=image is not None, full=full),
        confidence=lambda: placed((254 * mask.confidence + 0.5).astype(np.uint8)),
        class_shares=partial(setup.label_set.shares, ids),
    )


def _view(segmenter: Segmenter, size: tuple[int, int], *, has_image: bool, full: bool) -> MaskView:
    calibration, camera = segmenter.calibration, None
    if calibration is not None and not (full and has_image):
        camera, size = calibration.event, calibration.event_size
    to_mask = np.eye(3) if full else segmenter.preprocessing.view_to_mask(size)
    return MaskView(size, to_mask, camera, has_image)

"""mambaseg_core: models, kernels and event processing for image-event semantic segmentation."""

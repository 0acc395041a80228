"""The authors' checkpoints: names, loading, ImageNet weights, and the inputs they expect."""

"""The authors' checkpoints: names, loading, ImageNet weights, and their inputs."""

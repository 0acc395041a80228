"""Training: from a configuration to weights. `module`, `callbacks` and `run` need Lightning."""

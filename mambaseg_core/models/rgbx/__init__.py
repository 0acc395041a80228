"""Networks for two images, RGB and thermal or depth: Sigma and RSGMamba."""

"""Event-camera data: the `Events` type, decoding, windows, calibration and files."""

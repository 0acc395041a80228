"""Cameras: intrinsics, distortion, rectification, and the warp between two cameras' views."""

"""MambaSeg: two VMamba encoders, fused in space and time."""

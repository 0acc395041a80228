"""The stages of `benchmarks/gpu.py`: `plan` lists them, `runner` runs them, `report` prints what they found."""

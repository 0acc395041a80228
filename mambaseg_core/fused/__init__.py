"""The inference form of a finished network: its known modules replaced by ones that run fused operators.

`form.InferenceForm` is the pass. `models` holds the networks as plain PyTorch, and knows nothing of this room.
"""

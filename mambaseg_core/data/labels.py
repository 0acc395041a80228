"""The label sets under their old name; they live in `mambaseg_core.labels`, below `preprocessing`."""

from mambaseg_core.labels import DDD17_6, DSEC_11, IGNORE, LABEL_SETS, LabelSet

__all__ = ["DDD17_6", "DSEC_11", "IGNORE", "LABEL_SETS", "LabelSet"]

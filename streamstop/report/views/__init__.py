"""Frozen values that pages show, read from the files of a run or a training."""

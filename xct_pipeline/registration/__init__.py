"""Volumes in time to one frame: rigid motion, warp, grey-value calibration and local displacement."""

"""Volumes of other programs as they lie in files: arrays that are read in boxes, and what their files say of them."""

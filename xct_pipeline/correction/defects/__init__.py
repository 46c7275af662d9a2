"""Stripes of the detector and nothing but the detector: found in a whole scan, corrected in place."""

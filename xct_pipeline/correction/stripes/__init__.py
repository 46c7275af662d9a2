"""Removal of stripes from sinograms, a file per family of methods."""

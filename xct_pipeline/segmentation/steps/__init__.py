"""The steps of the segmentation: what reads the store, runs in blocks and writes labels and tables."""

"""The zarr store of a sample: images, tables, estimates and markers, and what they were made from."""

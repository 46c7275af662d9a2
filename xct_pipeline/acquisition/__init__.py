"""Raw files to `xct_pipeline.scan.Scan`.

`open_scan` opens NXtomo/NeXus and APS Data Exchange files, `open_tiff_scan` stacks of TIFF images.
`nxtomo`, `dxchange` and `tiff_stack` know one format each, `references` joins flats and darks of other files,
`checks` refuses what cannot be used. `hdf5` and `storage` follow links and tell missing data from zeros.
"""

from xct_pipeline.acquisition.reader import open_scan, open_tiff_scan

__all__ = ["open_scan", "open_tiff_scan"]

"""The steps of the reconstruction: from sinograms to the volume of a scan."""

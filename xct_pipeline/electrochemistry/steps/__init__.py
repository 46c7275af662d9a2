"""Logs, spectra, voltammograms and cycles of a configuration, brought to the scans and into tables."""

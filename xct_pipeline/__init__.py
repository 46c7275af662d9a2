"""From a series of raw X-ray tomography scans to maps of the mass that left and entered."""

"""Sinograms to attenuation: centre of rotation, filters, the Fourier core, external packages, half acquisition."""

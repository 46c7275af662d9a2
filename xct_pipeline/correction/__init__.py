"""Counts to line integrals: flat field, air, detector defects, zingers, stripes, distortion, phase, hardening."""

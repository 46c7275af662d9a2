"""The steps of the correction: block operations from counts to line integrals, and what they need estimated."""

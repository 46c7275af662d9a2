"""A simulated operando cell with known truth, and raw scans of it as a beamline writes them."""

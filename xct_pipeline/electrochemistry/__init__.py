"""What cyclers and potentiostats recorded beside the scans: logs, impedance spectra, voltammograms, cycling.

Kernels lie here: `log` reads what passed and when, `impedance` reads spectra, `drt` turns them into relaxation times,
`voltammetry` and `cycling` sum up sweeps and cycles. ``steps`` brings all of it to the scans and into tables.
"""

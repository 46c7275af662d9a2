"""Columns that tables of several stages have."""

from __future__ import annotations

from xct_pipeline.store.columns import count, index, quantity, text

SCAN = text("scan", "name of the scan")

PROBLEM = text("problem", "why the scan could not be finished; empty where it was")

TIME = quantity("time_s", "s", "middle of the scan, since the start of the first one")

CHARGE = quantity("charge_C", "C", "that passed since the reference, positive when the species leaves")

VOLTAGE = quantity("voltage_V", "V", "of the cell")

VOXELS = count("voxels", "voxels")

LABEL = index("label", "value in the image of labels")

MASS = (
    quantity("mass_change_mg", "mg", "change of mass of the species, negative where it left"),
    quantity("sigma_mg", "mg", "its standard error, all causes together"),
)

DENSITIES = (
    quantity("density_g_cm3", "g/cm3", "mean change of density of the species"),
    quantity("sigma_density_g_cm3", "g/cm3", "its standard error"),
)

AREALS = (
    quantity("areal_mg_cm2", "mg/cm2", "the same of a layer one voxel thick"),
    quantity("sigma_areal_mg_cm2", "mg/cm2", "its standard error"),
)

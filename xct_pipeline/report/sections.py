"""Which panels there are, in which order, and what they say: first the product, then how it came about."""

from __future__ import annotations

from collections.abc import Sequence

from xct_pipeline.report import charts, conclusions, figures, maps, resolution, routes, verdicts, workflow
from xct_pipeline.report.echem_sections import ELECTROCHEMISTRY
from xct_pipeline.report.frames import frames
from xct_pipeline.report.markup import Picture, both, chart, table
from xct_pipeline.report.methods import methods_panel
from xct_pipeline.report.panel import Panel, Section
from xct_pipeline.report.panels import (
    areal_maps,
    changes,
    configuration,
    experiment,
    fit,
    legend,
    motion,
    other_tables,
    versions,
    viewer,
)

SECTIONS: Sequence[Section] = (
    Section(
        "map",
        "Mass variation",
        (
            Panel(
                "Maps beside the voltage profile",
                "Each column is a scan, led to from its place on the profile. Top: the change of density in 3-D "
                "and its sum; below: its mean over the region from above (x–y), the front (x–z) and the side (y–z), "
                "averaged over neighbours to still the noise of single voxels. One scale for all: losses blue, gains "
                "red. The reference, whose change is zero, is shown as it looks.",
                Picture(maps.time_series, "time series of mass-variation maps below the voltage profile"),
                conclusions.mass_says,
            ),
            Panel(
                "The same in 3-D",
                "Turn it with the mouse and choose the scan with the slider; its place on the voltage "
                "profile and on the mass curve is marked in orange.",
                changes,
            ),
            Panel(
                "From slice to map",
                "One section of the last scan at each stage. Single voxels of a difference are noise: these are "
                "means over nine planes, and the map is an integral over the region, in bins.",
                Picture(workflow.workflow, "from the reconstructed slice to the areal map"),
            ),
        ),
    ),
    Section(
        "areal",
        "Areal maps",
        (
            Panel(
                "Change, error and significance",
                "Mass per area along the stack, its standard error, and their ratio; the black line holds what "
                "exceeds the decision limit, 1.645 σ. Point at a square to read it.",
                areal_maps,
                verdicts.significant_bins,
            ),
            Panel(
                "Between consecutive scans",
                "What changed from each scan to the next, in the same bins.",
                Picture(maps.consecutive, "areal change between consecutive scans", maps.consecutive_data),
                verdicts.largest_step,
            ),
        ),
    ),
    Section(
        "balance",
        "Faraday balance",
        (
            Panel(
                "Measured mass against charge",
                "Error bars are one standard deviation of the whole budget. A slope of 1 "
                "says that all charge was carried by the species. Below: the difference in units of its error.",
                both(chart(charts.faraday), fit),
            ),
            Panel(
                "What the error consists of",
                "Standard deviation of each scan's mass by cause; the bar across is their root sum of squares.",
                chart(charts.budget),
                verdicts.main_error,
            ),
            Panel(
                "Grey values of what is uniform",
                "By how much the uniform material is brighter at its surface than in its middle, where it should be "
                "alike: scattered light, a detector that is not linear and a wide spectrum make it so.",
                chart(routes.cupping),
                verdicts.cupping,
            ),
            Panel(
                "Routes to the mass",
                "The sum over the region against what its detector rows lost, from sinograms: the scatter over "
                "the angles is that route's error. A difference beyond the joint error changed beside the region.",
                chart(routes.routes),
                verdicts.routes_agree,
            ),
            Panel(
                "Mass along the detector's rows",
                "Change in all that a row sees, at the height of the reference; rows of the region are shaded. A pair "
                "of peaks of opposite sign is a face that the motion crossed.",
                chart(routes.rows),
            ),
        ),
    ),
    Section(
        "profiles",
        "Profiles",
        (
            Panel(
                "Depth",
                "Mean change of density against depth from the ceramic's surface; depths of few voxels are left out.",
                chart(charts.profile, "depth_profile", "depth_um", "depth, µm"),
                verdicts.peak("depth_profile", "depth_um", "depth"),
            ),
            Panel(
                "Radius",
                "Mean change of density against distance from the axis; radii of few voxels are left out.",
                chart(charts.profile, "radial_profile", "radius_um", "radius, µm"),
                verdicts.peak("radial_profile", "radius_um", "radius"),
            ),
        ),
    ),
    Section(
        "interface",
        "Interface",
        (
            Panel(
                "Contact with the ceramic",
                "Share of the ceramic's surface that each material covers, this many voxels into the anode.",
                chart(charts.contact),
                verdicts.contact_change,
            ),
        ),
    ),
    ELECTROCHEMISTRY,
    Section(
        "cell",
        "Pristine cell",
        (
            Panel(
                "Virtual cross-sections",
                "The reference scan in three planes on one grey scale. Drag the slider to move "
                "through z; the line in the upright sections marks the plane.",
                both(viewer, legend),
            ),
        ),
    ),
    Section(
        "labels",
        "Labels",
        (
            Panel(
                "Materials",
                "Labels laid over the registered volume, in the middle planes.",
                Picture(figures.labels, "labels over sections"),
            ),
            Panel(
                "Volume of each material",
                "Counted voxels times their volume; what a moved scan does not cover belongs to no material, so the "
                "sum of all may differ between scans.",
                chart(charts.label_volumes),
                verdicts.volume_change,
            ),
        ),
    ),
    Section(
        "registration",
        "Registration",
        (
            Panel(
                "Before and after",
                "Each scan minus the reference. What the motion left at edges before is gone after; "
                "what stays is change and noise. One scale; rms of each picture in its title.",
                Picture(figures.differences, "differences before and after registration"),
            ),
            Panel(
                "Residuals",
                "How well each scan lies on the reference and how its grey scale differs.",
                both(chart(charts.residuals), motion),
                verdicts.match,
            ),
        ),
    ),
    Section(
        "reconstruction",
        "Reconstruction",
        (
            Panel(
                "Centre of rotation",
                "Score of trial centres by two independent methods, about the one that was taken.",
                chart(charts.centres),
                verdicts.centres_agree,
            ),
            Panel(
                "Noise and resolution",
                "Volumes from even and from odd projections, correlated in shells of spatial frequency: 1 where both "
                "show the same structure, 0 where there is only noise. Dotted lines mark where a curve falls below "
                "half a bit of information per voxel; rings are the same in both halves and count as structure.",
                chart(resolution.resolution),
                resolution.resolved,
            ),
            Panel(
                "Frames",
                "The projections, flats and darks of each scan, and which of them deviate from their kind. "
                "Point at a mark to read what was seen there.",
                chart(frames),
                verdicts.frames_left_out,
            ),
            Panel(
                "Numbers",
                "Centre, its error and what was corrected in the raw data, per scan.",
                table("reconstruction"),
            ),
        ),
    ),
    Section(
        "experiment",
        "Experiment",
        (
            Panel(
                "Scans",
                "Raw files as the store names them, and what they recorded; times count from the "
                "start of the first scan.",
                experiment,
            ),
            Panel(
                "Methods and papers to cite",
                "What was done, from what the store holds; xct cite prints the same.",
                methods_panel,
            ),
            Panel("Software", "Versions of what computed the store.", versions),
            Panel("Configuration", "What was asked for; running it again gives the same store.", configuration),
        ),
    ),
    Section(
        "tables",
        "Tables",
        (
            Panel(
                "Everything in tables/",
                "Units stand below the names of columns; whole files are in the store.",
                other_tables,
            ),
        ),
    ),
)

"""A paragraph on the methods of a run, and the papers to cite: what the store says was really used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from markupsafe import Markup

from xct_pipeline.report.contents import AbsentError, Contents
from xct_pipeline.report.drawing import closure_words
from xct_pipeline.report.references import REFERENCES, Reference
from xct_pipeline.store import layout
from xct_pipeline.store.series import Series

Settings = Mapping[str, Any]
STRIPES = {
    "sorting": ("sorting", "vo2018"),
    "filtering": ("filtering and sorting", "vo2018"),
    "fitting": ("fitting", "vo2018"),
    "large": ("the removal of large stripes", "vo2018"),
    "dead": ("interpolation over dead columns", "vo2018"),
    "all": ("the combined removal of stripes of all kinds", "vo2018"),
    "defects": ("replacing columns that are defective in all scans, found after", "vo2018"),
    "fourier_wavelet": ("a combined Fourier and wavelet filter", "munch"),
    "titarenko": ("regularisation", "titarenko"),
}
METHODS = {
    "fourier": ("by direct Fourier inversion with gridding", "beatty"),
    "astra": ("with the ASTRA toolbox", "astra"),
    "tomopy": ("with tomopy", "tomopy"),
    "iterative": ("iteratively", "chambolle"),
}
SEGMENTATIONS = {
    "otsu": ("thresholds by Otsu's method", "otsu"),
    "watershed": ("thresholds and a watershed at faces", "lotufo"),
    "hysteresis": ("hysteresis thresholds", ""),
    "values": ("given thresholds", ""),
    "classifier": ("a random forest trained on painted voxels", "breiman"),
}


@dataclass
class Methods:
    """Sentences in order, and the papers that they cite in order of their first mention."""

    sentences: list[str] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)

    def say(self, sentence: str) -> None:
        """Add a sentence."""
        self.sentences.append(sentence)

    def cite(self, *names: str) -> str:
        """Return the mark of papers, ``[1, 2]``; empty for none."""
        numbers = []
        for name in names:
            if not name:
                continue
            reference = REFERENCES[name]
            if reference not in self.references:
                self.references.append(reference)
            numbers.append(self.references.index(reference) + 1)
        return f" [{', '.join(map(str, numbers))}]" if numbers else ""

    @property
    def paragraph(self) -> str:
        """All sentences."""
        return " ".join(self.sentences)


def methods_of(series: Series) -> Methods:
    """Say how the results of a store were made.

    Raises
    ------
    AbsentError
        The store keeps no configuration, so nothing can be said.
    """
    config = series.config
    if not config:
        raise AbsentError("the store keeps no configuration of its run")
    found = Methods()
    _scans(found, series)
    if any(not _is_volume(series, scan) for scan in series.scans):
        _correction(found, config.get("correction") or {})
        _reconstruction(found, config.get("reconstruction") or {}, series)
    if series.has(layout.REGISTERED):
        _registration(found, config.get("registration") or {}, series)
    if series.has(layout.MATERIALS) and config.get("segmentation"):
        _segmentation(found, config["segmentation"])
    if "mass_balance" in series.tables and config.get("variation"):
        _mass(found, config["variation"], series)
    _electrochemistry(found, series)
    packages = ", ".join(f"{name} {version}" for name, version in series.versions.items() if name != "xct-pipeline")
    found.say(
        f"All was computed with xct-pipeline {series.versions.get('xct-pipeline', '')} ({packages})"
        f"{found.cite('numpy', 'scipy', 'dask')} and stored as OME-Zarr{found.cite('omezarr')}."
    )
    return found


def _is_volume(series: Series, scan: str) -> bool:
    return series.facts.get(scan, {}).get("starts_from") == "volume"


def _scans(found: Methods, series: Series) -> None:
    volumes = [scan for scan in series.scans if _is_volume(series, scan)]
    raw = [scan for scan in series.scans if scan not in volumes and scan in series.facts]
    if raw:
        facts = series.facts[raw[0]]
        size = f"{facts['projections']} projections of {facts['rows']} x {facts['columns']} pixels"
        pixel = f", {facts['pixel_size_um']:.4g} µm" if facts.get("pixel_size_um") else ""
        energy = f" at {facts['energy_keV']:.4g} keV" if facts.get("energy_keV") else ""
        turn = f" over {facts['angle_range_deg']:.4g} degrees" if facts.get("angle_range_deg") else ""
        found.say(f"{len(raw)} scan{'s' * (len(raw) != 1)} of {size}{pixel}{turn}{energy} were evaluated.")
    if volumes:
        facts = series.facts[volumes[0]]
        size = " x ".join(map(str, facts.get("shape") or ()))
        found.say(
            f"{len(volumes)} volume{'s' * (len(volumes) != 1)} of {size} voxels of {facts['pixel_size_um']:.4g} µm "
            "were reconstructed by another program."
        )


def _correction(found: Methods, settings: Settings) -> None:
    def method(name: str) -> str:
        return str((settings.get(name) or {}).get("method", "none"))

    flats = {"linear": "interpolated linearly in time", "mean": "averaged", "median": "taken by their median"}
    parts = [f"Flats were {flats.get(method('flatfield'), method('flatfield'))}"]
    if method("flatfield") == "dynamic":
        how = "made for each projection from the principal components of all flats and of the air beside the sample"
        parts = [f"Flats were {how}{found.cite('nieuwenhove2015')}"]
    if method("air") != "none":
        parts.append("each projection was scaled to the air beside the sample, where there was any")
    if method("distortion") != "none":
        parts.append(f"radial distortion of the lens was undone{found.cite('vo2015')}")
    if method("zinger") != "none":
        parts.append(f"hits of stray photons were replaced by the local median{found.cite('vo2021')}")
    if method("phase") != "none":
        parts.append(f"the phase was retrieved for a single material{found.cite('paganin')}")
    if method("beam_hardening") != "none":
        parts.append(f"beam hardening was corrected by a polynomial{found.cite('herman')}")
    if method("stripe") in STRIPES:
        how, paper = STRIPES[method("stripe")]
        parts.append(f"stripes were corrected by {how}{found.cite(paper)}")
    found.say(_joined(parts) + ".")


def _joined(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])}, and {parts[-1]}"


def _reconstruction(found: Methods, settings: Settings, series: Series) -> None:
    method = str(settings.get("method", "fourier"))
    how, paper = METHODS.get(method, (f"by {method}", ""))
    algorithm = settings.get("algorithm")
    if method == "iterative":
        paper = paper if algorithm == "TV" else ""
    window = f" and the {settings['filter']} filter" if method == "fourier" and settings.get("filter") else ""
    named = f" ({algorithm})" if algorithm else ""
    table = series.tables.get("reconstruction", pd.DataFrame())
    used = set(table["center_method"].dropna()) if "center_method" in table else set()
    text = f"Slices were reconstructed {how}{named}{window}{found.cite(paper)}"
    if used and used != {"given"}:
        text += f"; the centre of rotation was found from projections that face each other{found.cite('padfield')}"
        text += f" and compared with the metric of the double wedge{found.cite('vo2014')}"
    turned = table["tilt_corrected_deg"].dropna() if "tilt_corrected_deg" in table else pd.Series(dtype=float)
    if (turned != 0).any():
        text += f"; a tilt of the axis of up to {turned.abs().max():.2g} degrees was taken out by turning projections"
    leans = table["lean_corrected_deg"].dropna() if "lean_corrected_deg" in table else pd.Series(dtype=float)
    if (leans != 0).any():
        text += (
            f"; slices follow rays that lean along the beam as the axis does, by up to {leans.abs().max():.2g} degrees"
        )
    found.say(text + ".")
    if len(series.tables.get("shell_correlation", ())):
        found.say(
            "Noise and resolution of each scan were measured from volumes of its even and of its odd projections, by "
            f"Fourier shell correlation and the half-bit criterion{found.cite('harauz', 'vanheel')}."
        )


def _registration(found: Methods, settings: Settings, series: Series) -> None:
    motion = {"rigid": "rigidly", "translation": "by shifts", "affine": "by affine maps"}
    method, order = str(settings.get("method", "rigid")), str(settings.get("order", "cubic"))
    reference = series.scans[series.reference]
    found.say(
        f"All scans were registered {motion.get(method, method)} to {reference} by inverse-compositional Gauss-Newton "
        f"iteration on what does not change{found.cite('baker')}, brought to its grey scale, and resampled once with "
        f"{order} B-splines."
    )
    if settings.get("local") and "displacement" in series.tables:
        found.say(f"Local displacement was measured by digital volume correlation{found.cite('pan')}.")


def _segmentation(found: Methods, settings: Settings) -> None:
    how, paper = SEGMENTATIONS.get(str(settings.get("method")), (str(settings.get("method")), ""))
    if settings.get("method") in ("watershed",) and not settings.get("thresholds"):
        paper_too = found.cite(paper, "otsu")
    else:
        paper_too = found.cite(paper)
    denoise = (settings.get("denoise") or {}).get("method")
    after = f" after total-variation denoising{found.cite('chambolle2004')}" if denoise == "tv" else ""
    found.say(f"Materials were told apart by {how}{paper_too}{after}.")


def _mass(found: Methods, settings: Settings, series: Series) -> None:
    species = settings.get("species")
    measured = species in (settings.get("measured") or {})
    source = "measured" if measured else f"tabulated{found.cite('elam')}"
    closure = f"\u201c{closure_words(settings.get('closure'))}\u201d"
    found.say(
        f"The change of attenuation was turned into a change of the density of {species} with the {source} mass "
        f"attenuation under the closure {closure}; its errors are those of noise (from the autocovariance of "
        "differences where nothing changes), registration, grey scale, tables, energy and closure, and decision and "
        f"detection limits follow Currie{found.cite('currie')}."
    )
    if any(_is_volume(series, scan) for scan in series.scans):
        found.say("Errors that only projections tell are not included for scans that start from volumes.")
    if "faraday" in series.tables:
        found.say("The balance against the charge was fitted with errors in all scans and a shared reference.")


def _electrochemistry(found: Methods, series: Series) -> None:
    if "drt" in series.tables:
        found.say(
            "Distributions of relaxation times were found from impedance by ridge regression"
            f"{found.cite('ciucci')}, and spectra were tested by the Kramers-Kronig relations"
            f"{found.cite('schoenleber')}."
        )


def methods_panel(contents: Contents) -> Markup:
    """Draw the paragraph and its references."""
    found = methods_of(contents.series)
    items = Markup("").join(Markup("<li>{}</li>").format(str(reference)) for reference in found.references)
    return Markup("<p>{}</p><ol>{}</ol>").format(found.paragraph, items)

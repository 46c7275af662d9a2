"""Several routes to the same change of mass: do they agree within their errors?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


VOLUME, PROJECTIONS, ROWS, ALL_ROWS = "volume", "projections", "rows", "all rows"
BEYOND = 3.0  # joint standard errors from which on routes disagree
TREND = 4.0  # standard errors from which on the sum of all columns follows the angle


@dataclass(frozen=True)
class Route:
    """One estimate of the change of mass of a scan.

    Attributes
    ----------
    scan, route : str
    mass_mg, sigma_mg : float
        Change, and its standard error from what the routes do not share (not tables, energy and closure).
    scatter_mg, fixed_mg, level_mg, drift_mg, registration_mg : float
        The parts of that: scatter over angles, what is fixed to the detector, the level of air, what may have drifted
        before the first angle as it does after it, and the motion; NaN where it has none.
    scaled_mg : float
        The change with the gain of the series' grey scale applied, where the route does without it.
    trend_mg, trend_sigma_mg : float
        Change of the estimate from the first angle to the last.
    rows, truncated_rows : int or None
        That it sums over, and those in which the sample reaches beyond the detector.
    """

    scan: str
    route: str
    mass_mg: float
    sigma_mg: float
    scatter_mg: float = math.nan
    fixed_mg: float = math.nan
    level_mg: float = math.nan
    drift_mg: float = math.nan
    registration_mg: float = math.nan
    scaled_mg: float = math.nan
    trend_mg: float = math.nan
    trend_sigma_mg: float = math.nan
    rows: int | None = None
    truncated_rows: int | None = None

    def beyond(self, other: Route, mass_mg: float | None = None) -> float:
        """Return the difference to another route in joint standard errors; `mass_mg` in place of its own change."""
        joint = math.hypot(self.sigma_mg, other.sigma_mg)
        apart = abs((self.mass_mg if mass_mg is None else mass_mg) - other.mass_mg)
        return apart / joint if joint > 0 else 0.0

    def disagrees(self, other: Route) -> bool:
        """Tell whether two routes differ by more than their joint error, with and without the grey scale."""
        scaled = self.mass_mg if math.isnan(self.scaled_mg) else self.scaled_mg
        return min(self.beyond(other), self.beyond(other, scaled)) > BEYOND and not self.truncated_rows


def routes_table(routes: Sequence[Route]) -> pd.DataFrame:
    """Return one row per scan and route, each with its difference to the sum over the volume."""
    import pandas as pd

    volume = {route.scan: route for route in routes if route.route == VOLUME}
    rows = []
    for route in routes:
        first = volume[route.scan]
        same = route is first
        rows.append(
            {
                "scan": route.scan,
                "route": route.route,
                "mass_change_mg": route.mass_mg,
                "sigma_mg": route.sigma_mg,
                "sigma_scatter_mg": route.scatter_mg,
                "sigma_fixed_mg": route.fixed_mg,
                "sigma_level_mg": route.level_mg,
                "sigma_drift_mg": route.drift_mg,
                "sigma_registration_mg": route.registration_mg,
                "difference_mg": math.nan if same else route.mass_mg - first.mass_mg,
                "sigma_difference_mg": math.nan if same else math.hypot(route.sigma_mg, first.sigma_mg),
                "scaled_mg": route.scaled_mg,
                "trend_mg": route.trend_mg,
                "sigma_trend_mg": route.trend_sigma_mg,
                "rows": route.rows,
                "truncated_rows": route.truncated_rows,
            }
        )
    return pd.DataFrame(rows).astype({"rows": "Int64", "truncated_rows": "Int64"})


def warnings_of(routes: Sequence[Route]) -> list[str]:
    """Return one sentence for each kind of disagreement, about the scan where it is largest."""
    volume = {route.scan: route for route in routes if route.route == VOLUME}
    told = []
    fitted = [r for r in routes if r.route == PROJECTIONS and r.disagrees(volume[r.scan])]
    if fitted:
        worst = max(fitted, key=lambda r: abs(r.mass_mg - volume[r.scan].mass_mg))
        told.append(
            f"{worst.scan}: routes to the mass disagree: {worst.mass_mg:.4g} +- {worst.sigma_mg:.2g} mg by least "
            f"squares on projections, {volume[worst.scan].mass_mg:.4g} +- {volume[worst.scan].sigma_mg:.2g} mg by the "
            f"sum over the region ({len(fitted)} of {len(volume)} scans): something changed outside the region, the "
            "grey scale drifted, or a motion is wrong; see tables/mass_routes.csv"
        )
    apart = [r for r in routes if r.route == ROWS and r.disagrees(volume[r.scan])]
    if apart:
        worst = max(apart, key=lambda r: abs(r.mass_mg - volume[r.scan].mass_mg))
        told.append(_outside(worst, volume[worst.scan], len(apart), len(volume)))
    drifting = [r for r in routes if r.route == ROWS and abs(r.trend_mg) > BEYOND * volume[r.scan].sigma_mg]
    drifting = [r for r in drifting if drift_of(r.trend_mg, r.trend_sigma_mg)]
    if drifting:
        worst = max(drifting, key=lambda r: abs(r.trend_mg))
        told.append(
            f"{worst.scan}: the mass in the region's rows changes by {worst.trend_mg:.3g} +- "
            f"{worst.trend_sigma_mg:.2g} mg from the first projection to the last ({len(drifting)} of {len(volume)} "
            "scans): the beam or the sample drifted within a scan, or the sample reaches beyond the detector; see "
            "trend_mg in tables/mass_routes.csv"
        )
    return told


def drift_of(trend: float, sigma: float) -> float:
    """Return the error of a mean that follows the angle: half of its change, 0 where that is within `TREND` errors.

    What changes from the first angle to the last has as little reason to be right at the middle as at one end, where
    the flats were taken.
    """
    return abs(trend) / 2 if abs(trend) > TREND * sigma else 0.0


def error_of_trend(scatter: float, fixed: float, level: float) -> float:
    """Return the standard error of a change from the first angle to the last.

    Flats of before and after a scan share in every projection by its time. What each has wrong moves the mean by half
    of both, and the change by their difference: twice the error of the mean, which `fixed` (to the detector) and
    `level` (of air) are.
    """
    return math.hypot(scatter, 2 * fixed, 2 * level)


def _outside(rows: Route, volume: Route, count: int, scans: int) -> str:
    outside, joint = rows.mass_mg - volume.mass_mg, math.hypot(rows.sigma_mg, volume.sigma_mg)
    share = f" ({abs(outside / rows.mass_mg):.0%} of all)" if rows.mass_mg else ""
    return (
        f"{rows.scan}: routes to the mass disagree: {rows.mass_mg:.4g} +- {rows.sigma_mg:.2g} mg in the detector rows "
        f"of the region, {volume.mass_mg:.4g} +- {volume.sigma_mg:.2g} mg in the region itself ({count} of {scans} "
        f"scans). {outside:.3g} +- {joint:.2g} mg{share} changed beside the region, or corrections differ between "
        "scans; see tables/mass_routes.csv"
    )

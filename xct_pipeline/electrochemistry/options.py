"""How a log is read where it does not say so itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from xct_pipeline.electrochemistry.charge import Between
from xct_pipeline.electrochemistry.decimals import Decimal


@dataclass(frozen=True)
class LogOptions:
    """How a log is read where it does not say so itself.

    Attributes
    ----------
    units : mapping
        Unit per quantity (``{"charge": "mAh"}``); otherwise it stands in the column's name or below it.
    charge_sign : int
        -1 where the instrument counts charge as negative when the species leaves the anode.
    date_format : str or None
        "day first", "month first", "year first", or a pattern of `strptime`.
    decimal : str or None
        Decimal sign, "." or ",".
    time_zone : str or None
        Of dates that name none: ``Europe/Berlin``, ``UTC`` or ``+02:00``.
    states : mapping
        What the state's words or numbers mean: ``{"1": "charge", "2": "discharge", "3": "rest"}``.
    integrate_gaps : bool
        Integrate the current over gaps of the log too.
    between_rows : {"mean", "before", "after"} or None
        Which row's current holds between two rows; see `charge.integrate`.
    """

    units: Mapping[str, str] | None = None
    charge_sign: int = 1
    date_format: str | None = None
    decimal: Decimal | None = None
    time_zone: str | None = None
    states: Mapping[str, str] | None = None
    integrate_gaps: bool = False
    between_rows: Between | None = None

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from xct_pipeline.electrochemistry import scans as ec
from xct_pipeline.electrochemistry.log import CyclerLog

ZERO = datetime(2026, 5, 1, 10, tzinfo=UTC)
LOG = CyclerLog(np.array([0.0, 1000.0]), np.array([0.0, 10.0]), np.array([0.1, 0.2]))


def minutes(*values):
    return [None if v is None else ZERO + timedelta(minutes=v) for v in values]


def test_midpoint_where_the_end_is_known():
    times = ec.scan_times(["a", "b"], minutes(0, 60), minutes(10, None))
    np.testing.assert_allclose(times.time_s, [300, 3600])
    np.testing.assert_allclose(times.duration_s, [600, 0])


def test_offset_and_absolute_time_move_the_log():
    starts, ends = minutes(0, 60), minutes(None, None)
    np.testing.assert_allclose(ec.scan_times("ab", starts, ends, offset_s=-600).time_s, [600, 4200])
    log_start = ZERO - timedelta(minutes=5)
    np.testing.assert_allclose(ec.scan_times("ab", starts, ends, log_start=log_start).time_s, [300, 3900])


def test_scan_without_a_time_is_named():
    with pytest.raises(ValueError, match="scan b has no start"):
        ec.scan_times(["a", "b"], minutes(0, None), minutes(None, None))
    with pytest.raises(ValueError, match="scan a ends before"):
        ec.scan_times(["a"], minutes(5), minutes(1))


def test_charge_since_the_reference():
    found = ec.at_scans(LOG, ec.ScanTimes(np.array([100.0, 400.0, 900.0]), np.full(3, 50.0)), "abc")
    np.testing.assert_allclose(found.charge_C, [0, 3, 8])
    np.testing.assert_allclose(found.voltage_V, [0.11, 0.14, 0.19])


def test_nothing_is_extrapolated_beyond_one_scan():
    times = ec.ScanTimes(np.array([0.0, 1040.0, 1060.0]), np.full(3, 50.0))
    found = ec.at_scans(LOG, times, "abc")
    np.testing.assert_allclose(found.charge_C, [0, 10, np.nan])
    np.testing.assert_allclose(found.voltage_V, [0.1, 0.2, np.nan])


def test_log_that_does_not_overlap():
    times = ec.ScanTimes(np.array([5000.0, 6000.0]), np.full(2, 50.0))
    with pytest.raises(ValueError, match="does not overlap the scans: the log covers 0 to 1000 s, the scans 5000"):
        ec.at_scans(LOG, times, "ab")
    with pytest.raises(ValueError, match="does not reach the reference scan a"):
        ec.at_scans(LOG, ec.ScanTimes(np.array([-900.0, 500.0]), np.full(2, 50.0)), "ab")


def test_log_without_voltage():
    log = CyclerLog(LOG.time_s, LOG.charge_C)
    found = ec.at_scans(log, ec.ScanTimes(np.array([0.0, 500.0]), np.zeros(2)), "ab")
    assert np.isnan(found.voltage_V).all()


def test_clock_without_a_zone_beside_utc_is_refused():
    naive = (ZERO - timedelta(minutes=5)).replace(tzinfo=None)
    with pytest.raises(ValueError, match="time_zone to the zone"):
        ec.scan_times("ab", minutes(0, 60), minutes(None, None), log_start=naive)
    local = naive + timedelta(hours=2)
    for log_start, zone in ((naive, "UTC"), (local, "Europe/Berlin"), (local, "+02:00")):
        found = ec.scan_times("ab", minutes(0, 60), minutes(None, None), log_start=log_start, time_zone=zone)
        np.testing.assert_allclose(found.time_s, [300, 3900])
    scans = [m.astimezone(timezone(timedelta(hours=2))) for m in minutes(0, 60)]
    found = ec.scan_times("ab", scans, minutes(None, None), log_start=local)  # both show the local time
    np.testing.assert_allclose(found.time_s, [300, 3900])


def test_scan_in_a_gap_is_told():
    log = CyclerLog(LOG.time_s, LOG.charge_C, gaps_s=((300.0, 700.0),))
    found = ec.at_scans(log, ec.ScanTimes(np.array([0.0, 500.0]), np.full(2, 50.0)), "ab")
    assert "b lie(s) in a gap of the log (300 to 700 s)" in found.notes[0]

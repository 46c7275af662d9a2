"""States that are numbers: the directions as the file itself tells them, or both readings and the key that decides."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from logs import table, write

from xct_pipeline.electrochemistry.log import read_log

HOUR = 3600
CODES = [("1", "0", "2"), ("2", "0", "1"), ("1", "2", "0"), ("0", "2", "1"), ("2", "3", "1"), ("1.0", "3.0", "2.0")]


def cell(ways, codes, *, kind="full", noise=0.0, seed=0, rows=61):
    """Rows (time, code, current mA, voltage, mAh of the step, net mAh, energies) of steps, and the charge in C."""
    rng = np.random.default_rng(seed)
    held, truth, net, into, out = [], [], 0.0, 0.0, 0.0
    for number, way in enumerate(ways):
        for s in np.linspace(0, HOUR, rows):
            level = {"full": 3.5 + 0.2 * (net + way * s / HOUR) + 0.05 * way, "like": 0.02 * way * (1 + s / HOUR)}[kind]
            energy = 3.5e-3 * s / HOUR
            held.append(
                (
                    HOUR * number + s,
                    dict(zip((1, 0, -1), codes, strict=True))[way],
                    float(abs(way)),
                    level + noise * rng.normal(),
                    abs(way) * s / HOUR,
                    net + way * s / HOUR,
                    into + energy * (way > 0),
                    out + energy * (way < 0),
                )
            )
            truth.append(3.6 * (net + way * s / HOUR))
        net, into, out = net + way, into + 3.5e-3 * (way > 0), out + 3.5e-3 * (way < 0)
    return held, truth


NAMES = ("Test Time (s)", "State", "I (mA)", "U (V)", "Capacity (mAh)", "Net Charge (mAh)", "Charge Energy (Wh)")
NAMES += ("Discharge Energy (Wh)",)


def written(folder, rows, columns, state="State"):
    names = [state if k == 1 else NAMES[k] for k in columns]
    return write(folder, table(names, [[f"{row[k]:.9g}" if k != 1 else row[k] for k in columns] for row in rows]))


@settings(max_examples=40, deadline=None)
@given(
    codes=st.sampled_from(CODES),
    steps=st.lists(st.sampled_from([1, -1, 0]), max_size=4),
    kind=st.sampled_from(["full", "like"]),
    noise=st.sampled_from([0.0, 2e-4]),
    columns=st.sampled_from([(0, 1, 2, 3), (0, 1, 4, 3), (0, 1, 2, 4, 3), (0, 1, 2, 6, 7)]),
    state=st.sampled_from(["State", "Direction", "Charge/Discharge", "Status", "Step Type"]),
)
def test_numbers_for_states_are_read_by_what_they_do(tmp_path_factory, codes, steps, kind, noise, columns, state):
    rows, truth = cell([1, -1, *steps], codes, kind=kind, noise=noise)
    found = read_log(written(tmp_path_factory.mktemp("codes"), rows, columns, state))
    np.testing.assert_allclose(found.charge_C, truth, atol=0.07)
    assert any("states of " in note and " by the " in note for note in found.notes)


@settings(max_examples=20, deadline=None)
@given(codes=st.sampled_from(CODES), columns=st.sampled_from([(0, 1, 2), (0, 1, 4), (0, 1, 2, 4)]))
def test_numbers_that_nothing_explains_are_refused_with_both_readings(tmp_path_factory, codes, columns):
    rows, truth = cell([1, 1, 0, -1], codes)
    path = written(tmp_path_factory.mktemp("codes"), rows, columns)
    with pytest.raises(
        ValueError, match=r"3\.6 C at the end, .* with states = .*, or .*3\.6 C at the end, .* with"
    ) as refused:
        read_log(path)
    assert "set states" in str(refused.value)
    meant = dict(zip([code.removesuffix(".0") for code in codes], ("charge", "rest", "discharge"), strict=True))
    np.testing.assert_allclose(read_log(path, states=meant).charge_C, truth, atol=0.07)
    other = {**meant, **{code: {"charge": "discharge", "discharge": "charge"}.get(w, w) for code, w in meant.items()}}
    np.testing.assert_allclose(read_log(path, states=other).charge_C, np.negative(truth), atol=0.07)
    assert read_log(path, state="none", charge="none", current="I (mA)").charge_C[-1] > 0 if 2 in columns else True


def test_an_overpotential_that_decays_is_no_direction(tmp_path):
    rows, _ = cell([1, 0, -1], ("1", "3", "2"))
    decays = [(*row[:3], 0.1 + way * (0.05 - 0.03 * row[4]), *row[4:]) for row, way in ((r, ways(r)) for r in rows)]
    with pytest.raises(
        ValueError, match=r"0 C at the end, 0 to 3\.6 C .*, or 0 C at the end, -3\.6 to 0 C .* set states"
    ):
        read_log(written(tmp_path, decays, (0, 1, 2, 3)))


def ways(row):
    return {"1": 1, "3": 0, "2": -1}[row[1]]


def test_minus_and_plus_one_that_the_voltage_contradicts_are_refused(tmp_path):
    rows, truth = cell([1, -1, -1], ("1", "0", "-1"))
    np.testing.assert_allclose(read_log(written(tmp_path, rows, (0, 1, 2, 3))).charge_C, truth, atol=0.07)
    rows, truth = cell([1, -1, -1], ("-1", "0", "1"))
    path = written(tmp_path, rows, (0, 1, 2, 3))
    with pytest.raises(ValueError, match=r"but by the voltage it is the other way round.* set states"):
        read_log(path)
    meant = {"-1": "charge", "1": "discharge", "0": "rest"}
    np.testing.assert_allclose(read_log(path, states=meant).charge_C, truth, atol=0.07)


def test_numbers_beside_a_charge_that_is_counted_up_and_down(tmp_path):
    rows, truth = cell([1, -1, 0, -1], ("5", "7", "6"))
    found = read_log(written(tmp_path, rows, (0, 1, 2, 5)))
    np.testing.assert_allclose(found.charge_C, truth, atol=1e-6)
    assert found.current_A.min() == pytest.approx(-1e-3)
    odd = [(*row[:1], "1" if row[0] < 1.5 * HOUR else "2", *row[2:]) for row in rows]  # of something else
    found = read_log(written(tmp_path, odd, (0, 1, 2, 5)))
    np.testing.assert_allclose(found.charge_C, truth, atol=1e-6)
    assert any("were left aside" in note for note in found.notes)


def test_words_are_explained_by_the_configuration(tmp_path):
    rows, truth = cell([1, -1, 0], ("Foo", "Bar", "Baz"))
    path = written(tmp_path, rows, (0, 1, 2))
    with pytest.raises(ValueError, match="neither charge, discharge nor rest"):
        read_log(path)
    found = read_log(path, states={"Foo": "charge", "Baz": "discharge", "Bar": "rest"})
    np.testing.assert_allclose(found.charge_C, truth, atol=0.07)


@pytest.mark.parametrize("name", ["Mode", "Cycler Mode", "Command", "Operation"])
def test_numbers_of_a_mode_are_read_where_the_voltage_explains_them(tmp_path, name):
    rows, truth = cell([1, 0, -1], ("1", "3", "2"))
    found = read_log(written(tmp_path, rows, (0, 1, 2, 3), name))
    np.testing.assert_allclose(found.charge_C, truth, atol=0.07)
    rows, _ = cell([1, 1], ("1", "3", "2"))
    both = [(*row[:1], "1" if row[0] < 1.5 * HOUR else "2", *row[2:]) for row in rows]  # both charge
    found = read_log(written(tmp_path, both, (0, 1, 2, 3), name))
    assert found.charge_C[-1] == pytest.approx(7.2)
    assert any("{ 1 = 'charge', 2 = 'charge' }" in note for note in found.notes)
    flat = [(*row[:3], 3.7, *row[4:]) for row in both]
    found = read_log(written(tmp_path, flat, (0, 1, 2, 3), name))
    assert found.charge_C[-1] == pytest.approx(7.2)
    assert any("were left aside" in note for note in found.notes)


def test_a_current_that_could_lack_its_sign_is_told(tmp_path):
    rows, _ = cell([1, 0, -1], ("1", "3", "2"))
    found = read_log(written(tmp_path, rows, (0, 2, 3)))
    assert any("the current goes one way only, yet" in note and "set state" in note for note in found.notes)
    counted = np.maximum.accumulate([row[4] + (k >= 122) for k, row in enumerate(rows)])
    throughput = [(*row[:4], q, *row[5:]) for row, q in zip(rows, counted, strict=True)]
    found = read_log(written(tmp_path, throughput, (0, 4, 3)))
    assert any("the capacity goes one way only, yet" in note for note in found.notes)
    for ways in ([1, 0, 1], [1, 1]):
        rows, _ = cell(ways, ("1", "3", "2"))
        assert not any("one way only" in note for note in read_log(written(tmp_path, rows, (0, 2, 3))).notes)

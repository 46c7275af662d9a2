"""Changes that are formulas on the registered series: what a pass would have stored, in the store and out of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_variation_stage import LIMITS, NAMES, config_of, run, series_of, volumes

from xct_pipeline.store import derived
from xct_pipeline.store.derived import describe, open_array
from xct_pipeline.store.export import export_store
from xct_pipeline.store.files import StoreError
from xct_pipeline.store.opened import open_image
from xct_pipeline.store.series import Series
from xct_pipeline.store.store import Store
from xct_pipeline.variation.closures import CLOSURES
from xct_pipeline.variation.steps import images, stage
from xct_pipeline.variation.steps.physics import physics_of

PATHS = [f"variation/{name}{more}" for name in ("attenuation", "density") for more in ("", "_consecutive")]
KEPT = [path.removeprefix("variation/") for path in PATHS]
LINEAR = [name for name, closure in CLOSURES.items() if closure.linear and closure.energies == 1]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Store]:
    """The same series with formulas, and with its changes stored."""
    return tuple(run(tmp_path_factory.mktemp(name), failed=(2,), keep=keep) for name, keep in (("a", []), ("b", KEPT)))


@pytest.mark.parametrize("path", PATHS)
def test_a_formula_gives_what_would_be_stored(both: tuple[Store, Store], path: str) -> None:
    formula, stored = both
    assert Series.open(formula).derives(path)
    assert not Series.open(stored).derives(path)
    assert [f.name for f in (formula.path / path).iterdir()] == ["zarr.json"]
    a, b = (open_image(store.path / path) for store in both)
    assert a.dims == b.dims
    assert a.attrs == b.attrs
    assert list(a["scan"].values) == list(NAMES)
    for axis in a.dims:
        np.testing.assert_array_equal(a[axis], b[axis])
    np.testing.assert_allclose(a.values, b.values, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("consecutive", [False, True])
@pytest.mark.parametrize("name", LINEAR)
def test_every_linear_closure_is_a_formula(tmp_path: Path, name: str, consecutive: bool) -> None:
    store = Store(tmp_path / "s.zarr")
    series = series_of(store, volumes(), (1,))
    anode = {"w_host": 0.4, "loading_mg": 5.0, "filling": 0.6, "carbon_fraction": 0.1}
    settings = config_of(store, closure=name, anode=anode).variation
    physics, none = physics_of(settings, series.scans), (None,) * len(NAMES)
    w = (0.4, 0.42, None, 0.5)
    step = images.density_passes(series, settings, physics, w, store, none, None, consecutive, known=False)[0]
    describe(store, step.image, images.densities(series, physics, w, consecutive))
    found = open_array(store.path / step.image.path / "0")
    box = (slice(4, 20), slice(8, 30), slice(10, 40))
    for t in range(len(NAMES)):
        there = step.compute((slice(t, t + 1), *box))[0][0]
        np.testing.assert_allclose(found[(t, *box)], there, rtol=1e-5, atol=2e-6, err_msg=str(t))


def test_taking_a_name_out_of_keep_removes_the_array_and_putting_it_in_writes_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.zarr")
    series = series_of(store, volumes())
    before = None
    for keep in (["density"], [], ["density"]):
        stage.run(config_of(store, keep=keep), series, store, LIMITS)
        assert (store.path / "variation/density/0").is_dir() == bool(keep)
        assert (store.path / ".xct/markers/variation/density").is_dir() == bool(keep)
        values = open_image(store.path / "variation/density").values
        np.testing.assert_allclose(values, values if before is None else before, atol=1e-6)
        before = values
        assert derived.missing(store) == []


def test_a_lost_formula_is_told_and_described_anew(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.zarr")
    series = series_of(store, volumes())
    stage.run(config_of(store), series, store, LIMITS)
    (store.path / "variation/density/zarr.json").unlink()
    assert derived.missing(store) == ["variation/density"]
    (store.path / "variation/attenuation/zarr.json").write_bytes(b"{")
    with pytest.raises(StoreError, match="damaged metadata"):
        derived.missing(store)
    stage.run(config_of(store), series, store, LIMITS)
    assert derived.missing(store) == []


def test_export_writes_what_is_computed(both: tuple[Store, Store], tmp_path: Path) -> None:
    files = [list(export_store(s.path, "npy", tmp_path / s.path.parent.name, [NAMES[3]], ["density"])) for s in both]
    a, b = (np.load(next(f for f in group if f.suffix == ".npy")) for group in files)
    np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)

"""Methods of reconstruction as values: the table, and that each does what its attributes say."""

import importlib.util
from typing import get_args

import numpy as np
import pytest

from xct_pipeline.config import Astra, Fourier, Iterative, ReconstructionBase, Tomopy
from xct_pipeline.config.reconstruction import Reconstruction
from xct_pipeline.reconstruction.methods import METHODS, View
from xct_pipeline.reconstruction.steps.stage import Geometry, volume_image
from xct_pipeline.scan import Axis
from xct_pipeline.store import provenance

ANGLES = np.linspace(0, np.pi, 24, endpoint=False)
MODELS = {"fourier": Fourier, "astra": Astra, "iterative": Iterative, "tomopy": Tomopy}


def options_of(settings: ReconstructionBase) -> dict[str, object]:
    return settings.model_dump(exclude={"method", *ReconstructionBase.model_fields})


def test_the_table_holds_what_the_configuration_accepts() -> None:
    union = get_args(get_args(Reconstruction)[0])  # nested annotations are flattened
    assert set(METHODS) == {get_args(model.model_fields["method"].annotation)[0] for model in union}
    assert set(METHODS) == set(MODELS)
    assert all(name == method.name for name, method in METHODS.items())


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_method_is_what_its_attributes_say(name: str) -> None:
    method = METHODS[name]
    options = dict(method.resolve(options_of(MODELS[name](method=name))))
    small, large = (method.memory(View(n, n, n, Axis(n / 2)), options) for n in (64, 128))
    assert 0 < small < large
    if importlib.util.find_spec(name) is None and name in ("astra", "tomopy"):
        pytest.skip(f"{name} is not installed")
    inside = np.abs(np.arange(32) - 15.5) < 10  # nothing at the detector's edges, so that nothing is extended
    a, b = (np.random.default_rng(1).random((2, len(ANGLES), 3, 32)) * inside).astype(np.float32)
    one, other, both = (method.kernel(p, ANGLES, Axis(15.3), 32, 5.0, options) for p in (a, b, a + b))
    assert one.shape == (3, 32, 32)
    if method.linear(options):
        np.testing.assert_allclose(both, one + other, atol=2e-4 * np.abs(both).max())
    if method.together(options) == 1:
        np.testing.assert_array_equal(method.kernel(a[:, 1:2], ANGLES, Axis(15.3), 32, 5.0, options)[0], one[1])


def test_a_tilt_alone_makes_another_volume_and_no_tilt_the_one_that_was() -> None:
    geometry = Geometry(ANGLES, 16, 32, Axis(15.3), 5.0, 32)
    same = {**{k: v for k, v in vars(geometry).items() if k != "axis"}, "center": 15.3}
    assert provenance.fingerprint(geometry.identity()) == provenance.fingerprint(same)
    tilted, leaning = (Geometry(ANGLES, 16, 32, axis, 5.0, 32) for axis in (Axis(15.3, 0.1), Axis(15.3, lean=0.1)))
    identities = [provenance.fingerprint(g.identity()) for g in (geometry, tilted, leaning)]
    assert len(set(identities)) == 3
    assert volume_image("a", tilted, (0, 16)) == volume_image("a", geometry, (0, 16))

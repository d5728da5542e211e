"""What stands for "nothing here": given in any form, used in that of the inputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.perturbation.baseline import background_of, fill_baseline

X = np.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize(
    "baseline",
    [
        2.0,
        np.full(3, 2.0),
        np.full((1, 3), 2.0),
        {"Dense_0": np.full((2, 3), 2.0)},
        lambda inputs, key: 0 * inputs + 2,
        lambda inputs, key: {"Dense_0": 0 * inputs + 2},
    ],
)
def test_every_form_of_a_baseline_is_the_same_array(baseline):
    filled = fill_baseline(baseline, jnp.asarray(X), None)
    np.testing.assert_array_equal(filled, np.full((2, 3), 2.0))
    assert filled.dtype == X.dtype


def test_a_mapping_of_inputs_is_not_taken_for_a_site():
    inputs = {"image": jnp.asarray(X)}
    filled = fill_baseline({"image": 1.0}, inputs, None)
    assert list(filled) == ["image"]
    assert background_of({"image": X[:1]}, inputs)["image"].shape == (1, 3)
    with pytest.raises(ValueError, match="structure"):
        fill_baseline({"image": 1.0, "other": 2.0}, jnp.asarray(X), None)


def test_what_capture_returns_for_one_site_is_a_background_and_a_baseline():
    def model(w, x):
        return jnp.tanh(x @ w["hidden"]) @ w["out"]

    w = {"hidden": X[:1].T @ X[:1] / 3 + np.eye(3), "out": X[:, :1].T * np.ones((3, 1))}
    _, captured = ji.capture(model, "hidden")(w, X)
    (array,) = captured.values()
    attribution = ji.attribution
    for method, name in (
        (attribution.deep_lift_shap, "background"),
        (attribution.integrated_gradients, "baseline"),
    ):
        maps = [
            jax.jit(method(model, at="hidden", **{name: given}))(w, X + 1, 1)
            for given in (captured, array)
        ]
        np.testing.assert_array_equal(*maps)
        assert np.abs(maps[0]).max() > 0
    _, several = ji.capture(model, "*")(w, X)
    with pytest.raises(ValueError, match="structure"):
        attribution.deep_lift_shap(model, at="hidden", background=several)(w, X, 0)

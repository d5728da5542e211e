"""Inputs that tell nothing: a baseline that is the input, and masks that show nothing.

`tests/test_conformance.py` asks of every method what NaN does.
"""

import functools

import jax
import numpy as np
import pytest

from jaxinterp import attribution as a
from tests.compiled import compiled
from tests.networks import functions as models

WEIGHTS, X, TARGET = models.mlp_weights(), models.vectors(), models.targets()
KEY = jax.random.key(0)
LOGITS = np.asarray(models.mlp(WEIGHTS, X))[np.arange(3), TARGET]


def hidden(method, **options):
    """A method of a layer, from the activation that the input itself has there."""
    return lambda f, baseline: method(f, at="relu", baseline=baseline, **options)


DIFFERENCES = {
    "integrated_gradients": functools.partial(a.integrated_gradients, steps=3),
    "guided_integrated_gradients": functools.partial(
        a.guided_integrated_gradients, steps=3
    ),
    "idgi": functools.partial(a.idgi, steps=3),
    "integrated_hessians": functools.partial(a.integrated_hessians, steps=3),
    "conductance": hidden(a.conductance, steps=3),
    "taylor": lambda f, baseline: a.taylor(f, root=baseline),
    "deep_lift": a.deep_lift,
    "occlusion": functools.partial(a.occlusion, size=2),
    "ablation": a.ablation,
    "shapley": a.shapley,
    "interaction": a.interaction,
    "owen": functools.partial(a.owen, groups=[np.array([0, 0, 1, 1, 1])]),
    "kernel_shap": functools.partial(a.kernel_shap, samples=30),
    "lime": functools.partial(a.lime, samples=20),
    "sobol": functools.partial(a.sobol, samples=4),
    "hsic": functools.partial(a.hsic, samples=10),
}


def test_a_baseline_that_is_the_input_leaves_nothing_to_share():
    attributes = {n: make(models.mlp, baseline=X) for n, make in DIFFERENCES.items()}

    @compiled
    def run(*args):
        return {name: attribute(*args) for name, attribute in attributes.items()}

    found = run(WEIGHTS, X, TARGET, KEY)
    assert np.isnan(found.pop("sobol")).all()  # shares of a variance of zero
    for name, values in found.items():
        atol = 1e-12 if name in ("lime", "hsic") else 0  # fitted, or of a mean
        np.testing.assert_allclose(values, 0, atol=atol, err_msg=name)


def test_masks_that_hide_nothing_leave_the_score():
    """A mean of scores is that of the input, and no removal is enough."""
    rise = a.rise(models.mlp, baseline=X, samples=5, grid=3)(WEIGHTS, X, TARGET, KEY)
    np.testing.assert_allclose(rise, LOGITS[:, None] + 0 * X, rtol=1e-6)
    removal = a.counterfactual_mask(models.mlp, baseline=X, threshold=-99.0, steps=3)
    assert np.isnan(removal(WEIGHTS, X, TARGET)).all()
    kept = a.extremal_mask(models.mlp, baseline=X, area=0.4, steps=3)
    assert np.isfinite(kept(WEIGHTS, X, TARGET)).all()


def test_a_position_that_no_mask_shows_has_no_score():
    attribute = a.rise(models.mlp, samples=3, grid=3, share=1e-9)
    np.testing.assert_array_equal(attribute(WEIGHTS, X, TARGET, KEY), 0)


@pytest.mark.parametrize("method", [a.shapley, a.ablation, a.interaction])
def test_segments_that_hold_nothing_are_an_error(method):
    with pytest.raises(ValueError, match="all its numbers are negative"):
        method(models.mlp, segments=np.full(5, -1))(WEIGHTS, X, TARGET)

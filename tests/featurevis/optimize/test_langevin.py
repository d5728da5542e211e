"""Steps that sample: their formula, and noise that belongs to a picture."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp import featurevis as fv
from jaxinterp.featurevis.optimize.composite_schedule import DERIVATIVE

KEY = jax.random.key(0)
WEIGHTS = np.random.default_rng(0).normal(size=(4, 3, 6)).astype(np.float32)
PIXELS = fv.pixels((4, 3), squash="clip", scale=0.1)


def model(w, x):
    return jnp.tanh(jnp.einsum("nab,abu->nu", x - 0.5, w) / 1e3) * 1e3


def run(objective, sampler, **options):
    options = {
        "key": KEY,
        "steps": 1,
        "progress": False,
        "composite": DERIVATIVE,
        **options,
    }
    options.setdefault("parametrization", PIXELS)
    return fv.maximize(model, objective, WEIGHTS, optimizer=sampler, **options)


@pytest.mark.slow(reason="compiles three walks")
def test_a_step_is_its_formula():
    still = run("tanh:*", fv.langevin(step_size=0.0, noise=0.0)).params
    sampler = fv.langevin(lambda h: h**2, step_size=0.2, prior_weight=0.3, noise=0.0)
    found = run("tanh:*", sampler, count=2)
    before = run(
        "tanh:*", fv.langevin(step_size=0.0, prior_weight=0.0, noise=0.0), count=2
    ).params
    assert before.shape == (6, 2, 4, 3)
    np.testing.assert_array_equal(before[:, :1], still)
    w = np.moveaxis(WEIGHTS, -1, 0)[:, None]
    climb = w / np.abs(w).mean((2, 3), keepdims=True)
    expected = before + 0.2 * climb + 0.3 * (before**2 - before)
    np.testing.assert_allclose(found.params, expected, atol=1e-4)


@pytest.mark.slow(reason="compiles three walks")
def test_noise_belongs_to_the_picture():
    sampler = fv.langevin(step_size=0.0, noise=0.5)
    still = fv.langevin(step_size=0.0, noise=0.0)
    shape = {"parametrization": fv.pixels((4, 3), scale=0.0)}
    several = run("tanh:*", sampler).params
    moved = np.asarray(several - run("tanh:*", still).params)
    assert 0.35 < moved.std() < 0.65
    assert np.abs(moved[0] - moved[1]).max() > 0.1
    for unit in (0, 5):
        alone = run(f"tanh:{unit}", sampler).params
        np.testing.assert_array_equal(alone[0], several[unit])
    np.testing.assert_array_equal(run("tanh:*", sampler).params, several)
    first, second = (run("tanh:0", sampler, steps=n, **shape).params for n in (1, 2))
    assert np.abs(second - 2 * first).max() > 0.1  # new noise at each step


@pytest.mark.slow(reason="48 walks of 60 steps")
def test_with_a_prior_the_walk_stays_where_pictures_are():
    # h <- 0.9 h + 0.1 eta has the variance 0.01 / (1 - 0.81).
    sampler = fv.langevin(lambda h: 0 * h, step_size=0.0, prior_weight=0.1, noise=0.1)
    found = run("tanh:*", sampler, count=8, steps=60).params
    np.testing.assert_allclose(np.std(found), np.sqrt(0.01 / 0.19), rtol=0.15)
    assert abs(np.mean(found)) < 0.05


@pytest.mark.parametrize(
    "dtype",
    [
        jnp.bfloat16,
        pytest.param(jnp.float64, marks=pytest.mark.slow(reason="less can fail")),
    ],
)
def test_a_generator_is_sampled_in_any_precision(dtype):
    prior = fv.generator(
        lambda v, z: jnp.tanh(z).reshape(-1, 4, 3), None, 12, dtype=dtype
    )
    sampler = fv.langevin(lambda h: 0.9 * h, step_size=0.05, noise=1e-3)
    result = run("tanh:*", sampler, steps=30, parametrization=prior)
    assert result.params.dtype == dtype
    assert (result.history[-1] > result.history[0] + 1e-3).all()


def test_what_cannot_be_sampled():
    with pytest.raises(ValueError, match=r"langevin: `noise` must be .* and is None"):
        fv.langevin(noise=None)
    with pytest.raises(TypeError, match=r"takes a function of parameters, .* 3"):
        fv.langevin(3)
    with pytest.raises(ValueError, match="`denoise` goes from parameters"):
        run("tanh:0", fv.langevin(lambda h: h[..., :1]))

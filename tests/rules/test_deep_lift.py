"""Which steps have a multiplier, and what is said of the others."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxinterp.attribution import deep_lift
from jaxinterp.rules.deep_lift import NoMultiplierError
from tests.networks import functions as models

X, TARGET, BASELINE = models.vectors(), models.targets(), models.normal(30, 5)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda w, x: jnp.sort(x, -1), "'sort', of role selection"),
        (lambda w, x: jnp.where(x > x[:, ::-1], x, 0), "it chooses by values"),
        (lambda w, x: x[:, 1:] / (1 + x[:, :-1] ** 2), "of role quotient"),
        (lambda w, x: jnp.abs(jnp.fft.fft(x)), "of complex numbers"),
        (
            lambda w, x: lax.cond(x[0, 0] > 0, jnp.sin, jnp.cos, x),
            "which branch is taken",
        ),
        (
            lambda w, x: (lambda e: e / e.sum(-1, keepdims=True))(1 / jnp.exp(-x)),
            "hides its logits",
        ),
    ],
)
def test_what_has_no_multiplier_is_named(model, message):
    with pytest.raises(NoMultiplierError, match=message):
        deep_lift(model)(0.0, X, TARGET)


def test_what_only_asks_for_undefined_numbers_is_no_choice():
    def guarded(w, x):
        h = jnp.where(jnp.isnan(x), 0.0, x)
        return jnp.tanh(jnp.where(jnp.isfinite(h), h, 1.0)) @ w

    weights = models.normal(33, 5, 4)
    received = deep_lift(guarded, baseline=BASELINE)(weights, X, TARGET)
    plain = deep_lift(lambda w, x: jnp.tanh(x) @ w, baseline=BASELINE)
    np.testing.assert_allclose(received, plain(weights, X, TARGET), rtol=1e-12)
    with pytest.raises(NoMultiplierError, match="it chooses by values"):
        deep_lift(lambda w, x: jnp.where(x != x[:, ::-1], x, 0))(0.0, X, TARGET)

"""What rules say about hyperparameters that make no sense, and what they recommend."""

import re

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxinterp import rules

from .replay import relevance_through

X = np.ones((2, 4, 4, 3))


def says(error, pattern):
    assert re.search(pattern, str(error.value), re.DOTALL), str(error.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rules.AlphaBeta(2.0, 0.5), "must be 1.*alpha=2.0, beta=0.5"),
        (lambda: rules.AlphaBeta(-1.0, -2.0), "AlphaBeta: `alpha`.*at least 0.*-1.0"),
        (lambda: rules.AlphaBeta(0.5, -0.5), "AlphaBeta: `beta`.*at least 0.*-0.5"),
        (lambda: rules.AlphaBeta(convention="captum"), "'zennit' or 'innvestigate'"),
        (lambda: rules.ZPlus(convention="captum"), "ZPlus: .*not 'captum'"),
        (lambda: rules.WSquare(convention="captum"), "WSquare: .*not 'captum'"),
        (lambda: rules.Gamma(-0.1), "Gamma: `gamma`.*at least 0.*-0.1"),
        (lambda: rules.Gamma(float("nan")), "Gamma: `gamma`.*nan"),
        (lambda: rules.ZBox(1.0, 0.0), "`low`.*exceed `high`.*1.0.*0.0"),
        (lambda: rules.ZBox((0.0, 2.0), 1.0), r"exceed.*\(0.0, 2.0\)"),
        (lambda: rules.epsilon_gamma_box(1.0, -1.0), "ZBox.*exceed"),
        (lambda: rules.deep_taylor(low=0.0), "both bounds or none.*low=0.0"),
        (lambda: rules.deep_taylor(high=1.0), "both bounds or none.*high=1.0"),
    ],
)
def test_values_that_make_no_sense(make, message, unchecked):
    with pytest.raises(ValueError) as error:  # noqa: PT011, `says` matches it
        make()
    says(error, message)
    for code in re.findall(r"Write `(.*?)`", str(error.value)):
        eval(code, vars(rules))  # what it recommends exists


def through_a_convolution(rule):
    kernel = np.random.default_rng(0).normal(size=(2, 2, 3, 5))
    return relevance_through(
        lambda w, x: lax.conv_general_dilated(
            x, w, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        ),
        rule,
        kernel,
        X,
        np.ones((2, 3, 3, 5)),
    )


@pytest.mark.parametrize("bound", [(0.0, 0.0), np.zeros((5, 5, 3))])
def test_a_box_must_fit_an_example(bound):
    with pytest.raises(ValueError, match=r"`low` has shape .* does not") as error:
        through_a_convolution(rules.ZBox(bound, 1.0))
    says(error, r"one example of shape \(4, 4, 3\).*one value per channel")


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ((-1.0, -1.0, -1.0), (2.0, 2.0, 2.0)),
        ([-1.0, -1.0, -1.0], [2.0, 2.0, 2.0]),
        (np.full((1, 1, 3), -1.0), np.full(3, 2.0)),
        (np.full((4, 4, 3), -1.0), 2),
        (jnp.full(3, -1.0), np.float32(2.0)),
    ],
)
def test_a_box_may_be_a_number_or_per_channel_or_per_entry(low, high, unchecked):
    rule = rules.ZBox(low, high)
    assert hash(rule) == hash(rules.ZBox(low, high))
    np.testing.assert_array_equal(
        through_a_convolution(rule), through_a_convolution(rules.ZBox(-1.0, 2.0))
    )

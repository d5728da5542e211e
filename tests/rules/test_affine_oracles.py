"""Every rule of affine layers against the textbook, and the books of every rule."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp import rules
from jaxinterp.objectives import total
from jaxinterp.rules import Stabilizer
from tests.compiled import compiled
from tests.oracles import rules as oracle
from tests.oracles import stabilizers

from .matrices import LAYERS
from .replay import distance, relevance_through

ZEROS = Stabilizer(1e-7, only_zeros=True)
EXACT = {"stabilize": stabilizers.only_zeros(1e300)}  # what is divided by zero vanishes
THEIRS = {"stabilize": stabilizers.only_zeros(1e-7)}


def no_bias(rule):
    """Applies an oracle to the layer without its bias."""

    @functools.wraps(rule)
    def without(matrix, bias, x, relevance, **options):
        return rule(matrix, 0 * bias, x, relevance, **options)

    return without


def mixed(*arrays):
    """Seven tenths of epsilon, two of z-plus, one of magnitudes without the bias."""
    by_size = no_bias(oracle.absolute_ratio)
    parts = ((0.7, oracle.epsilon), (0.2, oracle.z_plus), (0.1, by_size))
    return sum(weight * rule(*arrays) for weight, rule in parts)


def own_box(matrix, bias, x, relevance):
    """Each example lies in the box of its own smallest and largest entry."""
    return oracle.z_box(matrix, bias, x, relevance, low=x.min(), high=x.max())


MIXED = rules.Mixture(
    [
        (0.7, rules.Epsilon()),
        (0.2, rules.ZPlus()),
        (0.1, rules.AbsRatio(keep_bias=False)),
    ]
)
BOX = {"low": -4.0, "high": 3.5}
# our rule -> the oracle and its options
TEXTBOOK = {
    rules.Zero(): (oracle.epsilon, EXACT),
    rules.Zero(keep_bias=False): (no_bias(oracle.epsilon), EXACT),
    rules.Epsilon(): (oracle.epsilon, {}),
    rules.Epsilon(0.0): (oracle.epsilon, {"stabilize": stabilizers.exact()}),
    rules.Epsilon(0.3): (oracle.epsilon, {"stabilize": stabilizers.signed(0.3)}),
    rules.Epsilon(0.3, keep_bias=False): (
        no_bias(oracle.epsilon),
        {"stabilize": stabilizers.signed(0.3)},
    ),
    rules.Norm(0.1): (oracle.epsilon, {"stabilize": stabilizers.signed(0.1)}),
    rules.Gamma(): (oracle.gamma, {}),
    rules.Gamma(0.0): (oracle.epsilon, {}),
    rules.Gamma(0.7, 0.1): (
        oracle.gamma,
        {"gamma": 0.7, "stabilize": stabilizers.signed(0.1)},
    ),
    rules.Gamma(keep_bias=False): (oracle.gamma, {"keep_bias": False}),
    rules.AlphaBeta(): (oracle.alpha_beta, {}),
    rules.AlphaBeta(3.0, 2.0): (oracle.alpha_beta, {"alpha": 3.0, "beta": 2.0}),
    rules.AlphaBeta(keep_bias=False): (no_bias(oracle.alpha_beta), {}),
    rules.AlphaBeta(convention="innvestigate"): (oracle.innvestigate_alpha_beta, {}),
    rules.ZPlus(): (oracle.z_plus, {}),
    rules.ZPlus(keep_bias=False): (no_bias(oracle.z_plus), {}),
    rules.ZPlus(convention="innvestigate"): (no_bias(oracle.z_plus), THEIRS),
    rules.ZBox(**BOX): (oracle.z_box, BOX),
    rules.ZBox(): (own_box, {}),
    rules.WSquare(): (oracle.w_square, {}),
    rules.WSquare(keep_bias=False): (no_bias(oracle.w_square), {}),
    rules.WSquare(convention="innvestigate"): (no_bias(oracle.w_square), THEIRS),
    rules.Flat(): (oracle.flat, {}),
    rules.Flat(ZEROS): (oracle.flat, THEIRS),
    rules.AbsRatio(): (oracle.absolute_ratio, {}),
    rules.AbsRatio(keep_bias=False): (no_bias(oracle.absolute_ratio), {}),
    rules.RelativeInfluence(): (oracle.relative_influence, {}),
    MIXED: (mixed, {}),
    rules.Sign(): (oracle.sign, {}),
    rules.Sign(0.4, 0.3): (
        oracle.sign,
        {"mu": 0.4, "stabilize": stabilizers.signed(0.3)},
    ),
    rules.Sign(epsilon=ZEROS, keep_bias=False): (no_bias(oracle.sign), THEIRS),
}
CONSERVING = [rule for rule in TEXTBOOK if not isinstance(rule, rules.Sign)]


@functools.cache
def all_received(layer):
    run = compiled(lambda: [layer.received(rule) for rule in TEXTBOOK])
    return dict(zip(TEXTBOOK, run(), strict=True))


mixed = pytest.mark.slow(reason="its kind and its signs are in two other layers")
every_layer = pytest.mark.parametrize(
    "layer",
    [
        pytest.param(
            layer,
            id=layer.name,
            marks=[mixed] if layer.name in ("dense_nonnegative", "convolution") else [],
        )
        for layer in LAYERS
    ],
)


@every_layer
def test_rules_are_those_of_the_textbook(layer):
    found = {}
    for rule, (function, options) in TEXTBOOK.items():
        expected = layer.expected(function, **options)
        found[rule] = distance(all_received(layer)[rule], expected)
    assert {str(r): d for r, d in found.items() if not d <= 1e-11} == {}


@pytest.mark.slow(reason="compiles the ledger of twenty rules for each layer")
@every_layer
def test_the_books_of_every_rule_balance(layer):
    """What bias and stabilizer keep has formulas of its own; together all is there."""

    def side_by_side(v, x):
        outputs = []
        for i in range(len(CONSERVING)):
            with jax.named_scope(f"rule{i:02}"):
                outputs.append(layer.apply_fn(v, x))
        return outputs

    composite = rules.Composite(
        [
            (ji.of_role("activation"), rules.Pass()),
            *((f"rule{i:02}*", rule) for i, rule in enumerate(CONSERVING)),
        ]
    )
    books = ji.ledger(
        side_by_side, composite, layer.variables, jnp.asarray(layer.x), score=total
    )
    off = dict.fromkeys(map(str, CONSERVING), np.inf)
    for entry in books.entries:
        if entry.rule in off:
            off[entry.rule] = abs(entry.unexplained) / abs(entry.received)
    # Alpha-beta finds the sum of negative contributions as a difference; where there
    # are none, rounding (1e-16) is divided by the stabilizer (1e-6). So it is for an
    # input at the edge of its own box.
    assert {r: d for r, d in off.items() if not d <= 1e-8} == {}
    exact = {r: d for r, d in off.items() if not r.startswith(("AlphaB", "ZBox()"))}
    assert {r: d for r, d in exact.items() if not d <= 1e-11} == {}


def test_relevance_of_a_result_of_zero_is_booked_as_kept():
    """The second unit is zero, and `Flat` gives it a third of the relevance."""
    w = jnp.array([[1.0, 1.0, 2.0], [1.0, -1.0, 0.0]])
    composite = rules.Composite(
        [("second", rules.Flat()), ("first", rules.Gamma(0.5)), ("*", rules.Pass())]
    )

    def model(v, x):
        return x @ v["first"] @ v["second"]

    v = {"first": w, "second": jnp.ones((3, 1))}
    books = ji.ledger(model, composite, v, jnp.array([[1.0, 1.0]]), jnp.array([0]))
    (first,) = [entry for entry in books.entries if entry.site == "first"]
    assert books.score == pytest.approx(4)
    assert first.received == pytest.approx(4)
    assert first.stabilizer == pytest.approx(4 / 3, rel=1e-4)
    assert books.attributed == pytest.approx(8 / 3, rel=1e-4)
    assert books.unexplained == pytest.approx(0, abs=1e-9)


def test_the_three_factors_of_a_batch_norm_are_epsilon_at_a_scale():
    """Where it is no part of a layer: here it follows a relu."""
    rng = np.random.default_rng(4)
    x, relevance = np.abs(rng.normal(size=(3, 5))), rng.normal(size=(3, 5))
    mean, factor, shift = rng.normal(size=(3, 1, 5))

    def model(v, x):
        mean, factor, shift = v
        return (jax.nn.relu(x) - mean) * factor + shift

    composite = rules.Composite(
        [
            (ji.of_role("activation"), rules.Pass()),
            (ji.of_role("scale"), rules.Epsilon(ZEROS)),
        ]
    )
    found = relevance_through(model, composite, (mean, factor, shift), x, relevance)
    expected = oracle.batch_norm_three_factors(x, mean, factor, shift, relevance)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    sums = x * factor * relevance / ((x - mean) * factor + shift)
    np.testing.assert_allclose(found, sums, rtol=1e-9)

"""Closed forms against sums over all sets of features, and against many draws."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from jaxinterp.data import Additive, Gate, Ishigami, SobolG

KEY = jax.random.key(0)
FUNCTIONS = {
    "additive": Additive((1.0, -2.0, 3.0, 0.0), (1, 2, 3, 4)),
    "ishigami": Ishigami(),
    "g": SobolG((0.0, 1.0, 4.5)),
    "and": Gate("and", connected=3, irrelevant=1, probability=0.3),
    "or": Gate("or", connected=2, irrelevant=1),
    "xor": Gate("xor", connected=3, irrelevant=1),
    "biased xor": Gate("xor", connected=3, probability=0.8),
}


@functools.cache
def inputs(name):
    """Some inputs, drawn once: to compile takes longer than to run."""
    return FUNCTIONS[name].sample(KEY, 1024)


every_function = pytest.mark.parametrize("name", FUNCTIONS)


def textbook(name, x):
    """The functions once more, in NumPy, from their definitions."""
    f = FUNCTIONS[name]
    if name == "additive":
        return x[..., 0] - 2 * x[..., 1] ** 2 + 3 * x[..., 2] ** 3
    if name == "ishigami":
        s = np.sin(x[..., 0])
        return s + 7 * np.sin(x[..., 1]) ** 2 + 0.1 * x[..., 2] ** 4 * s
    if name == "g":
        out = 1.0
        for i, a in enumerate(f.a):
            out = out * (np.abs(4 * x[..., i] - 2) + a) / (1 + a)
        return out
    bits = x[..., : f.connected].astype(bool)
    gate = {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}[f.kind]
    return gate.reduce(bits, axis=-1).astype(float)


def nodes(name):
    """Nodes and weights that integrate each feature: exactly, or nearly so."""
    f = FUNCTIONS[name]
    if isinstance(f, Gate):
        return np.array([0.0, 1.0]), np.array([1 - f.probability, f.probability])
    points, weights = np.polynomial.legendre.leggauss(16)
    if isinstance(f, SobolG):  # it has a kink in the middle
        halves = np.concatenate([(points - 1) / 2, (points + 1) / 2])
        return (halves + 1) / 2, np.concatenate([weights, weights]) / 4
    scale = math.pi if isinstance(f, Ishigami) else 1.0
    return scale * points, weights / 2


def expectations(name, x):
    """`v(S)` for every set of features, by integrating over the others."""
    f = FUNCTIONS[name]
    points, weights = nodes(name)
    values = {}
    for known in itertools.product([False, True], repeat=f.features):
        axes = [
            ([x[i]], [1.0]) if is_known else (points, weights)
            for i, is_known in enumerate(known)
        ]
        grid = np.stack(np.meshgrid(*[a for a, _ in axes], indexing="ij"), -1)
        weight = np.stack(np.meshgrid(*[w for _, w in axes], indexing="ij"), -1)
        values[known] = float((textbook(name, grid) * weight.prod(-1)).sum())
    return values


def shapley_by_enumeration(name, x):
    values, d = expectations(name, x), FUNCTIONS[name].features
    result = np.zeros(d)
    for i in range(d):
        for known in values:
            if known[i]:
                continue
            size = sum(known)
            weight = math.factorial(size) * math.factorial(d - size - 1)
            larger = (*known[:i], True, *known[i + 1 :])
            gain = values[larger] - values[known]
            result[i] += weight / math.factorial(d) * gain
    return result


@every_function
def test_values_are_those_of_the_definition(name):
    f = FUNCTIONS[name]
    x = np.asarray(inputs(name))
    np.testing.assert_allclose(f(jnp.asarray(x)), textbook(name, x), rtol=1e-12)


@every_function
def test_shapley_values_are_those_of_enumeration(name):
    f = FUNCTIONS[name]
    x = inputs(name)
    expected = [shapley_by_enumeration(name, row) for row in np.asarray(x)[:4]]
    np.testing.assert_allclose(f.shapley(x)[:4], expected, atol=1e-10)


@every_function
def test_shapley_values_add_up_to_the_difference_from_the_mean(name):
    f = FUNCTIONS[name]
    x = inputs(name)
    mean = expectations(name, np.asarray(x[0]))[(False,) * f.features]
    np.testing.assert_allclose(f.shapley(x).sum(-1), f(x) - mean, atol=1e-10)


@every_function
def test_sobol_indices_are_those_of_integrals(name):
    f = FUNCTIONS[name]
    points, weights = nodes(name)
    d = f.features
    grid = np.stack(np.meshgrid(*[points] * d, indexing="ij"), -1)
    values = textbook(name, grid)

    def mean_over(values, axes):
        for axis in sorted(axes, reverse=True):
            values = np.tensordot(values, weights, axes=(axis, 0))
        return values

    mean = mean_over(values, range(d))
    variance = mean_over((values - mean) ** 2, range(d))
    for i in range(d):
        others = [j for j in range(d) if j != i]
        alone = weights @ (mean_over(values, others) - mean) ** 2
        without = mean_over((mean_over(values, [i]) - mean) ** 2, range(d - 1))
        np.testing.assert_allclose(f.sobol().first[i], alone / variance, atol=1e-10)
        total = 1 - without / variance
        np.testing.assert_allclose(f.sobol().total[i], total, atol=1e-10)


@every_function
def test_partial_dependence_is_the_mean_with_a_feature_set(name):
    f = FUNCTIONS[name]
    points, _ = nodes(name)
    grid = points[:3]
    for i in range(f.features):
        expected = []
        for value in grid:
            known = tuple(j == i for j in range(f.features))
            x = np.where(known, value, 0.0)
            expected.append(expectations(name, x)[known])
        actual = f.partial_dependence(i, jnp.asarray(grid))
        np.testing.assert_allclose(actual, expected, atol=1e-10)


@every_function
def test_samples_have_the_announced_distribution(name):
    """The mean over samples is the integral, within four standard errors."""
    f = FUNCTIONS[name]
    x = np.asarray(inputs(name))
    assert x.shape == (1024, f.features)
    values = textbook(name, x)
    mean = expectations(name, x[0])[(False,) * f.features]
    assert abs(values.mean() - mean) < 4 * values.std() / np.sqrt(1024)
    points, weights = nodes(name)
    spread = np.sqrt(weights @ points**2 - (weights @ points) ** 2)
    np.testing.assert_allclose(x.std(0), spread, rtol=0.12)
    np.testing.assert_array_equal(f.sample(KEY, 3), x[:3])


@every_function
def test_the_precision_of_jax_changes_no_sample(name):
    with jax.enable_x64(False):
        single = FUNCTIONS[name].sample(KEY, 64)
    assert single.dtype == jnp.float32
    np.testing.assert_array_equal(single, inputs(name)[:64])


def test_settings_may_be_arrays(unchecked):
    g = SobolG(a=np.array([0, 1, 4.5]))
    assert (g, hash(g)) == (FUNCTIONS["g"], hash(FUNCTIONS["g"]))
    weights, powers = np.array([1, -2, 3, 0]), np.array([1, 2, 3, 4])
    f = Additive(weights=weights, powers=powers)
    assert (f, hash(f)) == (FUNCTIONS["additive"], hash(FUNCTIONS["additive"]))
    np.testing.assert_array_equal(g.sample(KEY, 2), inputs("g")[:2])


@every_function
def test_functions_may_be_jitted_and_hold_for_one_input_and_for_any_batch(name):
    f = FUNCTIONS[name]
    x = inputs(name)[:6]
    shapley = jax.jit(f.shapley)
    phi = f.shapley(x)
    value, jitted = jax.jit(lambda x: (f(x), f.shapley(x)))(x)
    np.testing.assert_allclose(value, f(x), atol=1e-12)
    np.testing.assert_allclose(jitted, phi, atol=1e-12)
    np.testing.assert_allclose(shapley(x[0]), phi[0], atol=1e-12)
    np.testing.assert_allclose(shapley(x.reshape(2, 3, -1))[1], phi[3:], atol=1e-12)
    assert shapley(x.astype(jnp.float32)).dtype == jnp.float32


def test_features_that_are_not_connected_get_nothing():
    for name in ("and", "or", "xor"):
        f = FUNCTIONS[name]
        assert not np.asarray(f.shapley(inputs(name)))[:, -1].any()
        assert f.sobol().total[-1] == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Additive((1.0,), (1, 2)), "there are 2 and 1"),
        (lambda: Additive((1.0,), (0,)), "`powers` must be an integer of at least 1"),
        (lambda: SobolG(()), r"`a` needs a finite number .* is \(\)"),
        (lambda: SobolG((1.0, np.nan)), r"`a` needs a finite number .* nan\)"),
        (lambda: SobolG(np.ones((2, 2))), "`a` needs a finite number for every"),
        (lambda: Additive((np.inf,), (1,)), "`weights` needs a finite number"),
        (lambda: Additive((), ()), "`weights` needs a finite number"),
        (lambda: Additive((1.0,), np.array([2.0])), "`powers` must be an integer"),
        (lambda: SobolG((-1.0,)), "`a` needs a number of at least 0"),
        (lambda: Gate("nand"), "`kind` is 'nand'. There are: 'and', 'or', 'xor'"),
        (lambda: Gate("or", connected=0), "`connected` must be an integer"),
        (lambda: Gate("or", irrelevant=-1), "`irrelevant` must be an integer"),
        (lambda: Gate("or", probability=1.0), "`probability` must lie between"),
        (lambda: Additive((0.0,), (1,)).sobol(), "The function is constant"),
        (lambda: Ishigami()(jnp.ones((2, 4))), "3 features.*shape \\(2, 4\\)"),
        (
            lambda: Ishigami().partial_dependence(3, jnp.ones(2)),
            "`feature` must lie between 0 and 2, and is 3",
        ),
    ],
)
def test_bad_settings_are_errors(make, message, unchecked):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("kind", ["and", "or", "xor"])
def test_bits_may_be_integers(kind):
    gate = Gate(kind)
    x = jax.random.bernoulli(jax.random.key(0), 0.5, (6, gate.features))
    expected = gate.shapley(x.astype(float))
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        for dtype in (int, bool):
            found = gate.shapley(x.astype(dtype))
            np.testing.assert_allclose(found, expected)
            np.testing.assert_allclose(gate(x.astype(dtype)), gate(x.astype(float)))
        powers = Additive((2.0,), (2,))
        found = powers.shapley(jnp.array([[1]]))
        np.testing.assert_allclose(found, [[4 / 3]], rtol=1e-6)
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize(
    "f", [Additive(), Ishigami(), SobolG(), Gate("and", connected=2)]
)
def test_partial_dependence_takes_integers_for_numbers(unchecked, f):
    for grid in (np.array([0, 1], np.uint8), np.array([-1, 1], np.int8), [0, 1]):
        numbers = jnp.asarray(np.asarray(grid, float))
        np.testing.assert_allclose(
            f.partial_dependence(0, grid), f.partial_dependence(0, numbers), rtol=1e-6
        )
    with pytest.raises(
        ValueError, match=r"must be an integer of at least 0, and is 1\.5"
    ):
        f.partial_dependence(1.5, jnp.zeros(2))

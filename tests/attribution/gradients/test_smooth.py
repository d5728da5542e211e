"""Attribution under noise, against the textbook with the same noise."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp import rules
from jaxinterp.attribution import (
    gradient,
    guided_backprop,
    input_x_gradient,
    integrated_gradients,
    lrp,
    smooth,
)
from jaxinterp.objectives import total
from tests.compiled import compiled
from tests.networks import functions as models
from tests.oracles import paths as oracle

LAYERS, X, TARGET = models.mlp_weights(), models.vectors(), models.targets()
KEY = jax.random.key(7)
NAMES = {"mean": "mean", "square": "mean_square", "variance": "variance"}


def noises(count, dtype=jnp.float64):
    """The noise of each sample: documented to be the same for all examples."""
    for k in range(count):
        noise_key, _ = jax.random.split(jax.random.fold_in(KEY, k))
        (key,) = jax.random.split(noise_key, 1)
        yield np.asarray(jax.random.normal(key, (1, *X.shape[1:]), dtype), np.float64)


BASES = [
    gradient(models.smooth_mlp),
    input_x_gradient(models.mlp),
    lrp(models.mlp, composite=rules.epsilon_plus()),
]
STATISTICS = [("mean", "range"), ("square", "absolute"), ("variance", "range")]
others = pytest.mark.slow(reason="each method and each statistic is in another pair")


@pytest.mark.parametrize(
    ("base", "statistic", "scale"),
    [
        pytest.param(base, *statistic, marks=[others] if i and j and i != j else [])
        for i, base in enumerate(BASES)
        for j, statistic in enumerate(STATISTICS)
    ],
)
def test_statistics_are_those_of_the_textbook(base, statistic, scale):
    level, count = 0.2, 6
    sigma = oracle.noise_scale(X, level) if scale == "range" else level
    samples = [base(LAYERS, X + sigma * n, TARGET) for n in noises(count)]
    expected = oracle.smooth(np.stack(samples), NAMES[statistic])
    attribute = compiled(
        smooth(base, samples=count, noise_level=level, scale=scale, statistic=statistic)
    )
    actual = attribute(LAYERS, X, TARGET, KEY)
    np.testing.assert_allclose(actual, expected, rtol=1e-8, atol=1e-12)


def test_without_noise_it_is_the_attribution():
    base = gradient(models.smooth_mlp)
    expected = base(LAYERS, X, TARGET)
    for statistic, value in (
        ("mean", expected),
        ("square", expected**2),
        ("variance", 0 * expected),
    ):
        attribute = smooth(base, samples=3, noise_level=0.0, statistic=statistic)
        actual = attribute(LAYERS, X, TARGET, KEY)
        np.testing.assert_allclose(actual, value, rtol=1e-12, atol=1e-15)


def test_a_small_variance_is_not_lost_to_rounding():
    """In float32, of values near 1000, whose squares have an ulp of 0.06."""

    def model(w, x):
        return 1000 * x + 0.01 * x**2

    x = jnp.asarray(X, jnp.float32)
    attribute = smooth(
        gradient(model, score=total),
        samples=25,
        scale="absolute",
        noise_level=1.0,
        statistic="variance",
    )
    expected = np.var([0.02 * n for n in noises(25, jnp.float32)], axis=0)
    variance = attribute(None, x, key=KEY)
    assert variance.dtype == jnp.float32
    assert variance.min() >= 0
    # The gradient itself is rounded to 3e-5, a standard deviation is 0.02.
    np.testing.assert_allclose(variance, expected.repeat(3, 0), rtol=0.02)


def test_noise_is_the_same_for_every_example():
    same = np.repeat(X[:1], 3, axis=0)
    attribute = smooth(gradient(models.smooth_mlp), samples=4)
    received = attribute(LAYERS, same, np.zeros(3, int), KEY)
    np.testing.assert_allclose(received, received[:1].repeat(3, 0), rtol=1e-12)


def test_leaves_of_a_pytree_have_noise_of_their_own():
    x = {"a": np.zeros((2, 6)), "b": np.zeros((2, 6))}
    attribute = smooth(
        lambda v, x, target, key: x, samples=1, noise_level=1.0, scale="absolute"
    )
    received = attribute(None, x, key=KEY)
    assert np.abs(received["a"] - received["b"]).max() > 0.1


def test_an_inner_method_has_a_key_of_its_own():
    def inner(v, x, target, key):
        return jax.random.normal(key, x.shape, x.dtype)

    attribute = smooth(inner, samples=2, noise_level=1.0, scale="absolute")
    received = attribute(None, X, key=KEY)
    assert received.std() > 0.1
    assert np.abs(received - attribute(None, X, key=jax.random.key(8))).max() > 0.1


@pytest.mark.parametrize(
    ("statistic", "batch_size", "is_jitted"),
    [
        pytest.param(statistic, *chunks, marks=[others] if (i + j) % 3 else [])
        for i, statistic in enumerate(NAMES)
        for j, chunks in enumerate([(1, False), (2, True), (100, False)])
    ],
)
def test_the_result_does_not_depend_on_chunks(batch_size, statistic, is_jitted):
    base, count = gradient(models.smooth_mlp), 11
    options = {"samples": count, "statistic": statistic}
    whole = smooth(base, **options)
    parts = smooth(base, batch_size=batch_size, **options)
    run = compiled(parts) if is_jitted else parts
    args = (LAYERS, X, TARGET, KEY)
    np.testing.assert_allclose(run(*args), whole(*args), rtol=1e-10, atol=1e-14)


def test_the_same_key_gives_the_same_result_and_another_does_not():
    attribute = smooth(gradient(models.smooth_mlp), samples=3)
    run = functools.partial(attribute, LAYERS, X, TARGET)
    np.testing.assert_array_equal(run(KEY), run(KEY))
    assert np.abs(run(KEY) - run(jax.random.key(8))).max() > 1e-6


@pytest.mark.slow(reason="compiles a sum of sums")
def test_it_goes_around_methods_with_steps_and_at():
    inner = integrated_gradients(models.smooth_mlp, steps=4)
    received = smooth(inner, samples=2)(LAYERS, X, TARGET, KEY)
    assert received.shape == X.shape
    inner = gradient(models.smooth_mlp, at="tanh")
    received = smooth(inner, samples=2)(LAYERS, X, TARGET, KEY)
    assert received.shape == (3, 8)
    inner = guided_backprop(models.mlp, at="*")
    received = smooth(inner, samples=2)(LAYERS, X, TARGET, KEY)
    assert set(received) == set(inner(LAYERS, X, TARGET))


def test_it_needs_a_key():
    with pytest.raises(TypeError, match=r"needs one key. Write `key=jax.random.key"):
        smooth(gradient(models.mlp))(LAYERS, X, TARGET)
    jax.random.key(0)  # what it recommends


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"samples": 0},
            "smooth: `samples` must be an integer of at least 1",
        ),
        ({"samples": 2.5}, "`samples` must be an integer of at least 1, and is 2.5"),
        (
            {"noise_level": -0.1},
            "`noise_level` must be .* of at least 0, and is -0.1",
        ),
        ({"noise_level": float("nan")}, "`noise_level`.*nan"),
        (
            {"scale": "relative"},
            "`scale` is 'relative'. There are: 'range'",
        ),
        (
            {"statistic": "median"},
            "`statistic` is 'median'. There are: 'mean'",
        ),
        ({"batch_size": 0}, "smooth: `batch_size` must be an integer of at least 1"),
    ],
)
def test_values_that_make_no_sense(options, message, unchecked):
    with pytest.raises(ValueError, match=message):
        smooth(gradient(models.mlp), **options)


def test_tokens_cannot_be_disturbed():
    base = gradient(models.tagger, at="embed")
    with pytest.raises(TypeError, match="adds noise, and `inputs` has dtype int") as e:
        smooth(base)(models.token_weights(), models.tokens(), TARGET, KEY)
    assert "encode, decode = jaxinterp.split(apply_fn, 'Model/Embed_0')" in str(e.value)


def test_tokens_are_disturbed_at_their_embedding_as_the_error_says():
    variables, tokens = models.token_weights(), models.tokens()
    encode, decode = ji.split(models.tagger, "embed")

    def model(variables, activation):
        return decode(variables, activation, tokens)

    embedded = encode(variables, tokens)
    calm = smooth(gradient(model), samples=3, noise_level=0.0)
    expected = gradient(models.tagger, at="embed")(variables, tokens, TARGET)
    np.testing.assert_allclose(
        calm(variables, embedded, TARGET, KEY), expected, rtol=1e-12, atol=1e-15
    )

"""Integrated gradients against the textbook, captum, and their own promise."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.attribution import (
    gradient,
    integrated_gradients,
    quadrature,
)
from jaxinterp.objectives import logit, total
from tests.compiled import compiled, compiled_once
from tests.few import few
from tests.networks import functions as models
from tests.oracles import paths as oracle
from tests.rules.replay import below, distance, golden

METHODS = ("gausslegendre", "riemann_left", "riemann_right", "riemann_middle")
LAYERS, X, TARGET = models.mlp_weights(), models.vectors(), models.targets()


def gradient_of(apply_fn, variables, target=TARGET):
    return functools.partial(gradient(apply_fn), variables, target=target)


# --- Quadrature -----------------------------------------------------------------------


@pytest.mark.parametrize("method", [*METHODS, "trapezoid"])
@pytest.mark.parametrize("steps", [2, 3, 20])
def test_quadratures_are_those_of_the_textbook(method, steps):
    for ours, theirs in zip(
        quadrature(method, steps), oracle.quadrature(method, steps), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-14)


@pytest.mark.parametrize(
    ("method", "steps", "degree"),
    [
        ("gausslegendre", 4, 7),
        ("riemann_middle", 3, 1),
        ("trapezoid", 3, 1),
        ("riemann_left", 5, 0),
        ("riemann_right", 5, 0),
    ],
)
def test_quadratures_are_exact_up_to_their_degree(method, steps, degree):
    nodes, weights = quadrature(method, steps)
    for power in range(degree + 1):
        assert weights @ nodes**power == pytest.approx(1 / (power + 1), rel=1e-13)
    power = degree + 1
    assert weights @ nodes**power != pytest.approx(1 / (power + 1), rel=1e-6)


@pytest.mark.parametrize(
    ("method", "steps", "message"),
    [
        ("gausslegendre", 0, "`steps` must be an integer of at least 1"),
        ("trapezoid", 1, "'trapezoid.*: `steps` must be .* of at least 2, and is 1"),
        ("gausslegendre", 2.5, "integer of at least 1, and is 2.5"),
        ("simpson", 4, "`method` is 'simpson'. There are: 'gausslegendre', 'rie"),
    ],
)
def test_quadratures_that_do_not_exist(method, steps, message, unchecked):
    for ask in (quadrature, _ask):
        with pytest.raises(ValueError, match=message):
            ask(method, steps)


def _ask(method, steps):
    integrated_gradients(models.mlp, method=method, steps=steps)


# --- Integrated gradients -------------------------------------------------------------


def captum_network(p, x):
    x = jnp.tanh(x @ p["kernel0"] + p["bias0"][None])
    x = jax.nn.softplus(x @ p["kernel1"] + p["bias1"][None])
    return x @ p["kernel2"] + p["bias2"][None]


@pytest.mark.parametrize(
    "baseline", few(["tensor", "scalar"], 1, reason="broadcast as the other")
)
def test_it_agrees_with_captum(baseline):
    data = golden("captum_ig.npz")
    start = data[f"baseline/{baseline}"]
    parameters = below(data, "params")
    for method in METHODS:
        for steps in (7, 8, 50):
            attribute = integrated_gradients(
                captum_network,
                baseline=float(start) if start.ndim == 0 else start,
                steps=steps,
                method=method,
            )
            actual = compiled(attribute)(parameters, data["input"], data["target"])
            expected = data[f"{baseline}/{method}/{steps}/attribution"]
            # captum rounds its weights to float32; those of 8 Riemann steps are exact.
            is_exact = steps == 8 and method != "gausslegendre"
            assert distance(actual, expected) <= (1e-9 if is_exact else 1e-6)


@pytest.mark.parametrize("method", [*METHODS, "trapezoid"])
def test_it_is_the_sum_of_the_textbook(method):
    start = models.normal(20, 5)
    attribute = integrated_gradients(models.mlp, baseline=start, steps=9, method=method)
    expected = oracle.integrated_gradients(
        gradient_of(models.mlp, LAYERS), X, start[None], *oracle.quadrature(method, 9)
    )
    actual = attribute(LAYERS, X, TARGET)
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-13)


def test_the_trapezoid_is_right_for_linear_functions():
    attribute = integrated_gradients(
        lambda w, x: x @ w, steps=5, method="trapezoid", score=total
    )
    w = models.normal(21, 5, 1)
    np.testing.assert_allclose(attribute(w, X), X * w.T, rtol=1e-12)


@pytest.mark.parametrize(
    "baseline",
    [
        0.5,
        np.float64(0.5),
        np.full(5, 0.5),
        np.full((1, 5), 0.5),
        np.full((3, 5), 0.5),
        lambda x, key: 0.5,
        lambda x, key: jnp.full_like(x, 0.5),
        lambda x, key: jnp.full_like(x[0], 0.5),
    ],
    ids=range(8),
)
def test_spellings_of_a_baseline(baseline):
    expected = integrated_gradients(models.mlp, baseline=0.5, steps=4)
    attribute = integrated_gradients(models.mlp, baseline=baseline, steps=4)
    np.testing.assert_allclose(
        attribute(LAYERS, X, TARGET), expected(LAYERS, X, TARGET), rtol=1e-12
    )


def test_a_baseline_may_be_drawn():
    def draw(x, key):
        return jax.random.normal(key, x.shape, x.dtype)

    attribute = integrated_gradients(models.mlp, baseline=draw, steps=4)
    key = jax.random.key(3)
    fixed = integrated_gradients(models.mlp, baseline=draw(X, key), steps=4)
    np.testing.assert_array_equal(
        attribute(LAYERS, X, TARGET, key), fixed(LAYERS, X, TARGET)
    )


def test_a_baseline_may_be_a_pytree():
    variables, x = models.two_weights(), models.pair()
    whole = jax.tree.map(lambda leaf: np.full_like(leaf, 0.5), x)
    per_leaf = {"image": 0.5, "unused": np.full(2, 0.5), "vector": np.full((1, 5), 0.5)}
    results = [
        integrated_gradients(models.two_inputs, baseline=b, steps=3)(
            variables, x, TARGET
        )
        for b in (0.5, whole, per_leaf)
    ]
    for other in results[1:]:
        chex.assert_trees_all_equal(results[0], other)


@pytest.mark.parametrize(
    "baseline", [np.zeros(4), np.zeros((2, 5)), np.zeros((2, 3, 5))]
)
def test_a_baseline_must_broadcast(baseline):
    attribute = integrated_gradients(models.mlp, baseline=baseline)
    with pytest.raises(ValueError, match=r"baseline of shape \(.*does not broadcast"):
        attribute(LAYERS, X, TARGET)


def test_a_pytree_baseline_must_have_the_structure_of_the_inputs():
    attribute = integrated_gradients(models.two_inputs, baseline={"image": 0.0})
    with pytest.raises(ValueError, match=r"baseline has the structure.*'image'"):
        attribute(models.two_weights(), models.pair(), TARGET)


@pytest.mark.parametrize(
    ("batch_size", "is_jitted"),
    [(1, True), (3, True), (6, True), (100, True), (3, False)],
)
def test_the_result_does_not_depend_on_chunks(batch_size, is_jitted):
    steps = 11
    options = {"steps": steps, "baseline": 0.1}
    whole = integrated_gradients(models.mlp, **options)
    parts = integrated_gradients(models.mlp, batch_size=batch_size, **options)
    run = compiled(parts) if is_jitted else parts
    np.testing.assert_allclose(
        run(LAYERS, X, TARGET), compiled(whole)(LAYERS, X, TARGET), 1e-12, 1e-15
    )


@pytest.mark.parametrize("batch_size", [0, -1])
def test_chunks_hold_something(batch_size):
    with pytest.raises(
        ValueError, match=f"`batch_size` must be .* at least 1.*{batch_size}"
    ):
        integrated_gradients(models.mlp, batch_size=batch_size)


# --- At a site ------------------------------------------------------------------------


def test_it_explains_an_activation():
    encode, decode = ji.split(models.mlp, "relu")
    start, steps = 0.3, 6
    attribute = integrated_gradients(models.mlp, at="relu", steps=steps, baseline=start)
    hidden = encode(LAYERS, X)
    by_hand = integrated_gradients(
        lambda v, h: decode(v, h, X), steps=steps, baseline=start
    )
    actual = attribute(LAYERS, X, TARGET)
    assert actual.shape == hidden.shape
    np.testing.assert_allclose(
        actual, by_hand(LAYERS, hidden, TARGET), rtol=1e-12, atol=1e-15
    )


@pytest.mark.parametrize("at", ["*embed*", ji.of_role("embedding")], ids=str)
def test_it_explains_embedded_tokens(at):
    variables, tokens = models.token_weights(), models.tokens()
    attribute = integrated_gradients(models.tagger, at=at, steps=40)
    (received,) = attribute(variables, tokens, TARGET).values()
    assert received.shape == (*tokens.shape, 6)
    logits = models.tagger(variables, tokens)[np.arange(3), TARGET]
    np.testing.assert_allclose(received.sum((1, 2)), logits, rtol=1e-9)


@pytest.mark.parametrize("batch_size", [None, 2])
@pytest.mark.parametrize("score", [logit, "relu_1:2"], ids=["logit", "channel"])
def test_the_model_is_traced_once(batch_size, score):
    calls = 0

    def counted(layers, x):
        nonlocal calls
        calls += 1
        return models.mlp(layers, x)

    options = {"at": "relu", "steps": 11, "batch_size": batch_size}
    attribute = integrated_gradients(counted, score=score, **options)
    attribute(LAYERS, X, TARGET)
    assert calls == 1
    attribute(LAYERS, X + 1, TARGET)
    assert calls == 2
    run = compiled_once(attribute)
    run(LAYERS, X, TARGET)
    run(LAYERS, X + 1, TARGET)
    assert calls == 3


def test_a_step_that_was_compiled_is_right_for_other_arrays():
    attribute = integrated_gradients(models.mlp, at="relu", steps=3)
    for layers in (LAYERS, jax.tree.map(lambda w: 2 * w, LAYERS)):
        for x in (X, 1 - X, X[:2]):
            fresh = integrated_gradients(models.mlp, at="relu", steps=3)
            target = TARGET[: len(x)]
            np.testing.assert_array_equal(
                attribute(layers, x, target), fresh(layers, x, target)
            )


def test_one_site_at_a_time():
    attribute = integrated_gradients(models.mlp, at="relu*")
    with pytest.raises(ValueError, match=r"one site at a time, and 'relu\*' matches 2"):
        attribute(LAYERS, X, TARGET)


def test_a_site_in_a_loop_is_an_error_that_says_where():
    def model(v, x):
        return jax.lax.scan(lambda h, _: (jnp.tanh(h @ v), None), x, None, length=2)[0]

    attribute = integrated_gradients(model, at="*tanh*")
    with pytest.raises(ValueError, match=r"(?s)tanh.*test_integrated.*inside a loop"):
        attribute(np.eye(5), X, TARGET)


def test_float64_inputs_of_numpy_are_taken_without_float64():
    with jax.enable_x64(False):  # where a warning is an error
        attribute = integrated_gradients(models.mlp, steps=3)
        layers = jax.tree.map(np.float32, LAYERS)
        received = attribute(layers, X, TARGET)
        assert received.dtype == jnp.float32
        expected = attribute(layers, X.astype(np.float32), TARGET)
        np.testing.assert_array_equal(received, expected)


def test_the_length_of_a_loop_is_a_number():
    """As an array it is not known to the compiled step, whatever `gradient` can do."""

    def model(v, x):
        return jax.lax.fori_loop(0, v["steps"], lambda _, h: jnp.tanh(h @ v["w"]), x)

    variables = {"w": models.normal(0, 5, 5), "steps": 3}
    attribute = integrated_gradients(model, steps=2)
    assert np.isfinite(attribute(variables, X, TARGET)).all()
    with pytest.raises(ValueError, match="fori_loop with static start/stop"):
        attribute(variables | {"steps": jnp.array(3)}, X, TARGET)


def test_fifty_gradients_are_the_default():
    x = jnp.array([[30.0]])  # so far that no number of gradients is exact
    values = [
        integrated_gradients(lambda w, x: jnp.sin(w * x), score=total, **options)(
            3.0, x
        )
        for options in ({}, {"steps": 50}, {"steps": 51})
    ]
    assert values[0] == values[1] != values[2]

"""Expected gradients: the mean of integrated gradients over a background."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.attribution import expected_gradients, integrated_gradients
from tests.compiled import compiled
from tests.networks import functions as models
from tests.oracles import paths as oracle

KEY = jax.random.key(4)
LAYERS, X, TARGET = models.mlp_weights(), models.vectors(), models.targets()
BACKGROUND = models.normal(20, 4, 5)


def slope_of(target):
    """The gradient of a logit of `smooth_mlp` at one example, in NumPy."""

    def slope(x):
        hidden = []
        for layer in LAYERS[:-1]:
            x = np.tanh(x @ layer["w"] + layer["b"][0])
            hidden.append(x)
        back = LAYERS[-1]["w"][:, target]
        for layer, h in zip(LAYERS[-2::-1], hidden[::-1], strict=True):
            back = layer["w"] @ (back * (1 - h**2))
        return back

    return slope


def test_it_is_the_mean_of_integrated_gradients_over_the_background():
    options = {"background": BACKGROUND, "samples": 4000}
    attribute = compiled(expected_gradients(models.smooth_mlp, **options))
    received = attribute(LAYERS, X, TARGET, KEY)
    for i, target in enumerate(TARGET):
        expected = np.zeros(5)
        for b in BACKGROUND:
            nodes = (np.arange(400) + 0.5) / 400
            slopes = [slope_of(target)(b + t * (X[i] - b)) for t in nodes]
            expected += (X[i] - b) * np.mean(slopes, axis=0) / len(BACKGROUND)
        # one of 4000 parts each: the scatter is far below that of 1/sqrt(4000)
        np.testing.assert_allclose(received[i], expected, atol=3e-3)


def test_the_scatter_is_below_that_of_independent_draws_and_unbiased():
    attribute = expected_gradients(models.smooth_mlp, background=BACKGROUND, samples=16)
    keys = jax.random.split(KEY, 200)
    each = np.asarray(
        compiled(jax.vmap(lambda key: attribute(LAYERS, X[:1], TARGET[:1], key)))(keys)
    )[:, 0]
    exact = np.mean(
        [
            integrated_gradients(models.smooth_mlp, baseline=b)(
                LAYERS, X[:1], TARGET[:1]
            )[0]
            for b in BACKGROUND
        ],
        axis=0,
    )
    errors = each - exact
    assert (np.abs(errors.mean(0)) < 5 * errors.std(0) / 200**0.5).all()
    rng = np.random.default_rng(0)
    slope = slope_of(TARGET[0])
    plain = []
    for _ in range(200):
        pairs = zip(rng.integers(4, size=16), rng.uniform(size=16), strict=True)
        differences = [(X[0] - BACKGROUND[k], BACKGROUND[k], t) for k, t in pairs]
        plain.append(np.mean([d * slope(b + t * d) for d, b, t in differences], axis=0))
    assert errors.std(0).max() < 0.6 * np.std(plain, axis=0).max()


def test_of_a_linear_score_it_is_the_difference_to_the_mean_of_the_background():
    w = models.normal(0, 5, 1)
    attribute = expected_gradients(lambda w, x: x @ w, background=BACKGROUND, samples=8)
    received = attribute(w, X, 0, KEY)
    np.testing.assert_allclose(received, w.T * (X - BACKGROUND.mean(0)), rtol=1e-10)


def test_one_example_as_background_is_the_baseline():
    attribute = expected_gradients(
        models.smooth_mlp, background=BACKGROUND[:1], samples=2000
    )
    received = attribute(LAYERS, X, TARGET, KEY)
    nodes, weights = oracle.quadrature("riemann_middle", 400)
    for i, target in enumerate(TARGET):
        d = X[i] - BACKGROUND[0]
        slopes = [slope_of(target)(BACKGROUND[0] + t * d) for t in nodes]
        np.testing.assert_allclose(
            received[i], d * (weights @ np.array(slopes)), atol=1e-3
        )


def test_a_site_has_a_background_of_activations():
    weights, tokens = models.token_weights(), models.tokens()
    background = weights["embed"][:4, None] + np.zeros((4, 4, 6))
    at_site = expected_gradients(
        models.tagger, background=background, samples=8, at="embed"
    )
    received = at_site(weights, tokens, TARGET, KEY)

    def rest(v, e):
        return jnp.tanh(e @ v["mix"]["w"]).mean(1) @ v["head"]["w"]

    inner = expected_gradients(rest, background=background, samples=8)
    expected = inner(weights, weights["embed"][tokens], TARGET, KEY)
    np.testing.assert_allclose(received, expected, atol=1e-12)


def test_what_equals_the_background_gets_nothing():
    data = ji.data.shapes(jax.random.key(0), 1, size=16)
    kernel = models.normal(1, 3, 3, 3, 4).astype(np.float32)

    def model(v, x):
        return jax.nn.relu(models.convolve(x, v)).mean((1, 2))

    attribute = expected_gradients(model, background=data.without_target, samples=4)
    received = np.asarray(attribute(kernel, data.images, 1, KEY))
    np.testing.assert_array_equal(received[~np.asarray(data.mask)], 0)
    assert np.abs(received[np.asarray(data.mask)]).max() > 0


@pytest.mark.parametrize(
    ("background", "message"),
    [
        (BACKGROUND[:0], "one example at least"),
        (BACKGROUND[:, :4], "examples of the same shapes"),
        (BACKGROUND[0], "examples of the same shapes"),
        ({"x": BACKGROUND, "y": BACKGROUND}, "has the structure"),
    ],
)
def test_a_background_that_does_not_fit_is_an_error(background, message):
    attribute = expected_gradients(models.mlp, background=background)
    with pytest.raises(ValueError, match=message):
        attribute(LAYERS, X, TARGET, KEY)


def test_it_needs_samples_a_key_and_real_inputs():
    options = {"background": BACKGROUND}
    with pytest.raises(ValueError, match="`samples` must be"):
        expected_gradients(models.mlp, samples=0, **options)
    with pytest.raises(ValueError, match="`batch_size` must be"):
        expected_gradients(models.mlp, batch_size=0, **options)
    with pytest.raises(TypeError, match="needs one key"):
        expected_gradients(models.mlp, **options)(LAYERS, X, TARGET)
    with pytest.raises(TypeError, match="only real numbers have a gradient"):
        expected_gradients(models.one_hot_tagger, background=models.tokens())(
            models.token_weights(), models.tokens(), TARGET, KEY
        )

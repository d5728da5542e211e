"""HSIC of masks and scores, against the trace of the textbook."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.attribution import hsic
from jaxinterp.objectives import total
from jaxinterp.perturbation.masks import random_masks
from jaxinterp.perturbation.segments import grid_segments, segment_sums
from tests import precision
from tests.compiled import compiled
from tests.networks import functions as models
from tests.oracles import masking as oracle

KEY = jax.random.key(2)
WEIGHTS, X, TARGET = models.cnn_weights(), models.images(), models.targets()


@pytest.mark.parametrize("width", [1.0, 0.3])
def test_it_is_the_trace_of_the_textbook(width):
    segments = grid_segments((6, 6), 3)
    segments[0, 0] = -1
    options = {"segments": segments, "baseline": 0.3, "samples": 30}
    attribute = compiled(hsic(models.cnn, kernel_width=width, **options))
    received = attribute(WEIGHTS, X, TARGET, KEY)
    np.testing.assert_array_equal(received[:, 0, 0], 0)
    masks = np.array(random_masks(KEY, 30, 4))
    kept = np.pad(masks, ((0, 0), (0, 1)), constant_values=True)[:, segments][..., None]
    for i, target in enumerate(TARGET):
        values = np.asarray(models.cnn(WEIGHTS, np.where(kept, X[i], 0.3)))[:, target]
        expected = [
            oracle.hsic(masks[:, j], values, width * values.std()) for j in range(4)
        ]
        sums = segment_sums(received, segments)[i]
        np.testing.assert_allclose(sums, expected, rtol=1e-9)


def test_a_score_of_one_segment_has_the_value_in_closed_form():
    attribute = compiled(hsic(lambda w, x: 3 * x[:, 1] + 7, samples=2000, score=total))
    received = np.asarray(attribute(None, np.ones((1, 4)), None, KEY))[0]
    # Scores of two values are two standard deviations apart.
    np.testing.assert_allclose(received[1], (1 - np.exp(-2)) / 4, rtol=5e-3)
    assert (received[[0, 2, 3]] < 2e-3).all()


def test_chance_gives_what_is_said_of_it():
    n = 20
    attribute = hsic(lambda w, x: x[:, 0], samples=n, score=total)
    keys = jax.random.split(KEY, 400)
    x = np.ones((1, 2))
    run = compiled(jax.vmap(lambda key: attribute(None, x, None, key)[0, 1]))
    received = np.asarray(run(keys))
    # Half of the pairs of two masks have equal scores, the others differ by about 2.
    mean_kernel = (1 + (n - 1) * (1 + np.exp(-2)) / 2) / n
    error = received.std() / 20
    assert np.abs(received.mean() - (1 - mean_kernel) / (2 * n)) < 5 * error
    assert (received > -1e-15).all()


def test_a_dependence_without_a_mean_is_seen_and_an_interaction_is_not():
    def spread_of(w, x):  # the second segment widens the score and leaves its mean
        return (1 + 3 * x[:, 1]) * (2 * x[:, 0] - 1) + 0 * x[:, 2]

    def received(model):
        attribute = compiled(hsic(model, samples=1000, score=total))
        return attribute(None, np.ones((1, 3)), None, KEY)[0]

    values = received(spread_of)
    assert values[1] > 0.02 > 10 * values[2]
    gate = ji.data.Gate("xor", irrelevant=1)
    np.testing.assert_allclose(received(lambda w, x: gate(x)), 0, atol=2e-3)


def test_scores_that_do_not_vary_depend_on_nothing():
    def constant(w, x):
        return w + 0 * x.sum(1)

    attribute = hsic(constant, samples=10, score=total)
    np.testing.assert_array_equal(attribute(1e6, models.vectors(), None, KEY), 0)
    slope = jax.grad(lambda w: attribute(w, models.vectors(), None, KEY).sum())(1.0)
    assert slope == 0
    assert np.isnan(attribute(np.nan, models.vectors(), None, KEY)).all()


def test_the_planted_object_is_found():
    data = ji.data.shapes(jax.random.key(1), 4, size=32)
    segments = grid_segments((32, 32), 8)

    def outlined(v, x):  # only the target has a white outline
        return (x.min(-1) > 0.8).astype(x.dtype).sum((1, 2))

    attribute = compiled(hsic(outlined, segments=segments, baseline=0.5, score=total))
    received = segment_sums(attribute(None, data.images, None, KEY), segments)
    on_target = segment_sums(np.asarray(data.outline, float)[..., None], segments)
    for values, pixels in zip(np.asarray(received), on_target, strict=True):
        assert pixels[values.argmax()] > 0
        assert values[pixels == 0].max() < 0.1 * values.max()


def test_tokens_and_scores_of_low_precision():
    args = models.token_weights(), models.tokens(), TARGET, KEY
    received = hsic(models.tagger, baseline=5, samples=20)(*args)
    assert received.dtype == jnp.float64
    w, x = models.mlp_weights(), models.vectors()
    attribute = compiled(hsic(models.mlp, samples=50))
    half = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), (w, x))
    received = attribute(*half, TARGET, KEY)
    assert received.dtype == jnp.bfloat16
    exact = attribute(w, x, TARGET, KEY)
    np.testing.assert_allclose(np.asarray(received, float), exact, atol=5e-3)


def test_products_keep_all_digits_on_every_device():
    attribute = hsic(lambda w, x: x[:, :2], samples=5)
    x = models.vectors()
    assert precision.are_all_exact(lambda x: attribute(None, x, 0, KEY), x)


def test_an_empty_batch_has_no_attributions():
    empty = models.mlp_weights(), models.vectors()[:0], TARGET[:0]
    assert hsic(models.mlp, samples=4)(*empty, KEY).shape == (0, 5)


def test_what_does_not_fit_is_an_error():
    args = models.mlp_weights(), models.vectors(), TARGET
    for options, message in (
        ({"samples": 0}, "`samples` must be"),
        ({"kernel_width": 0.0}, "`kernel_width` must be positive"),
        ({"batch_size": 0}, "`batch_size` must be"),
    ):
        with pytest.raises(ValueError, match=message):
            hsic(models.mlp, **options)
    with pytest.raises(TypeError, match="needs one key"):
        hsic(models.mlp)(*args)
    with pytest.raises(ValueError, match="does not fit"):
        hsic(models.mlp, segments=np.zeros(4, int))(*args, KEY)
    with pytest.raises(TypeError, match="array of integers"):
        hsic(models.mlp, segments=np.zeros(5))(*args, KEY)
    with pytest.raises(ValueError, match="does not broadcast"):
        hsic(models.mlp, baseline=np.zeros(4))(*args, KEY)

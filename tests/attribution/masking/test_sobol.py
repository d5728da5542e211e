"""Total Sobol indices of masks: functions in closed form, and the textbook."""

from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.attribution import rise, sobol
from jaxinterp.objectives import total
from jaxinterp.perturbation.segments import grid_segments, segment_sums
from jaxinterp.perturbation.sobol_indices import Estimator, paired_points
from tests.compiled import compiled
from tests.networks import functions as models
from tests.oracles import masking as oracle

KEY = jax.random.key(6)
WEIGHTS, X, TARGET = models.cnn_weights(), models.images(), models.targets()


def test_the_total_indices_of_ishigami_are_found():
    game = ji.data.Ishigami()
    attribute = compiled(
        sobol(lambda w, x: game((2 * x - 1) * np.pi), samples=2**13, score=total)
    )
    received = attribute(None, np.ones((1, 3)), None, KEY)[0]
    np.testing.assert_allclose(received, game.sobol().total, atol=1e-3)
    np.testing.assert_allclose(received, [0.558, 0.442, 0.244], atol=1.5e-3)


@pytest.mark.parametrize("estimator", get_args(Estimator))
def test_every_estimator_finds_those_of_the_g_function(estimator):
    game = ji.data.SobolG()
    method = sobol(
        lambda w, x: game(x), samples=2**13, estimator=estimator, score=total
    )
    received = compiled(method)(None, np.ones((1, 5)), None, KEY)[0]
    np.testing.assert_allclose(received, game.sobol().total, atol=1e-3)


@pytest.mark.parametrize("estimator", get_args(Estimator))
def test_masks_mix_segments_with_the_baseline_as_in_the_textbook(estimator):
    segments = grid_segments((6, 6), 3)
    segments[0, 0] = -1
    baseline = models.normal(3, 6, 6, 2)
    options = {"segments": segments, "baseline": baseline, "samples": 5}
    attribute = compiled(sobol(models.cnn, estimator=estimator, **options))
    received = attribute(WEIGHTS, X, TARGET, KEY)
    np.testing.assert_array_equal(received[:, 0, 0], 0)
    a, b = np.asarray(paired_points(KEY, 5, 4), float)
    for i, target in enumerate(TARGET):

        def scores(masks, i=i, target=target):
            padded = np.pad(masks, ((0, 0), (0, 1)), constant_values=1)  # no segment
            keep = padded[:, segments][..., None]
            mixed = keep * X[i] + (1 - keep) * baseline
            return np.asarray(models.cnn(WEIGHTS, mixed))[:, target]

        expected = []
        for j in range(4):
            c = a.copy()
            c[:, j] = b[:, j]
            values = scores(a), scores(b), scores(c)
            expected.append(oracle.total_index(estimator, *values))
        sums = segment_sums(received, segments)[i]
        np.testing.assert_allclose(sums, expected, rtol=1e-8, atol=1e-10)


def test_interactions_count_for_every_feature_that_takes_part():
    gate = ji.data.Gate("xor", connected=2, irrelevant=1)
    # The product of two features around their means: all of it is interaction.
    attribute = sobol(lambda w, x: gate(x), samples=64, score=total)
    received = compiled(attribute)(None, np.ones((1, 3)), None, KEY)[0]
    np.testing.assert_allclose(received, [1, 1, 0], atol=0.15)
    assert received[2] == 0


@pytest.mark.parametrize("estimator", ["jansen", "janon"])
def test_a_constant_added_to_the_score_changes_nothing(estimator):
    def indices(constant):
        def model(w, x):
            return x @ w + constant

        return sobol(model, samples=16, estimator=estimator)

    w, x = models.normal(0, 5, 1), models.vectors()
    args = w, x, 0, KEY
    np.testing.assert_allclose(indices(1e6)(*args), indices(0.0)(*args), rtol=1e-6)
    assert np.isnan(indices(0.0)(0 * w, x, 0, KEY)).all()


def test_the_planted_object_is_found_with_few_samples():
    data = ji.data.shapes(jax.random.key(1), 4, size=32)
    segments = grid_segments((32, 32), 8)

    def outlined(v, x):  # only the target has a white outline
        return jax.nn.relu(x.min(-1) - 0.6).sum((1, 2))

    attribute = compiled(sobol(outlined, segments=segments, baseline=0.5, score=total))
    received = segment_sums(attribute(None, data.images, None, KEY), segments)
    on_target = segment_sums(np.asarray(data.outline, float)[..., None], segments)
    for values, pixels in zip(np.asarray(received), on_target, strict=True):
        assert pixels[values.argmax()] > 0
        np.testing.assert_array_equal(values[pixels == 0], 0)


def test_scores_of_low_precision_are_summed_in_single():
    w, x = models.mlp_weights(), models.vectors()
    attribute = compiled(sobol(models.mlp, samples=64))
    exact = attribute(w, x, TARGET, KEY)
    half = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), (w, x))
    received = attribute(*half, TARGET, KEY)
    assert received.dtype == jnp.bfloat16
    # 8 bits of the scores, of which differences are taken
    np.testing.assert_allclose(np.asarray(received, float), exact, atol=0.02)


def test_an_empty_batch_has_no_attributions():
    received = sobol(models.mlp)(
        models.mlp_weights(), models.vectors()[:0], TARGET[:0], KEY
    )
    assert received.shape == (0, 5)


def test_integers_cannot_be_mixed():
    args = models.token_weights(), models.tokens(), TARGET, KEY
    for method in (sobol(models.tagger), rise(models.tagger, samples=2)):
        with pytest.raises(TypeError, match=r"int64 cannot be mixed.*\n.*at="):
            method(*args)
    received = sobol(models.tagger, at="embed", segments=np.arange(4), samples=4)(*args)
    assert np.isfinite(received).all()


def test_what_does_not_fit_is_an_error():
    args = models.mlp_weights(), models.vectors(), TARGET
    with pytest.raises(ValueError, match="`samples` must be"):
        sobol(models.mlp, samples=0)
    with pytest.raises(ValueError, match=r"`estimator` is 'jensen'.*Perhaps 'jansen'"):
        sobol(models.mlp, estimator="jensen")
    with pytest.raises(ValueError, match="`batch_size` must be"):
        sobol(models.mlp, batch_size=0)
    with pytest.raises(TypeError, match="needs one key"):
        sobol(models.mlp)(*args)
    with pytest.raises(ValueError, match="does not fit"):
        sobol(models.mlp, segments=np.zeros(4, int))(*args, KEY)
    with pytest.raises(TypeError, match="array of integers"):
        sobol(models.mlp, segments=np.zeros(5))(*args, KEY)
    with pytest.raises(ValueError, match="does not broadcast"):
        sobol(models.mlp, baseline=np.zeros(4))(*args, KEY)

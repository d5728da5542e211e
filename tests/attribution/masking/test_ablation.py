"""Ablation and permutation of segments, against loops over segments and examples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.attribution import ablation, occlusion, permutation
from jaxinterp.objectives import total
from jaxinterp.perturbation.segments import grid_segments, segment_sums
from tests.compiled import compiled
from tests.networks import functions as models
from tests.oracles import masking as oracle

KEY = jax.random.key(4)
WEIGHTS, X, TARGET = models.cnn_weights(), models.images(), models.targets()
NEAR = {"rtol": 1e-9, "atol": 1e-12}


def cnn_of(target):
    return lambda x: float(models.cnn(WEIGHTS, x[None])[0, target])


def blocks():
    segments = grid_segments((6, 6), 3)
    segments[0, 0] = -1
    return segments


def test_ablation_is_a_loop_over_segments():
    segments, baseline = blocks(), models.normal(3, 6, 6, 2)
    attribute = compiled(ablation(models.cnn, segments=segments, baseline=baseline))
    received = attribute(WEIGHTS, X, TARGET)
    for i, target in enumerate(TARGET):
        expected = oracle.ablation(cnn_of(target), X[i], segments, [baseline])
        np.testing.assert_allclose(
            segment_sums(received, segments)[i], expected, **NEAR
        )
    np.testing.assert_array_equal(received[:, 0, 0], 0)
    np.testing.assert_array_equal(received[:, 0, 1], received[:, 2, 2])


def test_permutation_is_a_mean_over_the_background():
    segments, background = blocks(), models.normal(4, 4, 6, 6, 2)
    options = {"segments": segments, "background": background}
    received = compiled(permutation(models.cnn, **options))(WEIGHTS, X, TARGET)
    for i, target in enumerate(TARGET):
        expected = oracle.ablation(cnn_of(target), X[i], segments, background)
        np.testing.assert_allclose(
            segment_sums(received, segments)[i], expected, **NEAR
        )


def test_ablation_of_windows_is_occlusion():
    segments = grid_segments((6, 6), 2)
    received = ablation(models.cnn, segments=segments, baseline=0.3)
    expected = occlusion(models.cnn, size=2, baseline=0.3)
    args = WEIGHTS, X, TARGET
    np.testing.assert_allclose(received(*args), expected(*args), **NEAR)


def test_one_background_example_is_a_baseline():
    w, x, other = models.mlp_weights(), models.vectors(), models.normal(5, 1, 5)
    expected = ablation(models.mlp, baseline=other)(w, x, TARGET)
    for samples in (None, 1, 3):
        attribute = permutation(models.mlp, background=other, samples=samples)
        np.testing.assert_allclose(attribute(w, x, TARGET, KEY), expected, **NEAR)


def test_draws_are_unbiased():
    w, x, background = models.mlp_weights(), models.vectors(), models.normal(5, 4, 5)
    options = {"background": background}
    expected = permutation(models.mlp, **options)(w, x, TARGET)
    drawn = permutation(models.mlp, samples=8, **options)
    keys = jax.random.split(KEY, 400)
    each = compiled(jax.vmap(lambda key: drawn(w, x, TARGET, key)))(keys)
    error = each.std(0) / 20
    assert (np.abs(each.mean(0) - expected) < 5 * error).all()
    # what is drawn with replacement scatters as the mean of 8 of 4 examples does
    one = compiled(jax.vmap(lambda b: ablation(models.mlp, baseline=b)(w, x, TARGET)))
    scatter = np.asarray(one(background)).std(0) / 8**0.5
    np.testing.assert_allclose(each.std(0), scatter, rtol=0.2)


def test_an_additive_score_is_shared_completely():
    w, x, background = models.normal(0, 5, 1), models.vectors(), models.normal(5, 4, 5)
    received = permutation(lambda w, x: x @ w, background=background)(w, x, 0)
    np.testing.assert_allclose(received, w.T * (x - background.mean(0)), **NEAR)


def test_of_two_segments_that_suffice_neither_is_needed():
    x = np.ones((1, 3))
    both, either = (ji.data.Gate(kind, irrelevant=1) for kind in ("and", "or"))
    for gate, expected in ((both, [[1, 1, 0]]), (either, [[0, 0, 0]])):
        attribute = ablation(lambda v, x, gate=gate: gate(x), score=total)
        np.testing.assert_array_equal(attribute(None, x), expected)


def test_several_arrays_have_segments_of_both():
    def model(v, x):
        return x["a"].sum(1) * x["b"] + 0 * x["c"].sum((1, 2))

    x = {"a": jnp.ones((2, 2)), "b": jnp.array([3.0, 5.0]), "c": jnp.ones((2, 2, 2))}
    segments = {"a": np.array([0, 1]), "b": np.array(1), "c": -np.ones((2, 2), int)}
    received = ablation(model, segments=segments, score=total)(None, x)
    np.testing.assert_array_equal(received["a"], [[3, 3], [5, 5]])
    np.testing.assert_array_equal(received["b"], [3, 5])
    np.testing.assert_array_equal(received["c"], 0)


def test_tokens_are_exchanged_for_those_of_others():
    weights, tokens = models.token_weights(), models.tokens()
    background = np.array([[1, 0, 2, 3], [4, 4, 1, 0]])
    received = permutation(models.tagger, background=background)(
        weights, tokens, TARGET
    )
    assert received.dtype == jnp.float64
    for i, target in enumerate(TARGET):
        expected = oracle.ablation(
            lambda x, target=target: models.tagger(weights, x[None])[0, target],
            *(tokens[i], np.arange(4), background),
        )
        np.testing.assert_allclose(received[i], expected, **NEAR)


def test_a_site_is_ablated_where_it_is_named():
    weights, tokens = models.token_weights(), models.tokens()
    options = {"segments": np.arange(4), "baseline": 0.2}
    at_site = ablation(models.tagger, at="embed", **options)

    def rest(v, e):
        return jnp.tanh(e @ v["mix"]["w"]).mean(1) @ v["head"]["w"]

    expected = ablation(rest, **options)(weights, weights["embed"][tokens], TARGET)
    np.testing.assert_allclose(at_site(weights, tokens, TARGET), expected, **NEAR)


def test_what_is_undefined_stays_so():
    received = ablation(lambda w, x: jnp.log(x[:, :1]) + x[:, 1:])(
        None, np.array([[1.0, 2.0]]), 0
    )
    np.testing.assert_array_equal(received, [[np.inf, 2.0]])
    x = np.array([[np.nan, 2.0]])
    assert np.isnan(ablation(lambda w, x: x.sum(1), score=total)(None, x)).all()


def test_an_empty_batch_has_no_attributions():
    empty = models.mlp_weights(), models.vectors()[:0], TARGET[:0]
    assert ablation(models.mlp)(*empty).shape == (0, 5)
    assert permutation(models.mlp, background=np.ones((2, 5)))(*empty).shape == (0, 5)


def test_what_does_not_fit_is_an_error():
    args = models.mlp_weights(), models.vectors(), TARGET
    one = np.ones((1, 5))
    for make in (ablation, lambda f, **own: permutation(f, background=one, **own)):
        with pytest.raises(ValueError, match="`batch_size` must be"):
            make(models.mlp, batch_size=0)
        with pytest.raises(ValueError, match="does not fit"):
            make(models.mlp, segments=np.zeros(4, int))(*args)
        with pytest.raises(TypeError, match="array of integers"):
            make(models.mlp, segments=np.zeros(5))(*args)
    with pytest.raises(ValueError, match="does not broadcast"):
        ablation(models.mlp, baseline=np.zeros(4))(*args)
    with pytest.raises(ValueError, match="`samples` must be"):
        permutation(models.mlp, background=one, samples=0)
    with pytest.raises(ValueError, match="one example at least"):
        permutation(models.mlp, background=np.ones((0, 5)))(*args)
    with pytest.raises(TypeError, match="needs one key"):
        permutation(models.mlp, background=one, samples=2)(*args)

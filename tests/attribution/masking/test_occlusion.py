"""Occlusion, against a loop over windows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.attribution import occlusion
from jaxinterp.objectives import total
from tests.compiled import compiled
from tests.networks import functions as models
from tests.oracles import masking as oracle

WEIGHTS, X, TARGET = models.cnn_weights(), models.images(), models.targets()
NEAR = {"rtol": 1e-9, "atol": 1e-12}


@pytest.mark.parametrize(("size", "stride"), [(3, None), (4, 1), (4, 3), (6, 6)])
def test_it_is_a_loop_over_windows(size, stride):
    baseline = models.normal(3, 6, 6, 2)
    attribute = occlusion(models.cnn, size=size, stride=stride, baseline=baseline)
    received = compiled(attribute)(WEIGHTS, X, TARGET)
    for i, target in enumerate(TARGET):
        expected = oracle.occlusion(
            lambda x, target=target: models.cnn(WEIGHTS, x[None])[0, target],
            *(X[i], size, stride or size, baseline),
        )
        np.testing.assert_allclose(received[i], expected, **NEAR)


def test_vectors_have_positions_and_no_channels():
    w, x = models.mlp_weights(), models.vectors()
    received = occlusion(models.mlp, size=2, stride=1)(w, x, TARGET)
    for i, target in enumerate(TARGET):
        expected = oracle.occlusion(
            lambda x, target=target: models.mlp(w, x[None])[0, target],
            *(x[i], 2, 1, np.zeros(5)),
        )
        np.testing.assert_allclose(received[i], expected, **NEAR)


def test_windows_may_have_another_size_along_each_axis():
    received = occlusion(models.cnn, size=(2, 6), stride=[2, 6])(WEIGHTS, X, TARGET)
    rows = np.arange(3)
    full = models.cnn(WEIGHTS, X)[rows, TARGET]
    for start in (0, 2, 4):
        hidden = X.copy()
        hidden[:, start : start + 2] = 0
        drop = full - models.cnn(WEIGHTS, hidden)[rows, TARGET]
        part = received[:, start : start + 2]
        np.testing.assert_allclose(part.sum((1, 2, 3)), drop, **NEAR)
        np.testing.assert_array_equal(
            part, np.broadcast_to(part[:, :1, :1, :1], part.shape)
        )


def test_windows_apart_share_a_linear_score_completely():
    w = models.normal(0, 72, 1)
    received = occlusion(lambda w, x: x.reshape(len(x), -1) @ w, size=1)(w, X, 0)
    expected = (X * w.reshape(6, 6, 2)).sum(-1)
    np.testing.assert_allclose(received.sum(-1), expected, **NEAR)


def test_of_several_arrays_one_is_hidden_at_a_time():
    def model(v, x):
        return x["a"].sum(1) * x["b"] + 0 * x["c"].sum((1, 2))

    x = {"a": jnp.ones((2, 4)), "b": jnp.array([3.0, 5.0]), "c": jnp.ones((2, 2, 2))}
    received = occlusion(model, size=2, score=total)(None, x)
    np.testing.assert_allclose(received["a"], [[3] * 4, [5] * 4])
    np.testing.assert_allclose(received["b"], [12, 20])
    np.testing.assert_array_equal(received["c"], 0)


def test_tokens_are_hidden_by_another_token():
    weights, tokens = models.token_weights(), models.tokens()
    received = occlusion(models.tagger, size=1, baseline=5)(weights, tokens, TARGET)
    assert received.dtype == jnp.float64
    rows = np.arange(3)
    full = models.tagger(weights, tokens)[rows, TARGET]
    for position in range(4):
        hidden = tokens.copy()
        hidden[:, position] = 5
        drop = full - models.tagger(weights, hidden)[rows, TARGET]
        np.testing.assert_allclose(received[:, position], drop, **NEAR)


def test_a_site_is_occluded_where_it_is_named():
    weights, tokens = models.token_weights(), models.tokens()
    at_site = occlusion(models.tagger, size=1, at="embed")(weights, tokens, TARGET)

    def rest(v, e):
        return jnp.tanh(e @ v["mix"]["w"]).mean(1) @ v["head"]["w"]

    embedded = weights["embed"][tokens]
    expected = occlusion(rest, size=1)(weights, embedded, TARGET)
    np.testing.assert_allclose(at_site, expected, **NEAR)


def test_the_planted_object_is_found():
    data = ji.data.shapes(jax.random.key(1), 4, size=32)

    def outlined(v, x):  # only the target has a white outline
        return (x.min(-1) > 0.8).astype(x.dtype).sum((1, 2))

    attribute = compiled(
        occlusion(outlined, size=4, stride=2, baseline=0.5, score=total)
    )
    received = np.asarray(attribute(None, data.images).sum(-1))
    mask = np.asarray(data.mask)
    for values, target in zip(received, mask, strict=True):
        assert target[np.unravel_index(values.argmax(), values.shape)]
        share = values[target].sum() / values.sum()
        assert share > 0.5  # windows reach over the border of the outline
        assert values.min() >= 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 7}, "does not fit an axis of 6 positions"),
        ({"size": 2, "stride": 3}, "skip positions"),
        ({"size": 0}, "`size` must be"),
        ({"size": (2, 2, 2)}, "positions along 2 axes"),
        ({"size": 2, "stride": (1,)}, "`stride` is"),
        ({"size": 2, "baseline": np.zeros(3)}, "does not broadcast"),
    ],
)
def test_windows_that_do_not_fit_are_an_error(options, message):
    with pytest.raises(ValueError, match=message):
        occlusion(models.cnn, **options)(WEIGHTS, X, TARGET)


def test_a_batch_size_is_positive():
    with pytest.raises(ValueError, match="`batch_size` must be"):
        occlusion(models.cnn, size=2, batch_size=0)


def test_an_empty_batch_has_no_attributions():
    received = occlusion(models.cnn, size=3)(WEIGHTS, X[:0], TARGET[:0])
    assert received.shape == (0, 6, 6, 2)

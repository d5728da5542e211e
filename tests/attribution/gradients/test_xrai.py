"""XRAI against the algorithm of the paper, and what the map adds up to."""

import jax
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.attribution import integrated_gradients, xrai
from jaxinterp.objectives import total
from tests.compiled import compiled
from tests.networks import functions as models
from tests.oracles import paths as oracle

RNG = np.random.default_rng(0)
WEIGHTS, X, TARGET = models.cnn_weights(), models.images(), models.targets()
COARSE, FINE = ji.perturbation.grid_segments((6, 6), 3), RNG.integers(9, size=(6, 6))


def linear(w, x):
    """A model whose integrated gradients are weights times differences."""
    return x * w


def regions_of(*maps):
    return [
        set(zip(*np.nonzero(labels == number), strict=True))
        for labels in maps
        for number in range(labels.max() + 1)
    ]


@pytest.mark.parametrize("smallest", [None, 1, 3])
def test_regions_are_added_in_the_order_of_the_paper(smallest):
    w = models.normal(1, 1, 6, 6, 2)
    each = np.stack([FINE, FINE.T, FINE[::-1]])
    options = {"min_pixels": smallest} if smallest else {}
    options |= {"steps": 1, "score": total}
    shared = xrai(linear, segments=[COARSE, FINE, FINE.T], **options)
    own = xrai(linear, segments=[COARSE, each], **options)
    for attribute, maps in (
        (shared, [(COARSE, FINE, FINE.T)] * 3),
        (own, [(COARSE, labels) for labels in each]),
    ):
        received = compiled(attribute)(w, X)
        for i in range(3):
            values = ((X[i] - 0.5) * w[0]).sum(-1)  # the mean over black and white
            expected = oracle.densest_first(values, regions_of(*maps[i]), smallest or 1)
            np.testing.assert_allclose(received[i].sum(-1), expected, atol=1e-12)
            np.testing.assert_array_equal(received[i, ..., 0], received[i, ..., 1])


def test_of_one_map_each_region_has_its_mean_and_the_sum_stays():
    attribute = compiled(xrai(models.cnn, segments=COARSE, baselines=[0.2]))
    received = np.asarray(attribute(WEIGHTS, X, TARGET)).sum(-1)
    path = integrated_gradients(models.cnn, baseline=0.2)(WEIGHTS, X, TARGET).sum(-1)
    for number in range(4):
        inside = number == COARSE
        expected = np.repeat(path[:, inside].mean(1)[:, None], 9, 1)
        np.testing.assert_allclose(received[:, inside], expected, rtol=1e-9)
    np.testing.assert_allclose(received.sum((1, 2)), path.sum((1, 2)), rtol=1e-9)


def test_what_is_in_no_region_has_its_mean():
    labels = np.where(np.arange(36).reshape(6, 6) < 6, 0, -1)
    w = models.normal(2, 1, 6, 6, 2)
    options = {"steps": 1, "score": total, "baselines": (0.0,)}
    received = xrai(linear, segments=labels, **options)(w, X).sum(-1)
    values = (X * w).sum(-1)
    for inside in (labels == 0, labels < 0):
        expected = np.repeat(values[:, inside].mean(1)[:, None], inside.sum(), 1)
        np.testing.assert_allclose(received[:, inside], expected, rtol=1e-10)
    none = xrai(linear, segments=FINE, min_pixels=36, **options)(w, X).sum(-1)
    np.testing.assert_allclose(none[:, 0, 0], values.mean((1, 2)), rtol=1e-10)


def test_sequences_chunks_nan_and_an_empty_batch():
    w, x = models.normal(3, 1, 6, 2), X[:, 0]
    attribute = xrai(linear, segments=np.arange(6) // 2, score=total, steps=3)
    received = attribute(w, x)
    parts = xrai(linear, segments=np.arange(6) // 2, score=total, steps=3, batch_size=2)
    np.testing.assert_allclose(parts(w, x), received, rtol=1e-12)
    assert attribute(w, x[:0]).shape == (0, 6, 2)
    x = np.where(np.arange(36).reshape(x.shape) == 14, np.nan, x)
    broken = np.asarray(attribute(w, x))
    np.testing.assert_allclose(broken[[0, 2]], np.asarray(received)[[0, 2]], rtol=1e-12)
    assert np.isnan(broken[1, 0]).all()


def test_heat_lies_on_the_object():
    apply_fn, variables, draw = ji.models.pretrained("shapes_cnn")
    data = draw(jax.random.key(1), 2)
    mask = np.asarray(data.mask)
    # Fair regions: the object and squares of what is around it.
    squares = ji.perturbation.grid_segments((64, 64), 16)
    segments = np.where(mask, 16, squares[None])
    attribute = jax.jit(xrai(apply_fn, segments=segments, steps=10, batch_size=2))
    heat = np.asarray(attribute(variables, data.images, data.labels)).sum(-1)
    for values, inside in zip(heat, mask, strict=True):
        assert values[inside].min() == values.max()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"segments": []}, "`segments` is empty"),
        ({"baselines": ()}, "`baselines` is empty"),
        ({"min_pixels": 0}, "`min_pixels` must be an integer of at least 1"),
        ({"steps": 0}, "`steps` must be an integer of at least 1"),
        ({"batch_size": 0}, "`batch_size` must be an integer of at least 1"),
    ],
)
def test_what_hyperparameters_have_to_be(options, message, unchecked):
    with pytest.raises(ValueError, match=message):
        xrai(models.cnn, **({"segments": COARSE} | options))


def test_what_does_not_fit_is_an_error():
    with pytest.raises(ValueError, match=r"xrai: the inputs .* one array"):
        xrai(models.mlp, segments=np.arange(5))(None, models.vectors(), 0)
    with pytest.raises(ValueError, match="segment map of shape"):
        xrai(models.cnn, segments=np.zeros((5, 6), int))(WEIGHTS, X, TARGET)
    with pytest.raises(TypeError, match="array of integers"):
        xrai(models.cnn, segments=np.zeros((6, 6)))(WEIGHTS, X, TARGET)
    with pytest.raises(TypeError, match="have a gradient"):
        xrai(models.cnn, segments=COARSE)(WEIGHTS, X.astype(int), TARGET)

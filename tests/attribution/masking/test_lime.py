"""LIME, against the textbook with the same masks."""

import jax
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.attribution import lime
from jaxinterp.objectives import total
from jaxinterp.perturbation.masks import random_masks
from jaxinterp.perturbation.segments import grid_segments, segment_sums
from tests.compiled import compiled
from tests.networks import functions as models
from tests.oracles import masking as oracle

KEY = jax.random.key(2)
WEIGHTS, X, TARGET = models.cnn_weights(), models.images(), models.targets()


@pytest.mark.parametrize(("width", "penalty"), [(0.25, 1.0), (1.0, 0.01)])
def test_coefficients_are_those_of_the_textbook(width, penalty):
    segments = grid_segments((6, 6), 2)
    options = {"kernel_width": width, "penalty": penalty}
    attribute = compiled(
        lime(models.cnn, segments=segments, samples=60, baseline=0.3, **options)
    )
    received = segment_sums(attribute(WEIGHTS, X, TARGET, KEY), segments)
    masks = np.array(random_masks(KEY, 60, 9))
    masks[0] = True
    for i, target in enumerate(TARGET):
        kept = masks[:, segments][..., None]
        copies = np.where(kept, X[i], 0.3)
        values = np.asarray(models.cnn(WEIGHTS, copies))[:, target]
        expected = oracle.lime(masks, values, width, penalty)
        # distances between masks are computed in single precision
        np.testing.assert_allclose(received[i], expected, rtol=1e-5, atol=1e-7)


def test_a_linear_score_is_found_exactly():
    w, x = models.normal(0, 5, 1), models.vectors()
    attribute = lime(lambda w, x: x @ w, samples=40, baseline=0.5, penalty=0.0)
    received = attribute(w, x, 0, KEY)
    np.testing.assert_allclose(received, w.T * (x - 0.5), rtol=1e-10)


def test_a_penalty_shrinks_coefficients():
    w, x = models.normal(0, 5, 1), models.vectors()

    def size(penalty):
        attribute = lime(lambda w, x: x @ w, samples=40, penalty=penalty)
        return np.abs(attribute(w, x, 0, KEY)).sum()

    assert size(0.0) > size(1.0) > size(100.0)


def test_a_narrow_kernel_looks_at_masks_that_keep_almost_all():
    """There the last feature of OR adds nothing, and that of AND everything."""
    gates = {kind: ji.data.Gate(kind, connected=3) for kind in ("and", "or")}
    x = np.ones((1, 3))

    def coefficients(kind, width):
        attribute = lime(
            lambda v, x: gates[kind](x),
            samples=400,
            kernel_width=width,
            penalty=0.0,
            score=total,
        )
        return np.asarray(attribute(None, x, None, KEY))[0]

    np.testing.assert_allclose(coefficients("and", 0.05), 1, atol=0.01)
    np.testing.assert_allclose(coefficients("or", 0.05), 0, atol=0.01)
    np.testing.assert_allclose(coefficients("and", 100.0), 0.25, atol=0.1)


def test_the_planted_object_is_found():
    data = ji.data.shapes(jax.random.key(1), 4, size=32)
    segments = grid_segments((32, 32), 8)

    def outlined(v, x):  # only the target has a white outline
        return (x.min(-1) > 0.8).astype(x.dtype).sum((1, 2))

    attribute = lime(
        outlined, segments=segments, baseline=0.5, samples=200, score=total
    )
    received = segment_sums(attribute(None, data.images, None, KEY), segments)
    on_target = segment_sums(np.asarray(data.outline, float)[..., None], segments)
    for values, pixels in zip(np.asarray(received), on_target, strict=True):
        assert pixels[values.argmax()] > 0
        # a quarter of what there is; segments without any pixel of it get less
        assert values[pixels == 0].max() < 0.25 * values.max()


def test_masks_do_not_depend_on_the_batch_or_on_neighbors():
    attribute = lime(models.mlp, samples=20)
    args = models.mlp_weights(), models.vectors()
    whole = attribute(*args, TARGET, KEY)
    alone = attribute(args[0], args[1][1:2], TARGET[1:2], KEY)
    np.testing.assert_allclose(whole[1:2], alone, rtol=1e-9)
    other = attribute(*args, TARGET, jax.random.key(9))
    assert np.abs(other - whole).max() > 1e-6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 0}, "`samples` must be"),
        ({"penalty": -1.0}, "`penalty` must be"),
        ({"kernel_width": 0.0}, "`kernel_width` must be positive"),
        ({"kernel_width": np.nan}, "`kernel_width` must be"),
        ({"batch_size": 0}, "`batch_size` must be"),
    ],
)
def test_hyperparameters_out_of_range_are_errors(options, message):
    with pytest.raises(ValueError, match=message):
        lime(models.mlp, **options)


def test_it_needs_a_key_and_segments_that_fit():
    args = models.mlp_weights(), models.vectors(), TARGET
    with pytest.raises(TypeError, match="needs one key"):
        lime(models.mlp)(*args)
    with pytest.raises(ValueError, match="does not fit"):
        lime(models.mlp, segments=np.zeros(4, int))(*args, KEY)
    with pytest.raises(ValueError, match="does not broadcast"):
        lime(models.mlp, baseline=np.zeros(4))(*args, KEY)
    with pytest.raises(TypeError, match="array of integers"):
        lime(models.mlp, segments=np.zeros(5))(*args, KEY)

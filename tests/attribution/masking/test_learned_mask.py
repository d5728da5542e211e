"""Learned masks, by a literal descent in NumPy, closed forms and a planted object."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.attribution import counterfactual_mask, extremal_mask
from jaxinterp.objectives import logit
from tests.compiled import compiled
from tests.networks import functions as models

WEIGHTS, X, TARGET = models.cnn_weights(), models.images(), models.targets()
TERMS = np.array([1.0, 4.0, -2.0, 3.0, -1.0, 0.5, 2.0, -3.0])


def added(terms, x):
    """A score that is a sum over positions."""
    return x @ terms[:, None]


def bell(size, sigma):
    place = np.arange(size)
    weights = np.exp(-((place[:, None] - place[None]) ** 2) / (2 * sigma**2))
    return weights / weights.sum(1, keepdims=True)


def textbook(slope_at, kernel, area, steps, rate, threshold=None):
    """The descent of the module, position by position, for one row.

    Args:
        slope_at: the score and its gradient in a mask of what is shown.
        kernel: the matrix of the blur.
        area: the area; that with which it begins if there is a threshold.
        steps: the number of steps.
        rate: the learning rate.
        threshold: the score below which a removal has to come.
    """
    n = len(kernel)
    keeps = threshold is None
    theta = np.full(n, 1.0 if keeps else 0.0)
    best, smallest = np.full(n, np.nan), np.inf
    for t in range(1, steps + 1):
        smooth = kernel @ theta
        mask = np.minimum(np.maximum(smooth, 0), 1)
        score, slope = slope_at(mask if keeps else 1 - mask)
        push = slope / np.abs(slope).max() / 100 ** (t / steps)
        step = np.zeros(n)
        left = area * n
        for p in sorted(range(n), key=lambda p: -(smooth + push)[p]):
            step[p] = min(max(left, 0), 1)
            left -= 1
        theta = theta - rate * kernel.T @ (smooth - step - push)
        if not keeps and score < threshold and mask.mean() < smallest:
            best, smallest = mask, mask.mean()
        if not keeps:
            area += (-2 if score < threshold else 2) / steps
            area = min(max(area, 0), 1)
    return np.clip(kernel @ theta, 0, 1) if keeps else best


def saturated(weights, x):
    """A score that is no sum."""
    return jnp.tanh(x @ weights)


@pytest.mark.parametrize("sigma", [0.0, 0.8])
def test_it_descends_as_written_in_the_module(sigma):
    weights, x = models.normal(60, 8, 2) / 3, models.normal(61, 2, 8)
    kernel = bell(8, sigma) if sigma else np.eye(8)
    options = {"steps": 40, "learning_rate": 0.2, "sigma": sigma, "baseline": 0.1}
    kept = compiled(extremal_mask(saturated, area=(0.3, 0.5), **options))
    removed = compiled(
        counterfactual_mask(saturated, threshold=-0.2, score=logit, **options)
    )
    target = np.array([1, 0])
    kept_masks = kept(weights, x, target)
    removed_masks = removed(weights, x, target)
    for row, c, ours, gone in zip(x, target, kept_masks, removed_masks, strict=True):

        def slope_at(mask, row=row, c=c):
            value = np.tanh((row * mask + 0.1 * (1 - mask)) @ weights[:, c])
            return value, (1 - value**2) * weights[:, c] * (row - 0.1)

        expected = [textbook(slope_at, kernel, a, 40, 0.2) for a in (0.3, 0.5)]
        np.testing.assert_allclose(ours, np.mean(expected, 0), atol=1e-10)

        def falling(mask, slope_at=slope_at):
            value, slope = slope_at(mask)
            return value, -slope

        expected = textbook(falling, kernel, 0.0, 40, 0.2, threshold=-0.2)
        np.testing.assert_allclose(gone, expected, atol=1e-10)
    assert np.isfinite(removed_masks).any()


def test_of_a_sum_the_largest_terms_are_kept():
    order = np.argsort(-TERMS)
    for count, steps in ((2, 200), (4, 100), (4, 400), (6, 200), (8, 200)):
        attribute = extremal_mask(added, area=count / 8, sigma=0.0, steps=steps)
        mask = np.asarray(compiled(attribute)(TERMS, np.ones((1, 8)), 0))[0]
        expected = np.zeros(8)
        expected[order[:count]] = 1
        # What is left of the score, 1 %, which the mask follows by steps of 1/10.
        left = 0.01 / (1 - np.log(100) / (0.1 * steps))
        np.testing.assert_allclose(mask, expected, atol=left)


def test_of_a_sum_the_largest_terms_are_removed():
    attribute = compiled(
        counterfactual_mask(added, threshold=-2.0, sigma=0.0, score=logit)
    )
    mask = np.asarray(attribute(TERMS, np.ones((1, 8)), 0))[0]
    # Of 4.5, 4 and then 2.5 of 3 have to go: 1 and 5/6 of 8 positions.
    best = np.zeros(8)
    best[1], best[3] = 1, 2.5 / 3
    assert (1 - mask) @ TERMS < -2
    assert best.sum() <= mask.sum() <= best.sum() + 0.1
    np.testing.assert_allclose(mask, best, atol=0.05)


def test_what_need_not_or_cannot_be_removed():
    attribute = compiled(
        counterfactual_mask(added, threshold=0.0, sigma=0.0, score=logit, steps=20)
    )
    x = np.stack([np.ones(8), -np.ones(8)])
    np.testing.assert_array_equal(attribute(TERMS, x, 0)[1], 0)
    never = compiled(counterfactual_mask(added, threshold=-9.0, score=logit, steps=20))
    received = never(np.abs(TERMS), x[:1], 0)
    assert np.isnan(received).all()


def test_units_of_the_score_do_not_matter():
    masks = [
        compiled(extremal_mask(lambda w, x, s=s: s * models.cnn(w, x), steps=10))(
            WEIGHTS, X, TARGET
        )
        for s in (1.0, 1024.0)
    ]
    np.testing.assert_allclose(*masks, atol=1e-9)
    assert masks[0].shape == X.shape
    np.testing.assert_array_equal(masks[0][..., 0], masks[0][..., 1])


def outlined(v, x):
    """Two classes: is there a white outline, which only the target has?"""
    value = (x.min(-1) ** 8).sum((1, 2))
    return jnp.stack([value, 15 + 0 * value], axis=1)


def test_the_planted_object_is_found():
    data = ji.data.shapes(jax.random.key(1), 2, size=32)
    kept = extremal_mask(outlined, area=0.03, steps=100)
    removed = counterfactual_mask(outlined)
    # The outline is a pixel wide, and masks are smooth: two pixels around it count.
    window = (1, 5, 5)
    near = jax.lax.reduce_window(
        data.mask, False, jax.lax.bitwise_or, window, (1, 1, 1), "SAME"
    )
    for attribute in (kept, removed):
        mask = np.asarray(compiled(attribute)(None, data.images, 0).sum(-1))
        for values, target in zip(mask, np.asarray(near), strict=True):
            assert values[target].sum() > 0.9 * values.sum()
            assert target.mean() < 0.35
    shown = np.asarray(data.images) * (1 - mask[..., None])
    assert (np.asarray(outlined(None, shown)).argmax(1) == 1).all()


def test_positions_of_a_site_and_none_of_tokens():
    tokens, weights = models.tokens(), models.token_weights()
    embedded = extremal_mask(models.tagger, steps=3, at="embed")
    assert embedded(weights, tokens, TARGET).shape == (3, 4, 6)
    at_site = compiled(extremal_mask(models.cnn, steps=3, at="max_pool"))
    assert at_site(WEIGHTS, X, TARGET).shape == (3, 3, 3, 4)


def test_nan_stays_nan_in_its_own_example():
    x = np.ones((2, 8))
    x[1, 3] = np.nan
    received = extremal_mask(added, steps=3)(TERMS, x, 0)
    assert np.isfinite(received[0]).all()
    assert np.isnan(received[1]).all()


def test_a_batch_may_be_empty():
    assert extremal_mask(added, steps=2)(TERMS, np.ones((0, 8)), 0).shape == (0, 8)


def test_what_is_wrong_is_said():
    with pytest.raises(ValueError, match="extremal_mask: `area` is empty"):
        extremal_mask(added, area=())
    with pytest.raises(ValueError, match="area"):
        extremal_mask(added, area=1.5)
    with pytest.raises(ValueError, match="steps"):
        extremal_mask(added, steps=0)
    with pytest.raises(ValueError, match="sigma"):
        counterfactual_mask(added, sigma=-1.0)
    with pytest.raises(ValueError, match="learning_rate"):
        counterfactual_mask(added, learning_rate=0.0)
    with pytest.raises(ValueError, match="threshold"):
        counterfactual_mask(added, threshold=np.nan)
    with pytest.raises(ValueError, match="extremal_mask hides positions of one array"):
        extremal_mask(models.two_inputs)(models.two_weights(), models.pair(), TARGET)
    with pytest.raises(ValueError, match="baseline"):
        extremal_mask(added, baseline=np.ones(3))(TERMS, np.ones((1, 8)), 0)
    with pytest.raises(TypeError, match="real numbers"):
        extremal_mask(added)(TERMS, np.ones((1, 8), int), 0)

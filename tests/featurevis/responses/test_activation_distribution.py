"""Streaming distributions of activations against NumPy on all values at once."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.featurevis.responses import activation_distribution as distribution
from jaxinterp.featurevis.responses.activation_distribution import (
    Distribution,
    _check_resume,
    activation_distribution,
)
from jaxinterp.objectives.unit import channel, neuron

RNG = np.random.default_rng(1)
# Channels of unlike scales: a heavy tail, an offset, tiny numbers, zeros.
IMAGES = RNG.normal(size=(37, 3, 5, 4)) * np.array([1.0, 0.1, 1e-6, 0.0])
IMAGES[..., 0] **= 3
IMAGES[..., 1] += 1000
QUANTILES = (0.0, 0.01, 0.3, 0.5, 0.7, 0.995, 1.0)


def model(w: Any, x: Any) -> Any:
    return jnp.square(jnp.sin(x)), jnp.negative(w * x) * -1


def count(images: Any, size: int, **options: Any) -> Distribution:
    batches = [images[i : i + size] for i in range(0, len(images), size)]
    options = {"by": "place", **options}
    apply_fn = lambda w, x: (w * x, None)  # noqa: E731
    return activation_distribution(apply_fn, SITE, 1.0, batches, **options)


SITE = "scale:*"


@pytest.mark.parametrize("size", [1, 5, 50])
@pytest.mark.parametrize("by", ["picture", "place"])
def test_it_is_what_all_values_at_once_say(size: int, by: str) -> None:
    found = count(IMAGES, size, by=by)
    values = IMAGES.mean(axis=(1, 2)) if by == "picture" else IMAGES.reshape(-1, 4)
    assert found.count == len(values)
    np.testing.assert_allclose(found.mean, values.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.variance, values.var(axis=0), rtol=1e-9)
    np.testing.assert_allclose(found.minimum, values.min(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.maximum, values.max(axis=0), rtol=1e-12)
    for q in QUANTILES:
        exact = np.quantile(values, q, axis=0, method="lower")
        np.testing.assert_allclose(found.quantile(q), exact, rtol=0.01 + 1e-9)


@pytest.mark.parametrize("accuracy", [0.001, 0.05])
def test_the_accuracy_is_that_asked_for(accuracy: float) -> None:
    found = count(IMAGES, 37, accuracy=accuracy)
    values = IMAGES.reshape(-1, 4)
    worst = 0.0
    for q in np.linspace(0, 1, 41):
        exact = np.quantile(values, q, axis=0, method="lower")
        error = np.abs(found.quantile(float(q)) - exact) / np.maximum(abs(exact), 1e-30)
        worst = max(worst, float(error.max()))
    assert accuracy / 2 < worst <= accuracy * (1 + 1e-9)


def test_single_precision_is_good_enough() -> None:
    images = IMAGES.astype(np.float32)
    found = count(images, 4)
    values = images.reshape(-1, 4).astype(np.float64)
    assert found.mean.dtype == jnp.float32
    np.testing.assert_allclose(found.mean, values.mean(axis=0), rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(found.variance, values.var(axis=0), rtol=1e-3)
    exact = np.quantile(values, 0.3, axis=0, method="lower")
    np.testing.assert_allclose(found.quantile(0.3), exact, rtol=0.0101)


def test_bins_lie_between_their_edges() -> None:
    found = count(IMAGES, 37)
    edges, counts = found.edges, np.asarray(found.counts)
    assert len(edges) == counts.shape[1] + 1
    assert np.all(np.diff(edges) > 0)
    for unit in range(4):
        values = IMAGES[..., unit].ravel()
        inside = (values[None] >= edges[:-1, None]) & (values[None] <= edges[1:, None])
        assert np.array_equal(inside.sum(axis=1), counts[unit])


def test_magnitudes_out_of_range_are_zero_or_the_largest() -> None:
    values = np.array([1e-30, -1e-30, 1e30, -1e30, 1.0]).reshape(5, 1, 1, 1)
    found = count(values, 2)
    assert found.minimum[0] == -1e30
    quantiles = [found.quantile(q)[0] for q in (0.25, 0.5)]
    assert quantiles == [0.0, 0.0]
    np.testing.assert_allclose(found.quantile(1.0)[0], 1e9, rtol=0.02)
    np.testing.assert_allclose(found.quantile(0.0)[0], -1e9, rtol=0.02)


def test_going_on_is_as_if_never_stopped() -> None:
    whole = count(IMAGES, 5)
    part = count(IMAGES[:15], 5)
    kept = dataclasses.replace(
        part, counts=np.asarray(part.counts), mean=np.asarray(part.mean)
    )
    rest = count(IMAGES[15:], 5, resume=kept)
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(rest), strict=True):
        assert np.array_equal(one, other)


def test_values_beyond_32_bits_are_not_lost() -> None:
    many = dataclasses.replace(count(IMAGES, 37), count=2**32 - 37 * 15)
    with pytest.raises(OverflowError, match="4294967296 values"):
        count(IMAGES, 37, resume=many)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_score_that_is_not_finite_names_its_batch(value: float) -> None:
    images = IMAGES.copy()
    images[11, 2, 2, 1] = value
    with pytest.raises(FloatingPointError, match=r"unit 1 .* picture 11 .* batch 2\."):
        count(images, 5)


def test_arguments_out_of_range() -> None:
    with pytest.raises(ValueError, match="between 1e-5 and 1, and is 1"):
        count(IMAGES, 37, accuracy=1.0)
    found = count(IMAGES, 37)
    with pytest.raises(ValueError, match="between 0 and 1, and is 2"):
        found.quantile(2.0)
    with pytest.raises(ValueError, match=r"accuracy=0.01, .*\n?.*accuracy=0.1"):
        count(IMAGES, 37, accuracy=0.1, resume=found)
    with pytest.raises(ValueError, match=r"(?s)by='place'.*by='picture'"):
        count(IMAGES, 37, by="picture", resume=found)
    with pytest.raises(TypeError, match="what an earlier call returned, and is dict"):
        _check_resume({}, distribution._nothing(4, 0.01, float), 0.01, "picture")
    with pytest.raises(ValueError, match="mean over the places of one"):
        activation_distribution(
            lambda w, x: w * x, neuron("scale", 0), 1.0, [IMAGES], by="place"
        )
    with pytest.raises(ValueError, match="A generator is empty"):
        activation_distribution(lambda w, x: w * x, channel("scale"), 1.0, iter([]))


def test_memory_is_what_the_docstring_says() -> None:
    """41 / accuracy counts for a unit, however large the numbers."""
    for accuracy in (0.01, 0.001):
        _, first, last = distribution._bins(accuracy)
        bins = 2 * (last - first + 1) + 1
        assert abs(bins * accuracy / 41.5 - 1) < 0.02

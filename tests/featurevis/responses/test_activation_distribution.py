"""Streaming distributions of activations against NumPy on all values at once."""

import dataclasses
from typing import Any

import chex
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.featurevis.responses.activation_distribution import (
    Distribution,
    _check_resume,
    activation_distribution,
)
from jaxinterp.loop.histogram import empty_histogram
from jaxinterp.objectives.unit import neuron

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
@pytest.mark.parametrize("by", ["image", "place"])
def test_it_is_what_all_values_at_once_say(size: int, by: str) -> None:
    found = count(IMAGES, size, by=by)
    values = IMAGES.mean(axis=(1, 2)) if by == "image" else IMAGES.reshape(-1, 4)
    assert found.count == len(values)
    np.testing.assert_allclose(found.mean, values.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.variance, values.var(axis=0), rtol=1e-9)
    np.testing.assert_allclose(found.minimum, values.min(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.maximum, values.max(axis=0), rtol=1e-12)
    for q in QUANTILES:
        exact = np.quantile(values, q, axis=0, method="lower")
        np.testing.assert_allclose(found.quantile(q), exact, rtol=0.01 + 1e-9)
    assert len(found.edges) == found.counts.shape[1] + 1


def test_single_precision_is_good_enough() -> None:
    images = IMAGES.astype(np.float32)
    found = count(images, 4)
    values = images.reshape(-1, 4).astype(np.float64)
    assert found.mean.dtype == jnp.float32
    np.testing.assert_allclose(found.mean, values.mean(axis=0), rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(found.variance, values.var(axis=0), rtol=1e-3)
    exact = np.quantile(values, 0.3, axis=0, method="lower")
    np.testing.assert_allclose(found.quantile(0.3), exact, rtol=0.0101)


def test_going_on_is_as_if_never_stopped() -> None:
    whole = count(IMAGES, 5)
    part = count(IMAGES[:15], 5)
    kept = dataclasses.replace(
        part, counts=np.asarray(part.counts), mean=np.asarray(part.mean)
    )
    rest = count(IMAGES[15:], 5, resume=kept)
    chex.assert_trees_all_equal(whole, rest)


def test_values_beyond_32_bits_are_not_lost() -> None:
    many = dataclasses.replace(count(IMAGES, 37), count=2**32 - 37 * 15)
    with pytest.raises(OverflowError, match="4294967296 values"):
        count(IMAGES, 37, resume=many)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_score_that_is_not_finite_names_its_batch(value: float) -> None:
    images = IMAGES.copy()
    images[11, 2, 2, 1] = value
    message = r"unit 1 is not finite for example 11 .* batch 2\."
    with pytest.raises(FloatingPointError, match=message):
        count(images, 5)


def test_arguments_out_of_range() -> None:
    with pytest.raises(ValueError, match=r"between 1e-05 and 0\.99, and is 1"):
        count(IMAGES, 37, accuracy=1.0)
    found = count(IMAGES, 37)
    with pytest.raises(ValueError, match=r"accuracy=0.01, .*\n?.*accuracy=0.1"):
        count(IMAGES, 37, accuracy=0.1, resume=found)
    with pytest.raises(ValueError, match=r"(?s)by='place'.*by='image'"):
        count(IMAGES, 37, by="image", resume=found)
    with pytest.raises(TypeError, match="what an earlier call returned, and is dict"):
        _check_resume({}, empty_histogram(4, 0.01, float), 0.01, "image")
    with pytest.raises(ValueError, match="mean over the places of one"):
        activation_distribution(
            lambda w, x: w * x, neuron("scale", 0), 1.0, [IMAGES], by="place"
        )

"""Maps without gradients, by hand and by their oracle."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.attribution import ablation_cam, score_cam
from tests.compiled import compiled
from tests.networks import functions as models
from tests.oracles import masking as oracle

X, CLASSES = models.images(), np.array([1, 2, 0])
KERNEL, HEAD = models.normal(0, 3, 3, 2, 4), models.normal(1, 4, 3)
WEIGHTS = {"kernel": KERNEL, "head": HEAD}


def model(v, x):
    with jax.named_scope("stem"):
        x = jnp.tanh(models.convolve(x, v["kernel"]))
    return jnp.tanh(x.mean((1, 2))) @ v["head"]


def test_a_channel_counts_by_what_is_lost_without_it():
    attribute = compiled(ablation_cam(model, at="stem/tanh", resize=False))
    received = attribute(WEIGHTS, X, CLASSES)
    activation = np.tanh(np.asarray(models.convolve(X, KERNEL)))
    for i, target in enumerate(CLASSES):
        expected = oracle.ablation_cam(
            lambda a, t=target: np.tanh(a.mean((0, 1))) @ HEAD[:, t], activation[i]
        )
        np.testing.assert_allclose(received[i], expected, rtol=1e-9, atol=1e-12)
    assert received.max() > 0.01


def test_a_channel_counts_by_what_it_shows():
    attribute = compiled(score_cam(model, at="stem/tanh", resize=False, rectify=False))
    received = attribute(WEIGHTS, X, CLASSES)
    activation = np.tanh(np.asarray(models.convolve(X, KERNEL)))
    for i, target in enumerate(CLASSES):
        scores = []
        for channel in range(4):
            a = activation[i, :, :, channel]
            mask = (a - a.min()) / (a.max() - a.min())
            scores.append(model(WEIGHTS, X[i : i + 1] * mask[..., None])[0, target])
        weights = np.exp(scores) / np.exp(scores).sum()
        expected = (activation[i] * weights[None, None]).sum(-1)
        np.testing.assert_allclose(received[i], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("method", [score_cam, ablation_cam])
def test_chunks_and_sizes_do_not_matter(method):
    args = WEIGHTS, X, CLASSES
    whole = method(model, at="stem/tanh", batch_size=5)(*args)
    one = method(model, at="stem/tanh", batch_size=1)(*args)
    np.testing.assert_allclose(one, whole, rtol=1e-9, atol=1e-14)
    raw = method(model, at="stem/tanh", resize=False)(*args)
    np.testing.assert_allclose(whole.sum(-1), raw, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("method", [score_cam, ablation_cam])
def test_what_has_no_map_is_an_error(method):
    with pytest.raises(ValueError, match=f"{method.__name__}: .*no positions between"):
        method(models.mlp, at="relu")(models.mlp_weights(), models.vectors(), CLASSES)
    with pytest.raises(ValueError, match="one site at a time"):
        method(model, at="stem/*")(WEIGHTS, X, CLASSES)
    with pytest.raises(ValueError, match="resized to one array"):
        method(models.two_inputs, at="max_pool")(
            models.two_weights(), models.pair(), CLASSES
        )


def test_a_channel_that_is_the_same_everywhere_hides_the_input():
    def flat(v, x):
        with jax.named_scope("stem"):
            x = jnp.tanh(x * 0 + 1)
        return x.sum((1, 2))

    received = score_cam(flat, at="stem/tanh", resize=False)(None, X, 0)
    np.testing.assert_allclose(received, np.tanh(1.0) * np.ones((3, 6, 6)))

"""Contributions of a layer against a slow loop, and the sums that tie them."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.building_blocks import (
    channel_attribution,
    class_attribution,
    group_attribution,
    neuron_groups,
    spatial_attribution,
)
from jaxinterp.objectives import channel
from tests import precision
from tests.compiled import compiled
from tests.networks import layers
from tests.oracles import building_blocks as oracle

X, TARGET = layers.images(), np.array([0, 2, 1])
AT = "layer"


def cubes(v, target=TARGET):
    """Contributions of all entries and scores, by a slow loop."""
    rows = zip(layers.layer_of(v, X), target, strict=True)
    parts = (v["hidden"], v["bias"], v["head"])
    pairs = [oracle.contributions(a, *parts, label) for a, label in rows]
    return np.stack([cube for cube, _ in pairs]), np.array([y for _, y in pairs])


def everything(v, x, target):
    groups = neuron_groups(layers.network, at=AT, groups=2)(v, x)
    return (
        spatial_attribution(layers.network, at=AT)(v, x, target),
        channel_attribution(layers.network, at=AT)(v, x, target),
        group_attribution(layers.network, at=AT)(v, x, groups, target),
        groups,
    )


@pytest.mark.parametrize("bias", [0.0, 0.5])
def test_all_cuts_of_the_cube_add_up_to_the_score_less_the_residual(bias):
    v = layers.weights(3, bias=bias)
    cube, score = cubes(v)
    spatial, channels, by_group, _ = compiled(everything)(v, X, TARGET)
    np.testing.assert_allclose(spatial.values, cube.sum(axis=-1), atol=1e-12)
    np.testing.assert_allclose(channels.values, cube.sum(axis=(1, 2)), atol=1e-12)
    residual = score - cube.sum(axis=(1, 2, 3))
    for result in (spatial, channels, by_group):
        np.testing.assert_allclose(result.score, score, atol=1e-12)
        np.testing.assert_allclose(result.residual, residual, atol=1e-12)
    total = by_group.values.sum(axis=1) + by_group.rest
    np.testing.assert_allclose(total, cube.sum(axis=(1, 2, 3)), atol=1e-12)
    assert np.abs(np.asarray(by_group.rest)).min() > 1e-3
    if bias:
        assert np.abs(residual).min() > 1e-2
    else:
        np.testing.assert_allclose(residual, 0, atol=1e-12)


def test_a_group_gets_its_own_activation_times_the_slope():
    v = layers.weights(3)
    *_, found, groups = compiled(everything)(v, X, TARGET)
    z = layers.layer_of(v, X).reshape(3, 30) @ v["hidden"]
    slopes = np.where(z > 0, v["head"].T[TARGET], 0) @ v["hidden"].T
    slopes = slopes.reshape(3, 2, 3, 5)
    for g in range(2):
        part = groups.spatial[..., g : g + 1] * groups.channels[:, None, None, g]
        expected = (part * slopes).sum(axis=(1, 2, 3))
        np.testing.assert_allclose(found.values[:, g], expected, atol=1e-12)


@pytest.mark.parametrize("classes", [3, 9])
def test_forward_and_backward_passes_give_what_each_class_alone_does(classes):
    # Six positions: three classes are passes backward, nine are passes forward.
    v = layers.weights(classes, bias=0.5)
    found = compiled(class_attribution(layers.network, at=AT, batch_size=2))(v, X)
    assert found.values.shape == (3, 2, 3, classes)
    for label in range(classes):
        cube, score = cubes(v, [label] * 3)
        np.testing.assert_allclose(
            found.values[..., label], cube.sum(axis=-1), atol=1e-12
        )
        np.testing.assert_allclose(found.score[:, label], score, atol=1e-12)
    np.testing.assert_allclose(
        found.residual, found.score - found.values.sum(axis=(1, 2)), atol=1e-12
    )


@pytest.mark.parametrize(("classes", "passes"), [(3, 3), (9, 6)])
def test_the_fewer_passes_are_taken(classes, passes):
    attribute = class_attribution(layers.network, at=AT, batch_size=1)
    jaxpr = str(jax.make_jaxpr(attribute)(layers.weights(classes), X))
    assert set(re.findall(r"length=(\d+)", jaxpr)) == {str(passes)}


def test_an_objective_may_be_explained_and_a_flat_layer_is_one_position():
    v = layers.weights(3)
    result = channel_attribution(layers.network, at=AT, score=channel("hidden", 2))(
        v, X
    )
    a = layers.layer_of(v, X)
    hidden = v["hidden"].reshape(2, 3, 5, 7)[..., 2]
    np.testing.assert_allclose(result.values, (a * hidden).sum(axis=(1, 2)), atol=1e-12)
    flat = spatial_attribution(layers.network, at="reshape")(v, X, TARGET)
    assert flat.values.shape == (3,)
    np.testing.assert_allclose(flat.values, flat.score, atol=1e-12)


def test_dtypes_are_kept_and_nan_stays_with_its_example():
    v = jax.tree.map(lambda w: jnp.asarray(w, jnp.bfloat16), layers.weights(3))
    x = jnp.asarray(X, jnp.bfloat16).at[1, 0, 0, 0].set(jnp.nan)
    attribute = compiled(spatial_attribution(layers.network, at=AT))
    result = attribute(v, x, TARGET)
    assert {leaf.dtype for leaf in result} == {jnp.dtype(jnp.bfloat16)}
    is_nan = np.isnan(np.asarray(result.score, np.float32))
    assert is_nan.tolist() == [False, True, False]
    assert attribute(v, x[:0], TARGET[:0]).values.shape == (0, 2, 3)


def pixels(v, x):
    return jnp.tanh(x.reshape(-1, 4)).reshape(len(x), -1)


def test_wrong_calls():
    v = layers.weights(3)
    groups = neuron_groups(layers.network, at=AT, groups=2, steps=1)(v, X[:2])
    with pytest.raises(ValueError, match="group_attribution: the groups are of"):
        group_attribution(layers.network, at=AT)(v, X, groups, 0)
    with pytest.raises(ValueError, match="class_attribution explains outputs"):
        class_attribution(lambda v, x: jnp.tanh(x), at="tanh")(v, X)
    with pytest.raises(ValueError, match=r"\*positions, channels\), and 'tanh' has"):
        spatial_attribution(pixels, at="tanh")(v, X, 0)
    with pytest.raises(ValueError, match="does not depend on the activation"):
        class_attribution(lambda v, x: (jnp.tanh(x), x[:, 0, 0])[1], at="tanh")(v, X)


def test_an_empty_batch_and_groups_that_are_none():
    model = lambda w, x: jax.nn.relu(x).sum(1) @ w  # noqa: E731
    result = class_attribution(model, at="relu")(jnp.eye(2), jnp.ones((0, 3, 2)))
    assert result.values.shape == (0, 3, 2)
    with pytest.raises(TypeError, match="`groups` are what `neuron_groups"):
        group_attribution(model, at="relu")(jnp.eye(2), jnp.ones((1, 3, 2)), 0)


def test_products_keep_their_digits_on_every_device():
    model, x = (lambda w, x: jax.nn.relu(w * x).sum(1)), jnp.ones((1, 3, 2))
    groups = neuron_groups(model, at="relu", groups=1)(1.0, x)
    attribute = group_attribution(model, at="relu", score="total")
    assert precision.are_all_exact(lambda x: attribute(1.0, x, groups).values, x)

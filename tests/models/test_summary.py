"""A summary is the trace's table, made from shapes alone."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji

IMAGES = jnp.ones((2, 4, 4, 3), jnp.float32)
MODULE = nn.Sequential([nn.Conv(5, (3, 3)), nn.relu, nn.Dense(2)])


def test_the_table_is_that_of_the_trace():
    variables = MODULE.init(jax.random.key(0), IMAGES)
    expected = str(ji.trace(MODULE.apply, variables, IMAGES))
    assert "Sequential/layers_0" in expected
    assert str(ji.models.summary(MODULE, IMAGES)) == expected
    pair = ji.models.from_linen(MODULE, variables)
    assert str(ji.models.summary(pair, IMAGES)) == expected
    found = ji.models.summary(MODULE.apply, IMAGES, variables=variables)
    assert str(found) == expected


def test_shapes_of_inputs_are_enough():
    shapes = jax.ShapeDtypeStruct(IMAGES.shape, IMAGES.dtype)
    assert str(ji.models.summary(MODULE, shapes)) == str(
        ji.models.summary(MODULE, IMAGES)
    )


def test_a_network_that_fits_into_no_memory_has_a_summary():
    graph = ji.models.summary(
        nn.Dense(10**8), jax.ShapeDtypeStruct((1, 10**8), np.float32)
    )
    assert [node.address for node in graph] == ["Dense"]


def test_given_variables_are_used():
    variables = jax.eval_shape(MODULE.init, jax.random.key(0), IMAGES)
    half = jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, jnp.float16), variables)
    given = ji.models.summary(MODULE, IMAGES.astype(jnp.float16), variables=half)
    assert {site.value.dtype.name for site in given.sites.values()} == {"float16"}


def test_an_apply_function_without_variables_is_an_error():
    with pytest.raises(ValueError, match=r"`summary\(apply_fn, inputs, variables="):
        ji.models.summary(MODULE.apply, IMAGES)


def test_a_pair_with_more_variables_is_an_error():
    with pytest.raises(ValueError, match="has its variables already"):
        ji.models.summary((MODULE.apply, {}), IMAGES, variables={})


def test_what_is_no_model_is_an_error():
    with pytest.raises(TypeError, match="and is a int"):
        ji.models.summary(3, IMAGES)

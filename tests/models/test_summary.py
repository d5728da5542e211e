"""A summary is the trace's table, made from shapes alone."""

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

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


def test_what_load_returns_has_a_summary():
    variables = MODULE.init(jax.random.key(0), IMAGES)
    loaded = ji.models.Loaded(MODULE.apply, variables, None, None)
    expected = str(ji.models.summary(MODULE, IMAGES))
    assert str(ji.models.summary(loaded, IMAGES)) == expected


def test_another_tuple_is_an_error():
    with pytest.raises(TypeError, match=r"a tuple of 3, .*`summary\(\(apply_fn, var"):
        ji.models.summary((MODULE.apply, {}, None), IMAGES)


def test_a_module_that_no_adapter_has_seen_is_an_error_that_names_it():
    linear = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    for variables in (None, nnx.state(linear)):
        with pytest.raises(TypeError, match=r"Linear.*`summary\(from_nnx\(model\)"):
            ji.models.summary(linear, IMAGES, variables=variables)
    pair = ji.models.from_nnx(linear)
    assert [n.address for n in ji.models.summary(pair, IMAGES)] == ["Linear"]
    equinox = eqx.nn.Linear(3, 2, key=jax.random.key(0))
    with pytest.raises(TypeError, match=r"Linear.*`summary\(from_equinox\(model\)"):
        ji.models.summary(equinox, IMAGES)


def test_a_function_that_equinox_compiled_is_an_apply_function():
    apply_fn = eqx.filter_jit(MODULE.apply)
    variables = MODULE.init(jax.random.key(0), IMAGES)
    graph = ji.models.summary(apply_fn, IMAGES, variables=variables)
    assert "Sequential/layers_0" in str(graph)


def test_an_apply_function_without_variables_is_an_error():
    with pytest.raises(ValueError, match=r"`summary\(apply_fn, inputs, variables="):
        ji.models.summary(MODULE.apply, IMAGES)


def test_a_pair_with_more_variables_is_an_error():
    with pytest.raises(ValueError, match="has its variables already"):
        ji.models.summary((MODULE.apply, {}), IMAGES, variables={})


def test_what_is_no_model_is_an_error():
    with pytest.raises(TypeError, match="and is a int"):
        ji.models.summary(3, IMAGES)

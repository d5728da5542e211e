"""The models that everything else is tested on are themselves sound."""

import math
from collections.abc import Iterator
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.few import few

from . import (
    SMALL,
    TABLE,
    Architecture,
    as_dtype,
    nnx_module,
    randomize,
    resnet18,
    resnet50,
    vgg16,
)

every_architecture = pytest.mark.parametrize(
    "entry", few(TABLE, SMALL, reason="is used by slow tests alone"), ids=str
)


@pytest.fixture(autouse=True)
def _strict() -> Iterator[None]:
    """Turns on float64 and refuses to promote ranks."""
    with jax.enable_x64(True), jax.numpy_rank_promotion("raise"):
        yield


@every_architecture
def test_outputs_are_finite_logits_of_ordinary_size(entry: Architecture):
    apply_fn, variables = entry.build()
    variables, inputs = as_dtype((variables, entry.inputs()), jnp.float64)
    outputs = np.asarray(jax.jit(apply_fn)(variables, inputs))
    assert outputs.dtype == np.float64
    assert outputs.shape[0] == len(entry.target) == 2
    assert outputs.ndim == 2
    assert outputs.shape[1] > entry.target.max()
    assert np.isfinite(outputs).all()
    assert 1e-3 < outputs.std() < 1e3
    assert np.abs(outputs[0] - outputs[1]).max() > 1e-3 * outputs.std()


@every_architecture
def test_weights_are_random_and_always_the_same(entry: Architecture):
    (apply_fn, variables), (_, again) = entry.build(), entry.build()
    chex.assert_trees_all_equal(variables, again)
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        assert leaf.dtype == jnp.float32, path
        assert leaf.size == 1 or np.std(leaf) > 0.01, path
    outputs = jax.eval_shape(apply_fn, variables, entry.inputs())
    assert outputs.dtype == jnp.float32


@every_architecture
def test_inputs_are_signed_or_tokens_with_a_hint(entry: Architecture):
    inputs = entry.inputs()
    is_tokens = jnp.issubdtype(inputs.dtype, jnp.integer)
    assert is_tokens == ("tokens" in entry.tags)
    assert is_tokens == (entry.token_site_hint is not None)
    assert is_tokens or (inputs.min() < 0 < inputs.max())


def test_names_are_unique():
    assert len({entry.name for entry in TABLE}) == len(TABLE)


@pytest.mark.parametrize(
    ("module", "count"),
    [(resnet18(), 11_689_512), (resnet50(), 25_557_032), (vgg16(), 138_357_544)],
    ids=["resnet18", "resnet50", "vgg16"],
)
def test_full_size_has_the_published_number_of_parameters(module: Any, count: int):
    image = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    shapes = jax.eval_shape(module.init, jax.random.key(0), image)["params"]
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes)) == count


def test_an_nnx_module_has_the_weights_of_its_entry():
    (entry,) = (entry for entry in TABLE if entry.name == "nnx_cnn")
    apply_fn, variables = entry.build()
    np.testing.assert_allclose(
        nnx_module(entry.name)(entry.inputs()),
        apply_fn(variables, entry.inputs()),
        rtol=1e-5,
    )


def test_an_unknown_leaf_is_an_error():
    with pytest.raises(ValueError, match="named 'gadget'"):
        randomize({"gadget": jnp.ones(3)}, jax.random.key(0))

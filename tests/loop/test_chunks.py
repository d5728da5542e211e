"""Many things, a few at a time: no result depends on how many."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.loop.chunks import (
    CACHE_BYTES,
    at_once,
    chunk_indices,
    chunk_size,
    in_chunks,
    over_units,
)

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("count", [1, 6, 7])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 9])
def test_chunks_hold_everything_in_order_and_then_the_last(count, size):
    indices = chunk_indices(count, size)
    assert indices.shape == (-(-count // size), size)
    flat = indices.ravel()
    np.testing.assert_array_equal(flat[:count], np.arange(count))
    assert set(flat[count:].tolist()) <= {count - 1}
    things = {"a": RNG.normal(size=(count, 2)), "b": RNG.normal(size=count)}
    chunks = in_chunks(jax.tree.map(jnp.asarray, things), size)
    for name, chunk in chunks.items():
        np.testing.assert_array_equal(chunk, things[name][indices])


@pytest.mark.parametrize("is_inner", [False, True])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_units_come_in_order_however_they_are_taken(size, is_inner):
    values = jnp.asarray(RNG.normal(size=(5, 3)))
    sizes = []

    def function(units):
        sizes.append(units.shape)
        return {"rows": values[units], "squares": units**2, "empty": values[units, :0]}

    result = over_units(function, 5, size, is_inner=is_inner)
    np.testing.assert_array_equal(result["rows"], values)
    np.testing.assert_array_equal(result["squares"], np.arange(5) ** 2)
    assert result["empty"].shape == (5, 0)
    assert set(sizes) == {(size,)}
    assert is_inner or len(sizes) == -(-5 // size)


def test_things_that_fill_their_chunks_are_not_gathered():
    program = jax.make_jaxpr(lambda a: in_chunks(a, 2))(jnp.zeros((4, 3)))
    assert [e.primitive.name for e in program.jaxpr.eqns] == ["reshape"]


def test_units_are_not_divided():
    assert chunk_size(None, 4, 9) == 9
    assert chunk_size(np.int64(11), 4, 9) == 2
    assert chunk_size(100, 4, 9) == 9
    with pytest.raises(ValueError, match="Write `batch_size=4` or more"):
        chunk_size(3, 4, 9)
    with pytest.raises(ValueError, match="`batch_size` must be an integer"):
        chunk_size(0, 4, 9)


def test_few_examples_are_taken_where_many_leave_the_caches(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    assert [at_once(CACHE_BYTES // n) for n in (8, 1)] == [8, 2]
    assert at_once(CACHE_BYTES + 1) == 4
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert at_once(CACHE_BYTES) is None

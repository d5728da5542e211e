"""What is static is told from arrays, hashed, and known by its identity."""

import enum

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.loop.static import hashable, static_and_arrays


class Mode(enum.Enum):
    LINEAR = 1


class Weighted:
    """A function that cannot be hashed, as it can be compared."""

    def __init__(self, weight):
        self.weight = weight

    def __eq__(self, other):
        return self.weight == other.weight

    def __call__(self, x):
        return self.weight * x


CONTEXT = {"w": jnp.arange(3), "mode": "linear", "n": [2, np.float32(0.5), None]}


def test_a_context_is_taken_apart_and_put_together():
    static, arrays = static_and_arrays(CONTEXT)
    assert [np.shape(a) for a in arrays] == [(), (3,)]
    context = static.with_arrays([a + 1 for a in arrays])
    assert context["n"] == [2, 1.5, None]
    assert context["mode"] == "linear"
    assert context["w"].tolist() == [1, 2, 3]


def test_contexts_that_differ_in_their_arrays_alone_are_one():
    other, _ = static_and_arrays({**CONTEXT, "w": jnp.ones(3)})
    static, _ = static_and_arrays(CONTEXT)
    assert (other, hash(other)) == (static, hash(static))
    assert static_and_arrays({**CONTEXT, "mode": "cubic"})[0] != static


@pytest.mark.parametrize(
    "leaf", ["linear", 3, 2.5, True, Mode.LINEAR, jnp.sin, jax.jit(jnp.sin), len, int]
)
def test_what_cannot_change_is_constant(leaf):
    assert static_and_arrays({"leaf": leaf, "w": jnp.ones(2)})[0].is_constant


def test_what_may_change_is_equal_to_itself_alone():
    static, other = (static_and_arrays({"leaf": Weighted(1)})[0] for _ in range(2))
    assert static == static
    assert static != other
    assert len({static, other}) == 2


def test_an_object_that_may_hold_arrays_is_not_constant():
    assert not static_and_arrays({"leaf": Weighted(jnp.ones(2)), "mode": "linear"})[
        0
    ].is_constant


def test_what_can_be_hashed_stays():
    assert hashable(jnp.sin) is jnp.sin
    assert hashable(None) is None


def test_a_function_that_cannot_be_hashed_is_known_by_its_identity():
    function, equal = Weighted(2.0), Weighted(2.0)
    one, again = hashable(function), hashable(function)
    assert (one, hash(one)) == (again, hash(again))
    assert one != hashable(equal)
    assert one != hash(one)
    assert one(3.0) == 6.0

"""What is static is divided from arrays, hashed, and known by its identity."""

import enum

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.loop.static import divided, hashable


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


def test_a_context_is_divided_and_filled_again():
    fixed, arrays = divided(CONTEXT)
    assert [np.shape(a) for a in arrays] == [(), (3,)]
    filled = fixed.filled([a + 1 for a in arrays])
    assert filled["n"] == [2, 1.5, None]
    assert filled["mode"] == "linear"
    assert filled["w"].tolist() == [1, 2, 3]


def test_contexts_that_differ_in_their_arrays_alone_are_one():
    other, _ = divided({**CONTEXT, "w": jnp.ones(3)})
    fixed, _ = divided(CONTEXT)
    assert (other, hash(other)) == (fixed, hash(fixed))
    assert divided({**CONTEXT, "mode": "cubic"})[0] != fixed


@pytest.mark.parametrize(
    "leaf", ["linear", 3, 2.5, True, Mode.LINEAR, jnp.sin, jax.jit(jnp.sin), len, int]
)
def test_what_cannot_change_is_constant(leaf):
    assert divided({"leaf": leaf, "w": jnp.ones(2)})[0].is_constant


def test_an_object_that_may_hold_arrays_is_not_constant():
    assert not divided({"leaf": Weighted(jnp.ones(2)), "mode": "linear"})[0].is_constant


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

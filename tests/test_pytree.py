"""Dataclasses of arrays and of what is static."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import pytest

from jaxinterp.pytree import pytree, static


@pytree
class Power:
    base: jax.Array
    exponent: int = static(default=2)


def test_static_fields_are_part_of_the_program():
    @jax.jit
    @chex.assert_max_traces(2)
    def value(power):
        return power.base**power.exponent

    for base in (2.0, 3.0):
        for exponent in (1, 2):
            power = Power(jnp.array(base), exponent)
            assert value(power) == base**exponent
    assert jax.tree.leaves(Power(jnp.array(3.0))) == [3.0]


def test_instances_are_frozen_and_compared_by_identity():
    power = Power(jnp.ones(3))
    with pytest.raises(dataclasses.FrozenInstanceError):
        power.exponent = 3  # pyright: ignore[reportAttributeAccessIssue]  frozen
    assert power == power
    assert power != Power(jnp.ones(3))

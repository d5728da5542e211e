"""What a random key is, and the keys that are derived from it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.keys import check_key, each_folded, folded, steady

KEY = jax.random.key(3)


@pytest.mark.parametrize(
    "key", [None, 0, jax.random.PRNGKey(0), jax.random.split(KEY), jnp.float32(1.0)]
)
def test_what_is_no_key_is_an_error(key):
    message = r"noise\(\) is random and needs one key. Write `key=jax.random.key\(0\)`"
    with pytest.raises(TypeError, match=message):
        check_key("noise", key)


def test_keys_of_every_implementation_are_keys():
    for name in ("threefry2x32", "rbg", "unsafe_rbg"):
        check_key("noise", jax.random.key(0, impl=name))
    jax.jit(lambda key: check_key("noise", key))(KEY)
    jax.vmap(lambda key: check_key("noise", key))(jax.random.split(KEY))


def numbers(keys):
    return jax.vmap(lambda key: jax.random.normal(key, (2,)))(keys)


def test_a_steady_key_gives_each_sample_its_numbers_however_many_there_are():
    keys = each_folded(steady(jax.random.key(0, impl="rbg")), jnp.arange(4))
    np.testing.assert_array_equal(numbers(keys)[:2], numbers(keys[:2]))
    assert steady(KEY) is KEY


def test_a_key_is_folded_by_what_identifies_the_sample():
    one = jax.random.fold_in(jax.random.fold_in(KEY, 7), 2)
    assert folded(KEY, 7, 2) == one
    assert folded(KEY, 2, 7) != one
    assert folded(KEY) is KEY
    keys = each_folded(KEY, jnp.array([5, 7]))
    assert keys[1] == folded(KEY, 7)
    assert each_folded(keys[1], jnp.array([2]))[0] == one

"""`intervene` computes with other activations, and nothing else changes."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp import intervene, of_role, trace
from jaxinterp.tracing import EditError
from tests.compiled import compiled
from tests.networks.blocks import FOUR_STEPS, Block, unrolled
from tests.tracing.arrays import normal, weights

X = normal(2, 4)
W = normal(4, 4) / 3


def tanh_net(v, x):
    return jnp.tanh(x @ v) @ v


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (jnp.zeros_like, lambda h: 0 * h),
        (lambda a: a * 2 + 1, lambda h: h * 2 + 1),
        (lambda a: a.at[:, 1].set(0.5), lambda h: h.at[:, 1].set(0.5)),
        (lambda a: a[::-1], lambda h: h[::-1]),
    ],
)
def test_later_sites_see_the_edit(edit, expected):
    changed = intervene(tanh_net, {"tanh": edit})
    h = expected(jnp.tanh(X @ W))
    np.testing.assert_allclose(changed(W, X), h @ W, rtol=1e-12)


def test_what_depends_on_the_input_no_longer_is_no_site_of_the_edited_model():
    doubled = intervene(tanh_net, {"tanh": lambda a: a * 2})
    ablated = intervene(tanh_net, {"tanh": jnp.zeros_like})
    assert list(trace(doubled, W, X).sites) == ["dense", "tanh", "dense_1"]
    assert list(trace(ablated, W, X).sites) == ["dense", "tanh"]


def test_several_sites_are_edited_at_once_in_order():
    module = Block()
    variables = weights(module, X)
    edits = {
        "Block/relu": lambda a: a + 1,
        of_role("dense"): lambda a: a * 2,
        "Block/Dense_1": lambda a: a - 3,
    }
    layers = variables["params"]
    first = 2 * (X @ layers["Dense_0"]["kernel"] + layers["Dense_0"]["bias"][None])
    h = jax.nn.relu(first) + 1
    second = 2 * (h @ layers["Dense_1"]["kernel"] + layers["Dense_1"]["bias"][None]) - 3
    found = intervene(module.apply, edits)(variables, X)
    np.testing.assert_allclose(found, X + second, rtol=1e-12)


def test_no_edit_is_the_model():
    np.testing.assert_array_equal(intervene(tanh_net, {})(W, X), tanh_net(W, X))


def test_an_edit_may_close_over_traced_values():
    def loss(scale, w):
        edit = lambda a: a * scale + (w @ w)[:1]  # noqa: E731
        return intervene(tanh_net, {"tanh": edit})(w, X).sum()

    def by_hand(scale, w):
        return ((jnp.tanh(X @ w) * scale + (w @ w)[:1]) @ w).sum()

    for transform in (jax.grad, lambda f, **k: jax.jit(jax.grad(f, **k))):
        found = transform(loss, argnums=(0, 1))(2.0, W)
        expected = jax.grad(by_hand, argnums=(0, 1))(2.0, W)
        chex.assert_trees_all_close(found, expected, rtol=1e-10)
    scales = jnp.arange(3.0)
    np.testing.assert_allclose(
        jax.vmap(loss, (0, None))(scales, W), [by_hand(s, W) for s in scales]
    )


@pytest.mark.parametrize("name", FOUR_STEPS)
def test_in_a_loop_an_edit_is_applied_at_every_step(name):
    def by_hand(scale):
        x = X
        for _ in range(4):
            x = jnp.tanh(x @ W) * scale + x
        return x

    def edited(scale):
        # The jitted and checkpointed ones are written out: four sites.
        return intervene(FOUR_STEPS[name], {"tanh*": lambda a: a * scale})(W, X)

    value, tangent = compiled(lambda s: jax.jvp(edited, (s,), (1.0,)))(0.5)
    expected, slope = jax.jvp(by_hand, (0.5,), (1.0,))
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    np.testing.assert_allclose(tangent, slope, rtol=1e-10, atol=1e-12)
    if name not in ("while", "fori"):  # JAX has no reverse mode for these
        found = compiled(jax.jacrev(edited))(0.5)
        np.testing.assert_allclose(found, slope, rtol=1e-10, atol=1e-12)


def test_an_edit_of_a_call_that_reads_its_own_result_reaches_that_reader():
    @jax.jit
    def both(x):
        h = jnp.tanh(x)
        return h, h * 2

    model = lambda v, x: both(x)  # noqa: E731
    h, doubled = intervene(model, {"tanh": lambda a: a + 1})(None, X)
    np.testing.assert_allclose(h, jnp.tanh(X) + 1)
    np.testing.assert_allclose(doubled, (jnp.tanh(X) + 1) * 2)


def test_custom_derivatives_survive_an_edit():
    model = lambda v, x: jax.nn.relu(x)  # noqa: E731
    edited = lambda x: intervene(model, {"relu": lambda a: 3 * a})(None, x).sum()  # noqa: E731
    assert jax.grad(edited)(jnp.array([0.0, 1.0])).tolist() == [0.0, 3.0]


def test_edits_of_integers_and_masks_work():
    model = lambda v, x: v[jnp.argmax(x, axis=-1)]  # noqa: E731
    found = intervene(model, {"argmax": lambda a: a * 0})(W, X)
    np.testing.assert_array_equal(found, W[jnp.zeros(2, int)])


def test_interventions_nest():
    once = intervene(tanh_net, {"tanh": lambda a: a + 1})
    twice = intervene(once, {"tanh": lambda a: a * 2})
    np.testing.assert_allclose(twice(W, X), (jnp.tanh(X @ W) * 2 + 1) @ W, rtol=1e-12)


@pytest.mark.parametrize(
    ("edit", "found"),
    [
        (lambda a: a[:1], r"float64\[1, 4\]"),
        (lambda a: a.astype(jnp.float32), r"float32\[2, 4\]"),
        (lambda a: 0.0, r"float\[\]"),
        (lambda a: None, r"NoneType\[\]"),
    ],
)
def test_an_edit_must_return_an_activation_like_its_own(edit, found):
    message = rf"(?s)edit at 'tanh'.* float64\[2, 4\], and returned {found}\."
    with pytest.raises(EditError, match=message) as error:
        intervene(tanh_net, {"tanh": edit})(W, X)
    assert "lambda activation: jnp.zeros_like(activation)" in str(error.value)


@pytest.mark.usefixtures("unchecked")
def test_the_wrong_kind_of_key_is_an_error_before_tracing():
    with pytest.raises(TypeError, match="A site is an address, a selector"):
        intervene(tanh_net, {0: jnp.zeros_like})


def test_unrolled_is_what_the_loops_compute():
    for fn in FOUR_STEPS.values():
        np.testing.assert_allclose(compiled(fn)(W, X), unrolled(W, X), rtol=1e-12)


@pytest.mark.usefixtures("unchecked")
def test_edits_are_a_mapping():
    with pytest.raises(
        TypeError, match=r"maps sites to functions or values, and \[\('tanh'"
    ):
        intervene(tanh_net, [("tanh", jnp.zeros_like)])


# --- Values ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [0.5, 2, np.full((2, 4), 0.5), np.linspace(0, 1, 4), np.ones((2, 1), np.float32)],
    ids=["number", "integer", "array", "row", "column"],
)
def test_a_value_takes_the_place_of_the_activation(value):
    expected = np.broadcast_to(np.asarray(value, float), (2, 4)) @ W
    np.testing.assert_allclose(intervene(tanh_net, {"tanh": value})(W, X), expected)
    traced = jax.jit(lambda v: intervene(tanh_net, {"tanh": v})(W, X))
    np.testing.assert_allclose(traced(value), expected)


def test_a_value_is_cast_to_the_dtype_of_the_activation():
    model = lambda w, x: jnp.tanh(x).astype(jnp.bfloat16)  # noqa: E731
    edited = intervene(model, {"tanh*": np.float64(0.5)})(None, X.astype(jnp.float32))
    assert edited.dtype == jnp.bfloat16
    assert (edited == 0.5).all()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.ones(3), r"float64\[2, 4\], and returned float64\[3\]"),
        (np.ones((1, 2, 4)), r"returned float64\[1, 2, 4\]"),
        (1j, r"returned complex128\[2, 4\]"),
    ],
)
def test_a_value_that_does_not_fit_is_an_error(value, message):
    with pytest.raises(EditError, match=message):
        intervene(tanh_net, {"tanh": value})(W, X)


@pytest.mark.usefixtures("unchecked")
def test_an_edit_is_a_function_or_a_value():
    with pytest.raises(TypeError, match=r"function of the activation,\s+an array or"):
        intervene(tanh_net, {"tanh": "zero"})

"""Rules go backward through everything that JAX can go backward through."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.extend.core import primitives as p

import jaxinterp as ji
from jaxinterp import with_rules
from tests.compiled import compiled
from tests.networks.blocks import (
    FOUR_STEPS,
    checkpointed,
    counted,
    iterated,
    scan_of_checkpoints,
    scanned,
    unrolled,
)
from tests.tracing.arrays import normal

X = normal(2, 4)
W = normal(4, 4) / 3


class Doubled:
    """A composite that doubles what goes back through dense sites."""

    def resolve(self, graph):
        return {n: self.rule for n in graph if n.role == "dense"}

    @staticmethod
    def rule(layer, relevance):
        return tuple(2 * cotangent for cotangent in layer.pull_back(relevance))


class Plain:
    """A composite that gives every site its own derivative, spelled as a rule."""

    def resolve(self, graph):
        return {n: self.rule for n in graph if not n.is_structural}

    @staticmethod
    def rule(layer, relevance):
        return layer.pull_back(relevance)


def loss(fn, composite):
    ruled = with_rules(fn, composite)
    return lambda w, x: (ruled(w, x) ** 2).sum()


@pytest.fixture(scope="module")
def doubled() -> jax.Array:
    """What the steps written out send back with doubled dense sites."""
    expected = jax.grad(loss(unrolled, Doubled()), argnums=1)(W, X)
    plain = jax.grad(loss(unrolled, Plain()), argnums=1)(W, X)
    assert np.abs(expected - plain).max() > 0.1
    return expected


@pytest.mark.parametrize("fn", FOUR_STEPS.values(), ids=FOUR_STEPS.keys())
def test_a_rule_inside_of_a_loop_is_that_of_the_steps_written_out(fn, doubled):
    ruled = with_rules(fn, Doubled())

    def value_and_back(x):
        value, pull = jax.vjp(lambda x: ruled(W, x), x)
        return value, pull(2 * value)[0]

    value, found = compiled(value_and_back)(X)
    np.testing.assert_allclose(value, unrolled(W, X), rtol=1e-12)
    np.testing.assert_allclose(found, doubled, rtol=1e-9)


@pytest.mark.parametrize("fn", [scanned, counted])
def test_rules_in_loops_work_eagerly(fn, doubled):
    found = jax.grad(loss(fn, Doubled()), argnums=1)(W, X)
    np.testing.assert_allclose(found, doubled, rtol=1e-9)


@pytest.mark.parametrize("fn", [scanned, counted, iterated])
def test_rules_in_loops_can_be_batched(fn):
    gradient = jax.grad(loss(fn, Doubled()), argnums=1)
    batch = jnp.stack([X, X + 1, X - 1])
    found = compiled(jax.vmap(lambda x: gradient(W, x)))(batch)
    plain = compiled(jax.grad(loss(unrolled, Doubled()), argnums=1))
    expected = [plain(W, x) for x in batch]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_a_cell_that_carries_counters_and_stacks_its_outputs_goes_back():
    def model(w, x):
        def cell(carry, row):
            count, h = carry
            h = jnp.tanh(row[None] + h @ w * (count + 1))
            return (count + 1, h), h.sum()

        (_, h), sums = lax.scan(cell, (0, x[:1]), x)
        return h.sum() + sums.sum()

    def by_hand(w, x):
        h, total = x[:1], 0.0
        for i in range(2):
            h = jnp.tanh(x[i][None] + h @ w * (i + 1))
            total = total + h.sum()
        return h.sum() + total

    def back(fn, composite):
        return compiled(jax.grad(with_rules(fn, composite), argnums=1))(W, X)

    expected = compiled(jax.grad(by_hand, argnums=1))(W, X)
    np.testing.assert_allclose(back(model, Plain()), expected, rtol=1e-9)
    np.testing.assert_allclose(
        back(model, Doubled()), back(by_hand, Doubled()), rtol=1e-9
    )


def primitives_in(jaxpr, found=None):
    """The primitives of a jaxpr and of all that it calls."""
    found = set() if found is None else found
    for eqn in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        found.add(eqn.primitive)
        for param in jax.tree.leaves(tuple(eqn.params.values())):
            if hasattr(param, "eqns") or hasattr(param, "jaxpr"):
                primitives_in(param, found)
    return found


@pytest.mark.parametrize("fn", [checkpointed, scan_of_checkpoints])
def test_what_was_rematerialized_still_is(fn):
    gradient = jax.grad(loss(fn, Doubled()), argnums=1)
    assert p.remat_p in primitives_in(jax.make_jaxpr(gradient)(W, X))
    plain = jax.grad(loss(unrolled, Doubled()), argnums=1)
    assert p.remat_p not in primitives_in(jax.make_jaxpr(plain)(W, X))


def test_weights_that_a_rule_reads_get_their_derivative_from_an_explanation():
    composite = ji.rules.epsilon_plus()

    def size(w):
        attribute = ji.attribution.lrp(
            lambda w, x: jnp.tanh(x @ w), composite=composite
        )
        return (attribute(w, X, jnp.array([0, 1])) ** 2).sum()

    slope, size = compiled(jax.grad(size))(W), compiled(size)
    step = 1e-5 * normal(4, 4, seed=3)
    numeric = (size(W + step) - size(W - step)) / 2
    np.testing.assert_allclose((slope * step).sum(), numeric, rtol=1e-6)


def test_several_inputs_and_outputs_get_what_they_should():
    def model(w, x):
        return jnp.tanh(x["a"] @ w) * x["b"], {"c": jnp.sin(x["b"])}

    x = {"a": X, "b": X + 1}
    outputs, pull = jax.vjp(lambda x: with_rules(model, Plain())(W, x), x)
    expected, pull_back = jax.vjp(lambda x: model(W, x), x)
    chex.assert_trees_all_close(
        (outputs, pull(expected)), (expected, pull_back(expected)), rtol=1e-12
    )


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_what_an_input_receives_has_its_dtype(dtype):
    ruled = with_rules(lambda w, x: jax.nn.relu(x @ w), ji.rules.epsilon_plus())
    x = X.astype(dtype)
    assert jax.grad(lambda x: ruled(W.astype(dtype), x).sum())(x).dtype == dtype


def test_a_rule_may_return_one_array_for_one_input():
    class Halved:
        def resolve(self, graph):
            return {n: lambda layer, r: r / 2 for n in graph}

    ruled = with_rules(lambda v, x: jnp.tanh(x), Halved())
    np.testing.assert_array_equal(
        jax.grad(lambda x: ruled(None, x).sum())(X), 0 * X + 0.5
    )


def test_an_empty_batch_receives_an_empty_relevance():
    fn = lambda w, x: jax.nn.relu((x * 2 + 1) @ w + w[:1])  # noqa: E731
    ruled = with_rules(fn, ji.rules.epsilon_alpha2_beta1())
    found = jax.grad(lambda x: ruled(W, x).sum())(X[:0])
    assert found.shape == (0, 4)


def test_integer_inputs_of_a_site_receive_nothing():
    def model(table, tokens):
        return jnp.take(table, tokens, axis=0).sum(-1)

    ruled = with_rules(model, Plain())
    tokens = jnp.array([[0, 1]])
    np.testing.assert_allclose(ruled(W, tokens), model(W, tokens))


def test_a_value_that_is_computed_twice_is_rectified_once():
    w = {name: normal(4, 4, seed=i) for i, name in enumerate("abc")}
    x = normal(2, 4, seed=9)

    def shared(w, x):
        z = jax.nn.relu(x @ w["a"])
        return z @ w["b"] + jnp.tanh(z @ w["c"])

    def twice(w, x):
        z, again = jax.nn.relu(x @ w["a"]), jnp.maximum(x @ w["a"], 0)
        return z @ w["b"] + jnp.tanh(again @ w["c"])

    def explained(model, composite):
        ruled = ji.with_rules(model, composite)
        return jax.grad(lambda x: ruled(w, x).sum())(x)

    for composite in (ji.rules.guided_backprop(), ji.rules.deconvnet()):
        once = explained(shared, composite)
        assert jnp.allclose(explained(twice, composite), once, rtol=1e-9)
    first, second = ji.at("relu"), ji.at("relu_1")
    lines = [(first, ji.rules.GuidedReLU()), (second, ji.rules.DeconvReLU())]
    apart = explained(twice, ji.rules.Composite([*lines, ("*", ji.rules.Gradient())]))
    assert not jnp.allclose(apart, explained(shared, ji.rules.guided_backprop()))
    edited = ji.intervene(twice, {"relu_1": lambda a: 0 * a})(w, x)
    assert jnp.allclose(edited, jax.nn.relu(x @ w["a"]) @ w["b"])

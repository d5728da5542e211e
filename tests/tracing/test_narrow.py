"""What the outputs do not read is not computed, and nothing else changes."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.models import Transformer
from jaxinterp.tracing.call import Traced, trace_call
from jaxinterp.tracing.with_rules import rule_changes
from tests.networks.architectures import as_dtype, randomize

WIDTH, LENGTH = 4, 5
X = jax.random.normal(jax.random.key(0), (2, LENGTH, WIDTH), jnp.float64)
W = jax.random.normal(jax.random.key(1), (WIDTH, WIDTH), jnp.float64)
V = jax.random.normal(jax.random.key(2), (WIDTH, 3), jnp.float64)


def attention(w, x):
    scores = jnp.einsum("bqd,bkd->bqk", x @ w, x)
    return jnp.einsum("bqk,bkd->bqd", jax.nn.softmax(scores), x)


def norm(x):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / jnp.sqrt(variance + 1e-5)


def convolution(w, x):
    return jax.lax.conv_general_dilated(
        x, w[None], (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")
    )


def halves(x):
    return jnp.concatenate([x[..., 2:], -x[..., :2]], -1)


class Case(NamedTuple):
    """A function, and the sizes along the tokens that its products have."""

    function: Callable[..., jax.Array]
    sizes: tuple[int, ...]


# In each the last product is read in part. The sizes are those of axis 1 of the results
# of the products with weights or activations, in order.
NARROW = {
    "one token": Case(lambda w, x: (x @ w @ V)[:, -1], (1, 1)),
    "several tokens": Case(lambda w, x: (x @ w @ V)[:, 1:3].sum(1), (2, 2)),
    "shift and activation": Case(lambda w, x: jnp.tanh(x @ w + 1)[:, 0], (1,)),
    "a norm and a residual": Case(lambda w, x: (x + norm(x @ w))[:, 2], (1,)),
    "a function under jit": Case(lambda w, x: jax.jit(jnp.matmul)(x, w)[:, 2], (1,)),
    "two heads": Case(
        lambda w, x: (x @ w).reshape(2, LENGTH, 2, 2).sum(-1)[:, 3], (1,)
    ),
    "a transpose": Case(lambda w, x: (x @ w).transpose(0, 2, 1)[:, :, 3], (1,)),
    "a new axis": Case(
        lambda w, x: ((x @ w)[:, :, None] * jnp.ones((1, 1, 2, 1)))[:, 4], (1,)
    ),
    "axes joined": Case(lambda w, x: halves(x @ w)[:, 1], (1,)),
    "a mask": Case(
        lambda w, x: jnp.where(jnp.arange(LENGTH)[None, :, None] > 2, x @ w, 0)[:, 4],
        (1,),
    ),
    "queries of attention": Case(lambda w, x: attention(w, x)[:, -1], (1, 1, 1)),
    "a batch of products": Case(
        lambda w, x: jnp.einsum("btd,bte->bte", x, x @ w)[:, 1], (1,)
    ),
    "an earlier layer for all": Case(
        lambda w, x: attention(w, jnp.tanh(x @ w))[:, -1], (LENGTH, 1, 1, 1)
    ),
    "another program inside": Case(
        lambda w, x: (jax.lax.map(jnp.tanh, x) @ w)[:, -1], (1,)
    ),
}


# Its derivative is that of its second argument, which its body does not read.
@jax.custom_jvp
def straight_through(rounded, smooth):
    return jnp.sign(rounded)


straight_through.defjvp(
    lambda primals, tangents: (straight_through(*primals), tangents[1])
)
unread = jax.jit(lambda a, h: (jnp.cumsum(a, 1), h))

WHOLE = {
    "a slice of a slice": Case(
        lambda w, x: (h := (x @ w)[:, 1:]).sum(1) + h[:, 1:3].sum(1), (LENGTH - 1,)
    ),
    "an argument that a body does not read": Case(
        lambda w, x: straight_through(x, h := x @ w)[:, -1] + h[:, -1], (LENGTH,)
    ),
    "what a call hands on": Case(
        lambda w, x: (u := unread(x, x @ w))[0][:, -1] + u[1][:, -1], (1,)
    ),
    "a factor whose source is hidden": Case(
        lambda w, x: (jax.checkpoint(jnp.tanh)(h := x @ w) * h * jnp.tanh(x @ w.T))[
            :, -1
        ],
        (LENGTH, LENGTH),
    ),
    "a convolution and its shift": Case(
        lambda w, x: ((convolution(w, x) + jnp.ones((1, 1, 4))) @ V)[:, -1], (LENGTH,)
    ),
    "two slices": Case(lambda w, x: (h := x @ w)[:, 0] + h[:, 1], (LENGTH,)),
    "read whole as well": Case(lambda w, x: (h := x @ w)[:, 0] + h.mean(1), (LENGTH,)),
    "columns of a kernel": Case(lambda w, x: (x @ w)[..., :2], (LENGTH,)),
    "examples": Case(lambda w, x: (x @ w)[:1], (LENGTH,)),
    "every second token": Case(lambda w, x: (x @ w)[:, ::2], (LENGTH,)),
    "every second token of some": Case(lambda w, x: (x @ w)[:, 1:4:2], (LENGTH,)),
    "one of every second token": Case(
        lambda w, x: ((x @ w)[:, ::2] @ w)[:, -1], (LENGTH, 1)
    ),
    "the axis of a sum": Case(lambda w, x: jnp.cumsum(x @ w, 1)[:, 2], (LENGTH,)),
    "what is computed again": Case(
        lambda w, x: jax.checkpoint(lambda x: jnp.tanh(x @ w))(x)[:, -1], (LENGTH,)
    ),
    "a derivative of its own": Case(
        lambda w, x: jax.nn.relu(jax.nn.relu(x @ w) @ w)[:, -1], (LENGTH, LENGTH)
    ),
}


def sizes(traced):
    products = ("dense", "matmul")
    return tuple(
        n.outputs[0].shape[1] for n in traced.graph.nodes if n.role in products
    )


def back(function, is_narrow, composite):
    """The outputs, and what goes back of ones."""

    def run(x):
        traced = trace_call(function, W, x)
        traced = traced.narrowed() if is_narrow else traced
        return traced.run(rule_changes(composite.resolve(traced.graph)))[0]

    outputs, pull = jax.vjp(run, X)
    return outputs, pull(jnp.ones_like(outputs))[0]


@pytest.mark.parametrize("name", [*NARROW, *WHOLE])
def test_the_function_and_its_relevance_stay_what_they_are(name):
    function, expected = {**NARROW, **WHOLE}[name]
    traced = trace_call(function, W, X).narrowed()
    assert sizes(traced) == expected
    composite = ji.rules.attn_lrp()
    outputs, relevance = back(function, True, composite)
    np.testing.assert_allclose(outputs, function(W, X), atol=1e-12)
    outputs, whole = back(function, False, composite)
    np.testing.assert_allclose(relevance, whole, atol=1e-9)
    assert jnp.abs(whole).max() > 1e-3


def test_a_program_without_slices_is_the_same_one():
    traced = trace_call(lambda w, x: jnp.tanh(x @ w), W, X)
    assert traced.narrowed() is traced


def transformer(reads):
    return Transformer(vocabulary=11, width=8, depth=2, heads=2, reads=reads)


@functools.cache
def language_model():
    module = transformer("last")
    tokens = jnp.array([[3, 1, 4, 1, 5], [2, 7, 1, 8, 2]])
    shapes = jax.eval_shape(module.init, jax.random.key(0), tokens)
    variables = as_dtype(randomize(shapes, jax.random.key(1)), jnp.float64)
    return module, variables, tokens


def last_of_every(variables, tokens):
    return transformer("every").apply(variables, tokens)[:, -1]


def test_a_language_model_makes_logits_for_the_token_that_is_read():
    module, variables, tokens = language_model()
    traced = trace_call(last_of_every, variables, tokens).narrowed()
    shapes = {n.address: n.outputs[0].shape for n in traced.graph.nodes}
    assert shapes["Transformer/lm_head"] == (2, 1, 11)
    assert shapes["Transformer/blocks_1/attention/softmax"] == (2, 2, 1, 5)
    assert shapes["Transformer/blocks_0/mlp/up"] == (2, 5, 32)
    ours, theirs = (
        jax.jit(ji.attribution.lrp(model, composite="attn_lrp"))(
            variables, tokens, jnp.array([3, 4])
        )
        for model in (last_of_every, module.apply)
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-9)


def test_what_is_explained_is_whole():
    module, variables, tokens = language_model()
    target = jnp.array([3, 4])
    at = "blocks_1/mlp/up"
    by_last, by_every = (
        jax.jit(ji.attribution.lrp(model, composite="attn_lrp", at=at))(
            variables, tokens, target
        )
        for model in (module.apply, last_of_every)
    )
    assert by_every.shape[-2] == LENGTH
    np.testing.assert_allclose(by_every, by_last, atol=1e-9)
    everywhere = ji.attribution.lrp(last_of_every, composite="attn_lrp", at="*")
    relevance = jax.eval_shape(everywhere, variables, tokens, target)
    assert relevance["Transformer/lm_head"].shape == (2, LENGTH, 11)


def test_a_composite_may_name_the_slice_and_at_too():
    def model(w, x):
        return (x @ w)[:, -1]

    for rule, is_zero in ((ji.rules.Stop(), True), (ji.rules.Gradient(), False)):
        composite = [("slice", rule), *ji.rules.attn_lrp().lines]
        relevance = ji.attribution.lrp(model, composite=composite)
        assert relevance(W, X, jnp.array([0, 1])).any() != is_zero
    at = ji.attribution.lrp(model, composite="attn_lrp", at="slice")
    assert at(W, X, jnp.array([0, 1])).shape == (2, 1, WIDTH)


class ByExample(ji.rules.Rule):
    """A rule of the user's own, which looks at all tokens."""

    def __call__(self, layer, relevance):
        return layer.x * layer.transpose(layer.kernel, relevance) / abs(layer.z).max()


@pytest.mark.parametrize(
    "rule",
    [
        ji.rules.Epsilon(ji.rules.Stabilizer(0.25, norm_scale=True)),
        ji.rules.ZBox(low=None, high=None),
        ji.rules.ZBox(low=-4 * jnp.ones((LENGTH, WIDTH)), high=4.0),
        ByExample(),
    ],
    ids=["norm", "bounds of an example", "bounds of each token", "own"],
)
def test_a_rule_that_looks_at_all_tokens_sees_them(rule, monkeypatch):
    attribute = ji.attribution.lrp(lambda w, x: (x @ w)[:, -1], composite=[("*", rule)])
    relevance = attribute(W, X, jnp.array([0, 1]))
    monkeypatch.setattr(Traced, "narrowed", lambda self, whole=(): self)
    whole = attribute(W, X, jnp.array([0, 1]))
    np.testing.assert_allclose(relevance, whole, atol=1e-12)
    assert abs(whole).max() > 1e-3


def test_attention_by_weights_of_one_query_is_attention():
    """The slice of a softmax is one, written so or moved there."""

    def sliced(w, x):
        scores = jnp.einsum("bqd,bkd->bqk", x @ w, x)
        weights = jax.checkpoint(jax.nn.softmax)(scores)[:, -1:]
        return jnp.einsum("bqk,bkd->bqd", weights, x)[:, 0]

    composite = ji.rules.cp_lrp(0.0)
    expected = back(lambda w, x: attention(w, x)[:, -1], False, composite)[1]
    np.testing.assert_allclose(back(sliced, False, composite)[1], expected, atol=1e-9)

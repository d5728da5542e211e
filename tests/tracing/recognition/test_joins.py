"""Softmax, norms, and attention: what lies between two values that paths connect."""

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from flax import nnx
from jax import lax

from jaxinterp import capture, trace
from jaxinterp.tracing.recognition.recognize import recognize
from tests.tracing.arrays import names, normal, roles, weights

X = normal(2, 3, 5)
MASK = jnp.tril(jnp.ones((3, 5), bool))[None]


def last(reduce, x):
    return reduce(x, axis=-1, keepdims=True)


def shifted(x, axis=-1):
    e = jnp.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def over_sum(e):
    return e / last(jnp.sum, e)


def over_sum_of_exp(x):
    return over_sum(jnp.exp(x))


SOFTMAXES = {
    "jax.nn": jax.nn.softmax,
    "another axis": lambda x: jax.nn.softmax(x, axis=1),
    "two axes": lambda x: jax.nn.softmax(x, axis=(1, 2)),
    "where=": lambda x: jax.nn.softmax(x, where=MASK),
    "with shift": shifted,
    "with shift along another axis": lambda x: shifted(x, 1),
    "without shift": lambda x: over_sum(jnp.exp(x)),
    "times reciprocal": lambda x: jnp.exp(x) * (1 / last(jnp.sum, jnp.exp(x))),
    "shift without gradient": lambda x: over_sum(
        jnp.exp(x - lax.stop_gradient(last(jnp.max, x)))
    ),
    "sum by einsum": lambda x: (lambda e: e / jnp.einsum("bij->bi", e)[..., None])(
        jnp.exp(x)
    ),
    "axes put back": lambda x: (lambda e: e / e.sum(-1)[..., None])(
        jnp.exp(x - x.max(-1)[..., None])
    ),
    "mask before": lambda x: jax.nn.softmax(jnp.where(MASK, x, -1e9)),
    "mask after exp": lambda x: over_sum(jnp.where(MASK, jnp.exp(x), 0)),
    "factor after exp": lambda x: over_sum(jnp.exp(x - last(jnp.max, x)) * MASK),
    "bfloat16": lambda x: jax.nn.softmax(x.astype(jnp.bfloat16)),
    "one more in the sum": lambda x: jnp.exp(x) / (1 + last(jnp.sum, jnp.exp(x))),
    "exp of log_softmax": lambda x: jnp.exp(jax.nn.log_softmax(x)),
    "exp of x - logsumexp": lambda x: jnp.exp(
        x - jax.nn.logsumexp(x, axis=-1, keepdims=True)
    ),
}
LOG_SOFTMAXES = {
    "jax.nn": jax.nn.log_softmax,
    "another axis": lambda x: jax.nn.log_softmax(x, axis=1),
    "by hand": lambda x: x - jnp.log(last(jnp.sum, jnp.exp(x))),
    "x - logsumexp": lambda x: x - jax.nn.logsumexp(x, axis=-1, keepdims=True),
    "by hand with shift": lambda x: (lambda s: s - jnp.log(last(jnp.sum, jnp.exp(s))))(
        x - last(jnp.max, x)
    ),
    "log of softmax": lambda x: jnp.log(jax.nn.softmax(x)),
}
LOGSUMEXPS = {
    "jax.nn": lambda x: jax.nn.logsumexp(x, axis=-1),
    "of all": jax.nn.logsumexp,
    "where=": lambda x: jax.nn.logsumexp(x, axis=-1, where=MASK),
    "by hand": lambda x: jnp.log(jnp.exp(x).sum(-1)),
    "by hand with shift": lambda x: (
        lambda m: m[..., 0] + jnp.log(jnp.exp(x - m).sum(-1))
    )(last(jnp.max, x)),
}
G, B = normal(1, 1, 5, seed=1), normal(1, 1, 5, seed=2)


def centered(x):
    return x - last(jnp.mean, x)


def mean_square(x):
    return last(jnp.mean, x * x)


NORMS = {
    "two passes": lambda x: (
        centered(x) / jnp.sqrt(last(jnp.mean, centered(x) ** 2) + 1e-5) * G + B
    ),
    "jnp.var": lambda x: centered(x) * lax.rsqrt(last(jnp.var, x) + 1e-5) * G + B,
    "jnp.std": lambda x: centered(x) / (last(jnp.std, x) + 1e-5),
    "power": lambda x: centered(x) * (last(jnp.var, x) + 1e-5) ** -0.5 * G,
    "gain first": lambda x: G * (centered(x) * lax.rsqrt(last(jnp.var, x) + 1e-5)),
    "gain inside": lambda x: (
        centered(x) * (lax.rsqrt(mean_square(centered(x)) + 1e-5) * G) + B
    ),
    "one pass": lambda x: (
        centered(x) * lax.rsqrt(mean_square(x) - last(jnp.mean, x) ** 2 + 1e-5)
    ),
    "standardize": jax.nn.standardize,
    "rms": lambda x: x * lax.rsqrt(mean_square(x) + 1e-5) * G,
    "rms by division": lambda x: x / jnp.sqrt(mean_square(x) + 1e-5) * (1 + G),
    "rms in bfloat16": lambda x: (
        (lambda y: y * lax.rsqrt(mean_square(y)))(x.astype(jnp.float32))
    ).astype(jnp.bfloat16),
    "l2": lambda x: x / jnp.linalg.norm(x, axis=-1, keepdims=True),
    "l2 with a floor": lambda x: x / jnp.maximum(last(jnp.linalg.norm, x), 1e-6),
    "l1": lambda x: x / last(jnp.sum, jnp.abs(x)),
    "local response": lambda x: (
        x
        / (2 + lax.reduce_window(x * x, 0.0, lax.add, (1, 1, 3), (1, 1, 1), "SAME"))
        ** 0.75
    ),
    "cast before": lambda x: jax.nn.standardize(x.astype(jnp.float32)),
}
TABLES = {
    "softmax": SOFTMAXES,
    "log_softmax": LOG_SOFTMAXES,
    "logsumexp": LOGSUMEXPS,
    "normalization": NORMS,
}


@pytest.mark.parametrize(
    ("fn", "role"),
    [
        pytest.param(fn, role, id=f"{role}: {name}")
        for role, table in TABLES.items()
        for name, fn in table.items()
    ],
)
def test_every_spelling_is_one_node(fn, role):
    assert roles(lambda v, x: fn(x), None, X) == [role]


MODULES = {
    "LayerNorm": nn.LayerNorm(),
    "LayerNorm without gain": nn.LayerNorm(use_bias=False, use_scale=False),
    "LayerNorm in two passes": nn.LayerNorm(use_fast_variance=False),
    "LayerNorm of images": nn.LayerNorm(reduction_axes=(1, 2, 3)),
    "LayerNorm in bfloat16": nn.LayerNorm(dtype=jnp.bfloat16),
    "RMSNorm": nn.RMSNorm(),
    "GroupNorm": nn.GroupNorm(num_groups=3),
    "GroupNorm in two passes": nn.GroupNorm(num_groups=3, use_fast_variance=False),
    "InstanceNorm": nn.InstanceNorm(),
}


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES.keys())
def test_a_linen_norm_is_one_node(module):
    x = normal(2, 4, 4, 6)
    found = trace(module.apply, weights(module, x), x)
    (node,) = (node for node in found if not node.is_structural)
    assert (str(node.role), node.address) == ("normalization", type(module).__name__)
    assert node.outputs[0].shape == node.inputs[0].shape == x.shape


@pytest.mark.parametrize(
    "make",
    [
        lambda rngs: nnx.LayerNorm(6, rngs=rngs),
        lambda rngs: nnx.RMSNorm(6, rngs=rngs),
        lambda rngs: nnx.GroupNorm(6, num_groups=3, rngs=rngs),
    ],
)
def test_an_nnx_norm_is_one_node(make):
    graph, state = nnx.split(make(nnx.Rngs(0)))
    x = normal(2, 4, 4, 6).astype(jnp.float32)
    assert roles(lambda v, x: nnx.merge(graph, v)(x), state, x) == ["normalization"]


def test_what_only_looks_like_a_softmax_is_none():
    def leaky(v, x):  # the exponential is read elsewhere too
        e = jnp.exp(x)
        return over_sum(e), e

    assert roles(leaky, None, X) == ["pointwise", "normalization"]
    assert roles(lambda v, x: x + jax.nn.logsumexp(x), None, X)[-1] == "add"
    other = lambda v, x: jnp.exp(x - 2) / last(jnp.sum, jnp.exp(x + 2))  # noqa: E731
    assert "softmax" not in roles(other, None, X)


def test_a_softmax_may_share_its_input_with_others():
    assert roles(lambda v, x: x * jax.nn.softmax(x), None, X) == ["softmax", "product"]


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: x + lax.stop_gradient(2 * x),
        lambda x: x - 2 * x.astype(jnp.int32).astype(x.dtype),
    ],
)
def test_a_sum_with_what_has_no_derivative_is_not_linear(fn):
    assert roles(lambda v, x: fn(x), None, X) == ["pointwise"]
    assert roles(lambda v, x: x - 2 * x, None, X) == ["scale"]


def test_the_exponential_of_a_softmax_is_taken_once():
    found = roles(lambda v, x: jax.nn.softmax(jnp.exp(x)), None, X)
    assert found == ["pointwise", "softmax"]
    assert roles(lambda v, x: x / last(jnp.sum, jnp.exp(x)), None, X) != ["softmax"]


@pytest.mark.parametrize(
    "fn",
    [
        *(over_sum_of_exp, shifted, jax.nn.log_softmax, jax.nn.logsumexp, jax.nn.gelu),
        *(NORMS["two passes"], NORMS["gain inside"], NORMS["local response"]),
    ],
)
def test_a_value_that_must_stay_visible_is_never_inside_a_node(fn):
    graph = trace(lambda w, x: fn(x), None, X)
    flow = graph.flows[graph.program]
    for index, equation in enumerate(graph.program.equations):
        if not flow.is_active(index):
            continue
        groups = recognize(flow, frozenset(equation.outputs))
        (owner,) = (group for group in groups if index in group.equations)
        readers = {i for v in equation.outputs for i in flow.readers.get(v, ())}
        assert owner.last == index or not readers & owner.equations


def test_a_softmax_that_may_not_have_its_exponential_is_a_norm():
    graph = trace(lambda w, x: over_sum(jnp.exp(x) * G), None, X)
    exponential, product, *_ = graph.program.equations
    for equation in (exponential, product):
        cuts = frozenset(equation.outputs)
        groups = recognize(graph.flows[graph.program], cuts)
        assert [str(g.role) for g in groups][-1] == "normalization"
        assert groups[0].last == graph.program.equations.index(exponential)


@pytest.mark.parametrize(
    ("power", "role"),
    [
        (lambda s: lax.integer_pow(s, -1), "normalization"),
        (lambda s: lax.pow(s, -0.5), "normalization"),
        (lambda s: lax.integer_pow(s, 2), "product"),
        (lambda s: jnp.tanh(lax.rsqrt(s)), "product"),
        (lambda s: lax.pow(s, 0.5), "product"),
        (lambda s: lax.pow(s, 0.0), "product"),
        (lambda s: lax.pow(s, G), "product"),
    ],
)
def test_a_norm_divides(power, role):
    found = roles(lambda v, x: x * power(mean_square(x) + 1e-5 + 0 * G), None, X)
    assert found[-1] == role


def test_a_norm_of_what_a_kernel_makes_of_the_input_is_several_nodes():
    def model(w, x):
        return x * lax.rsqrt(mean_square(x @ w) + 1e-5)

    assert "dense" in roles(model, normal(5, 5), X)


def test_a_mean_over_a_deviation_is_no_norm_since_it_changes_the_shape():
    found = roles(lambda v, x: x.mean(-1) / x.std(-1), None, X)
    assert "normalization" not in found


def test_a_rematerialized_part_of_a_softmax_keeps_it_apart():
    def half(v, x):
        return over_sum(jax.checkpoint(jnp.exp)(x))

    assert "softmax" not in roles(half, None, X)
    assert roles(jax.checkpoint(lambda v, x: shifted(x)), None, X) == ["softmax"]


def test_unused_results_do_not_hide_a_logsumexp():
    signed = lambda v, x: jax.nn.logsumexp(x, axis=-1, return_sign=True)  # noqa: E731
    assert "logsumexp" not in roles(signed, None, X)


Q = normal(2, 7, 2, 4)
ATTENTION = ["attention_scores", "softmax", "attention_output"]


def projected(w, x):
    q, k, v = (x @ w[name] for name in "qkv")
    scores = jnp.einsum("bid,bjd->bij", q, k) / 2
    scores = jnp.where(jnp.tril(jnp.ones((1, 7, 7), bool)), scores, -1e9)
    return shifted(scores) @ v


@pytest.mark.parametrize(
    ("fn", "variables", "x"),
    [
        (lambda v, x: jax.nn.dot_product_attention(x, x, x), None, Q),
        (lambda v, x: jax.nn.dot_product_attention(x, x, x, is_causal=True), None, Q),
        (projected, {name: normal(8, 8) for name in "qkv"}, normal(2, 7, 8)),
        (lambda v, x: nn.dot_product_attention(x, x, x), None, Q),
        (lambda v, x: shifted(x @ x.mT * 0.5) @ x, None, normal(2, 7, 8)),
    ],
)
def test_attention_has_scores_a_softmax_and_an_output(fn, variables, x):
    found = names(fn, variables, x)
    assert [name for name in found if name in ATTENTION] == ATTENTION


def test_linen_attention_has_them_in_its_module():
    module = nn.MultiHeadDotProductAttention(num_heads=2, qkv_features=8)
    x = normal(2, 7, 8)
    variables = weights(module, x)
    found = names(module.apply, variables, x)
    parts = ["key", "value", "query", *ATTENTION, "out"]
    root = "MultiHeadDotProductAttention"
    assert found == [f"{root}/{part}" for part in parts]
    _, activations = capture(module.apply, "*/softmax")(variables, x)
    assert jnp.allclose(activations[f"{root}/softmax"].sum(-1), 1)


GATES = {
    "radial": lambda x: x * jnp.exp(-0.1 * last(jnp.sum, x**2)),
    "by the mean": lambda x: jnp.exp(x) * last(jnp.mean, x),
    "over a norm": lambda x: jnp.exp(x) / (1 + last(jnp.sum, x**2)),
    "times its sum": lambda x: jnp.exp(x) * last(jnp.sum, jnp.exp(x)),
    "over another sum": lambda x: jnp.exp(x) / last(jnp.sum, jnp.exp(2 * x)),
    "of a sum": lambda x: x - jnp.log(1 + jnp.exp(last(jnp.sum, x))),
    "times its norm": lambda x: x * jnp.sqrt(last(jnp.sum, x**2)),
}


@pytest.mark.parametrize("fn", GATES.values(), ids=GATES)
def test_what_is_not_divided_by_its_own_sum_is_no_softmax_and_no_norm(fn):
    found = roles(lambda v, x: fn(x), None, normal(2, 5))
    assert len(found) > 1
    assert not {"softmax", "log_softmax", "normalization", "logsumexp"} & set(found)


def test_a_power_over_its_sum_is_a_softmax_with_a_factor_too():
    assert roles(lambda v, x: over_sum(jnp.e**x), None, X) == ["softmax"]

    def with_factor(v, x):
        e = jnp.e**x
        return 2 * e / last(jnp.sum, e)

    assert roles(with_factor, None, X) == ["softmax"]


def test_a_softmax_may_compute_its_exponential_twice():
    def twice(v, x):
        e = jnp.exp(x - last(jnp.max, x))
        return e / last(jnp.sum, jnp.exp(x - last(jnp.max, x)))

    assert roles(twice, None, normal(2, 5)) == ["softmax"]

"""Composites: which site gets which rule, what a plan says, and what is an error."""

import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.experimental import pallas
from jax.extend.core import Primitive
from jax.extend.core import primitives as p
from jax.interpreters import mlir

import jaxinterp as ji
from jaxinterp import at, rules
from jaxinterp.rules import Composite, Epsilon, Flat, Gradient, Norm, ZPlus
from jaxinterp.rules.composite import SeveralResultsError
from jaxinterp.tracing import AddressError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 4))
W = {name: {"w": RNG.normal(size=(4, 4))} for name in ("stem", "body", "head")}


def mlp(v, x):
    x = jax.nn.relu(x @ v["stem"]["w"])
    x = x + jnp.tanh(x @ v["body"]["w"])
    return x @ v["head"]["w"]


def chosen(composite, model=mlp, variables=W, x=X):
    plan = ji.plan(model, composite, variables, x)
    return {row.site: row.rule for row in plan.rows}


# --- Which line is taken --------------------------------------------------------------


def test_the_first_line_that_matches_is_taken():
    composite = Composite([("body", ZPlus()), ("b*", Flat()), ("*", Epsilon())])
    assert chosen(composite) == {
        "stem": Epsilon(),
        "relu": Epsilon(),
        "body": ZPlus(),
        "tanh": Epsilon(),
        "add": Epsilon(),
        "head": Epsilon(),
    }
    assert chosen(Composite([("*", Epsilon())]) + composite)["body"] == Epsilon()


@pytest.mark.parametrize(
    ("selector", "sites"),
    [
        ("*", "stem relu body tanh add head"),
        ("*e*", "stem relu head"),
        (ji.first(), "stem"),
        (ji.last(), "head"),
        (ji.of_role("dense"), "stem body head"),
        (ji.of_role("dense") & ~ji.first(), "body head"),
        (ji.first() | ji.last(), "stem head"),
        (ji.of_role("activation", "add"), "relu tanh add"),
        (ji.of_primitive(p.tanh_p), "tanh"),
        (ji.of_primitive(p.dot_general_p) & "h*", "head"),
        (ji.where(lambda node: node.address.endswith("d")), "add head"),
        (~ji.of_role("dense") & ~ji.at("relu"), "tanh add"),
    ],
    ids=str,
)
def test_selectors(selector, sites):
    table = chosen(Composite([(selector, Flat()), ("*", Epsilon())]))
    assert {site for site, rule in table.items() if rule == Flat()} == set(
        sites.split()
    )


def test_composites_add_up_in_order():
    left, right = Composite([("stem", Flat())]), Composite([("*", Epsilon())])
    assert (left + right).lines == (*left.lines, *right.lines)
    assert left + right == Composite([("stem", Flat()), ("*", Epsilon())])
    assert hash(left + right) == hash(Composite((*left.lines, *right.lines)))
    assert left + right != right + left
    assert eval(repr(left + right), vars(rules) | vars(rules.composite)) == left + right


def test_a_composite_prints_as_a_numbered_list():
    composite = Composite([("stem", Flat()), (ji.of_role("dense"), Epsilon(0.25))])
    assert str(composite).splitlines() == [
        "1  at('stem')        Flat()",
        "2  of_role('dense')  Epsilon(epsilon=0.25)",
    ]


def test_indexing_needs_no_line_but_may_have_one_by_name():
    def model(v, x):
        return (x @ v["stem"]["w"])[:, ::2].reshape(-1) * 1.0

    composite = Composite([(ji.of_role("dense", "scale"), Epsilon())])
    assert ji.plan(model, composite, W, X).coverage == 1
    (site,) = (n.address for n in ji.trace(model, W, X) if "slice" in n.address)
    named = Composite([(site, rules.Stop())]) + composite
    _, pull = jax.vjp(lambda x: ji.with_rules(model, named)(W, x), X)
    np.testing.assert_array_equal(pull(np.ones(4))[0], 0 * X)


def test_a_composite_may_be_changed_without_changing_values():
    for composite in (rules.epsilon_plus(), rules.guided_backprop()):
        ruled = ji.with_rules(mlp, composite)
        np.testing.assert_allclose(ruled(W, X), mlp(W, X), rtol=1e-12)
        assert ruled.__name__ == "mlp"


# --- Errors ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([("*", Epsilon)], "ends in a rule, and <class .*Write an instance"),
        ([("*", "epsilon")], "ends in a rule, and 'epsilon' is none"),
        ([("*", lambda layer, r: r)], r"own derives from `jaxinterp.rules.Rule`\."),
        ([Epsilon()], r"is a pair \(selector, rule\), not Epsilon"),
        ([("*", Epsilon(), 1)], "is a pair"),
        ([(3, Epsilon())], "address, a selector .* and 3 is none"),
        ([(None, Epsilon())], "address, a selector .* and None is none"),
    ],
)
def test_lines_are_pairs_of_selector_and_rule(lines, message, unchecked):
    with pytest.raises(TypeError) as error:
        Composite(lines)
    assert re.search(message, str(error.value), re.DOTALL)


def test_an_address_that_matches_nothing_lists_the_nearest():
    composite = Composite([("boddy", Flat()), ("*", Epsilon())])
    with pytest.raises(AddressError) as error:
        ji.with_rules(mlp, composite)(W, X)
    message = str(error.value)
    assert "No site matches 'boddy'" in message
    assert message.index("    body") < message.index("`list(jaxinterp.trace(")


@pytest.mark.parametrize(
    "selector",
    [
        at("body") & at("boddy"),
        at("boddy") | ji.of_role("dense"),
        ji.of_role("dense") & ~at("boddy"),
    ],
)
def test_an_address_inside_a_selector_has_to_match_too(selector):
    with pytest.raises(AddressError, match="No site matches 'boddy'"):
        ji.plan(mlp, Composite([(selector, Flat()), ("*", Epsilon())]), W, X)


def line_of(function, text):
    """Returns the number of the line of a function that holds a text."""
    lines, start = inspect.getsourcelines(function)
    (offset,) = (i for i, line in enumerate(lines) if text in line)
    return start + offset


def ratio(v, x):
    x = jnp.tanh(x @ v["stem"]["w"])
    return x / (x @ v["body"]["w"])


def product_along(v, x):
    x = jnp.tanh(x @ v["stem"]["w"])
    return jnp.cumprod(x, axis=1)


@pytest.mark.parametrize(
    ("model", "text", "role", "primitive"),
    [
        (ratio, "return x /", "quotient", "div"),
        (product_along, "cumprod", "unknown", "cumprod"),
    ],
)
def test_a_site_without_a_line_is_an_error_that_names_it(model, text, role, primitive):
    composite = rules.epsilon_plus()
    with pytest.raises(rules.UnmatchedSiteError) as error:
        ji.with_rules(model, composite)(W, X)
    message = str(error.value)
    site = re.match(r"No line of the composite matches '([^']+)'", message).group(1)
    assert f"role {role}, primitive {primitive}" in message
    assert f"test_composite.py:{line_of(model, text)}" in message
    assert all(str(selector) in message for selector, _ in composite.lines)
    assert "batch norm" not in message
    # Both remedies it recommends do help.
    scope = {"jaxinterp": ji, "composite": composite}
    remedies = [eval(line, scope) for line in re.findall(r"(?m)^ {4}(.*)$", message)]
    rule = rules.FixedStatistics() if model is ratio else Norm()
    assert remedies[0].lines == (Composite([(site, rule)]) + composite).lines
    assert remedies[1].lines == (composite + Composite([("*", Gradient())])).lines
    for remedy in remedies:
        _, pull = jax.vjp(lambda x, c=remedy: ji.with_rules(model, c)(W, x), X)
        assert np.isfinite(pull(np.ones_like(X))[0]).all()


def test_the_error_counts_further_sites():
    def model(v, x):
        for _ in range(3):
            x = x / (x @ v["stem"]["w"])
        return x

    with pytest.raises(rules.UnmatchedSiteError, match=r"\(2 more like it\)"):
        ji.with_rules(model, rules.epsilon_plus())(W, X)


# --- Plans ----------------------------------------------------------------------------


def test_a_plan_says_which_line_chose_each_rule():
    composite = Composite([("body", ZPlus()), (ji.of_role("dense"), Epsilon())])
    plan = ji.plan(mlp, composite, W, X)
    assert [
        (row.site, row.role, str(row.rule), row.chosen_by) for row in plan.rows
    ] == [
        ("stem", "dense", str(Epsilon()), "line 2: of_role('dense')"),
        ("relu", "activation", "None", "no line matches role activation"),
        ("body", "dense", str(ZPlus()), "line 1: at('body')"),
        ("tanh", "activation", "None", "no line matches role activation"),
        ("add", "add", "None", "no line matches role add"),
        ("head", "dense", str(Epsilon()), "line 2: of_role('dense')"),
    ]
    assert plan.coverage == 0.5
    assert [row.site for row in plan.uncovered] == ["relu", "tanh", "add"]


def test_a_plan_names_the_modules_that_are_fused_into_a_node():
    class Normalized(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.relu(nn.Dense(3, name="dense")(x))
            return nn.BatchNorm(True, name="norm")(nn.Dense(2, name="head")(x))

    variables = Normalized().init(jax.random.key(0), X)
    plan = ji.plan(Normalized().apply, rules.epsilon_plus(), variables, X)
    assert [row.site for row in plan.rows] == [
        *("Normalized/dense", "Normalized/relu", "Normalized/head + norm")
    ]


def test_a_plan_prints_as_a_table_and_as_html():
    plan = ji.plan(mlp, rules.epsilon_plus_flat(), W, X)
    head, rule, *rows, last = str(plan).splitlines()
    assert head.split() == ["site", "role", "rule", "chosen", "by"]
    assert set(rule) == {"-"}
    assert [row.split()[0] for row in rows] == [row.site for row in plan.rows]
    assert last == "coverage 1.000 of 6 sites"
    assert repr(plan) == str(plan)
    html = plan._repr_html_()
    assert html.count("<tr>") == 7
    assert "of_role(&#x27;dense&#x27;)" in html
    assert "<th>chosen by</th>" in html


def test_the_plain_derivative_covers_only_what_picks():
    def model(v, x):
        return jnp.sort(jnp.tanh(x @ v["stem"]["w"]), axis=1)

    plan = ji.plan(model, Composite([("*", Gradient())]), W, X)
    assert [row.role for row in plan.uncovered] == ["dense", "activation"]
    assert plan.coverage == pytest.approx(1 / 3)


def test_a_plan_of_nothing_is_covered():
    plan = ji.plan(lambda v, x: x[:, ::2], Composite([]), None, X)
    assert plan.rows == ()
    assert plan.coverage == 1


def test_a_plan_computes_nothing():
    shape = jax.ShapeDtypeStruct((2, 4), jnp.float32)
    assert ji.plan(mlp, rules.epsilon_plus(), W, shape).coverage == 1


def test_a_plan_takes_further_arguments():
    def model(v, x, mask, *, power=1):
        return (x * mask) @ v["stem"]["w"] ** power

    plan = ji.plan(model, rules.epsilon_plus(), W, X, np.ones_like(X), power=2)
    assert plan.coverage == 1


def test_with_rules_takes_further_arguments():
    def model(v, x, mask, *, power=1):
        return (x * mask) @ v["stem"]["w"] ** power

    mask = np.ones_like(X)
    ruled = ji.with_rules(model, rules.epsilon_plus())
    np.testing.assert_allclose(
        ruled(W, X, mask, power=2), model(W, X, mask, power=2), rtol=1e-12
    )


def test_what_nobody_needs_needs_no_rule():
    def model(v, x):
        jnp.cumprod(x, axis=1)  # thrown away
        return mlp(v, x)

    table = ji.plan(model, rules.epsilon_plus(), W, X)
    assert table.coverage == 1.0
    assert "cumprod" not in str(table)
    lrp = ji.attribution.lrp(model, composite=rules.epsilon_plus())
    expected = ji.attribution.lrp(mlp, composite=rules.epsilon_plus())
    target = np.zeros(len(X), int)
    np.testing.assert_array_equal(lrp(W, X, target), expected(W, X, target))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ji.plan(mlp, W, rules.epsilon_plus(), X), r"Write `plan\(apply_fn, j"),
        (lambda: ji.plan(mlp, rules.epsilon_plus, W, X), "parentheses of the preset"),
        (lambda: ji.attribution.lrp(mlp, composite=3), "must be a Composite, and is 3"),
        (lambda: rules.epsilon_plus() + 3, "another one or its lines, and 3 is nei"),
        (
            lambda: "epsilon_plus" + rules.epsilon_plus(),
            "and 'epsilon_plus' is neither",
        ),
        (
            lambda: ji.attribution.lrp(mlp, composite=["*"]),
            "is a pair",
        ),
    ],
)
def test_something_else_than_a_composite(call, message, unchecked):
    with pytest.raises(TypeError, match=message):
        call()


def test_composites_add_up_with_lists_of_lines():
    line, preset = ("*", Norm()), rules.epsilon_plus()
    assert preset + [line] == preset + Composite([line])  # noqa: RUF005
    assert [line] + preset == Composite([line]) + preset  # noqa: RUF005
    assert (line,) + preset == Composite([line]) + preset  # noqa: RUF005


def test_a_line_may_name_several_sites():
    composite = Composite([(["stem", "body"], Norm())])
    assert str(composite) == "1  (at('stem') | at('body'))  Norm()"


def test_batch_statistics_are_named_where_they_divide():
    def normalized(v, x):
        z = x @ v["stem"]["w"]
        z = z - z.mean(0, keepdims=True)
        return z / jnp.sqrt((z**2).mean(0, keepdims=True) + 1e-3)

    message = r"depends on the batch as a whole, through `reduce_sum` at .*test_compos"
    with pytest.raises(rules.UnmatchedSiteError, match=message) as error:
        ji.with_rules(normalized, Composite([(ji.of_role("dense"), Norm())]))(W, X)
    assert "    functools.partial(model.apply, train=False)\n" in str(error.value)


def test_a_rule_for_several_results_is_an_error_that_says_what_to_write():
    def model(v, x):
        return jax.lax.top_k(x @ v["stem"]["w"], 3)[0]

    strict = Composite([("*", Epsilon())])
    message = r"has 2 results, and Epsilon(?s:.*)\(at\('top_k'\), Gradient\(\)\)"
    with pytest.raises(SeveralResultsError, match=message):
        ji.attribution.lrp(model, composite=strict)(W, X, 0)
    mended = Composite([(at("top_k"), Gradient())]) + strict
    assert ji.attribution.lrp(model, composite=mended)(W, X, 0).shape == X.shape


# --- Kernels --------------------------------------------------------------------------


def scores(q, k):
    return jnp.einsum("bth,bsh->bts", q, k)


def attention(q, k, v):
    return jax.nn.softmax(scores(q, k)) @ v


def kernel_of_pallas(q, k, v):
    def kernel(q_ref, k_ref, v_ref, result_ref):
        result_ref[...] = attention(q_ref[...], k_ref[...], v_ref[...])

    shape = jax.ShapeDtypeStruct(v.shape, v.dtype)
    return pallas.pallas_call(kernel, shape, interpret=True)(q, k, v)


# cuDNN's primitive cannot be bound without it; this one has its name.
CUDNN = Primitive("dot_product_attention_fwd_wrapper")
CUDNN.def_impl(attention)
CUDNN.def_abstract_eval(lambda q, k, v: v)
mlir.register_lowering(CUDNN, mlir.lower_fun(attention, multiple_results=False))


def kernel_of_cudnn(q, k, v):
    return CUDNN.bind(q, k, v)


def with_derivative(kernel):
    """Fused attention as libraries have it, with a backward pass of its own."""
    fused = jax.custom_vjp(kernel)
    fused.defvjp(
        lambda *qkv: (kernel(*qkv), qkv),
        lambda qkv, cotangent: jax.vjp(attention, *qkv)[1](cotangent),
    )
    return fused


SEQUENCE = RNG.normal(size=(2, 3, 4))


def reader(attend):
    def model(v, x):
        q, k, value = (x @ v[name]["w"] for name in W)
        return attend(q, k, value).mean(1)

    return model


@pytest.mark.parametrize("kernel", [kernel_of_pallas, kernel_of_cudnn])
def test_a_kernel_is_an_error_that_says_which_argument_to_pass(kernel):
    argument = r"jax.nn.dot_product_attention\(..., implementation='xla'\)"
    with pytest.raises(rules.UnmatchedSiteError, match=argument) as error:
        ji.attribution.lrp(reader(kernel), composite="attn_lrp")(W, SEQUENCE, 0)
    assert "YourRule())] + composite" in str(error.value)
    with pytest.raises(ValueError, match=argument):
        ji.attribution.attention_rollout(reader(kernel))(W, SEQUENCE)


@pytest.mark.parametrize("kernel", [kernel_of_pallas, kernel_of_cudnn])
def test_a_kernel_with_a_derivative_may_get_the_rule_that_the_error_names(kernel):
    fused, written_out = reader(with_derivative(kernel)), reader(attention)
    with pytest.raises(rules.UnmatchedSiteError, match="argument that chooses") as e:
        ji.attribution.lrp(fused, composite="attn_lrp")(W, SEQUENCE, 0)
    (site,) = re.findall(r"\[\('(.*)', jaxinterp.rules.Norm\(\)\)\]", str(e.value))
    line, rest = [(site, Norm(1e-14))], rules.attn_lrp(1e-14)
    received = ji.attribution.lrp(fused, composite=line + rest)(W, SEQUENCE, 0)
    gradient = ji.attribution.gradient
    of_both = [gradient(model)(W, SEQUENCE, 0) for model in (fused, written_out)]
    np.testing.assert_allclose(*of_both, rtol=1e-9)
    # Nothing else is nonlinear here, and there are no biases.
    np.testing.assert_allclose(received, SEQUENCE * of_both[0], rtol=1e-4)

"""Selectors are values: they combine, print, compare, and say what is wrong."""

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from jax.extend.core import primitives as p

import jaxinterp as ji
from jaxinterp import at, first, last, layers, of_primitive, of_role, trace, where
from jaxinterp.rules import Composite, Epsilon, Pass, ZPlus
from jaxinterp.tracing import AddressError, Role
from jaxinterp.tracing.selectors import as_selector
from tests.networks.blocks import Block
from tests.proposals import proposals
from tests.tracing.arrays import normal, weights

X = normal(2, 4)


def wide(node):
    return node.outputs[0].shape[-1] > 3


@pytest.fixture(scope="module")
def nodes():
    module = Block()
    return trace(module.apply, weights(module, X), X).nodes


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        (at("*"), "Dense_0 relu Dense_1 add"),
        (at("Block"), "add"),  # the output of the module
        (at("Block/Dense_?"), "Dense_0 Dense_1"),
        (at("[!B]lock/*"), ""),
        (at("Dense_?"), "Dense_0 Dense_1"),  # without the model's name
        (first(), "Dense_0"),
        (last(), "Dense_1"),
        (layers(0, 1), "Dense_0"),
        (layers(1, None), "Dense_1"),
        (layers(-2, -1), "Dense_0"),
        (layers(None, None), "Dense_0 Dense_1"),
        (layers(2, 9), ""),
        (~layers(None, 1) & of_role("dense"), "Dense_1"),
        (~last() & of_role("dense"), "Dense_0"),
        (of_role(Role.ADD, "activation"), "relu add"),
        (of_primitive(p.max_p, p.dot_general_p), "Dense_0 relu Dense_1"),
        (first() | "*/add", "Dense_0 add"),
        (~(at("*relu") | at("*add")) & "*", "Dense_0 Dense_1"),
        (where(lambda node: len(node.inputs) == 2), "add"),
        (where(wide) & ~at("*Dense*"), "relu add"),
    ],
    ids=str,
)
def test_selectors_choose_nodes(nodes, selector, expected):
    found = [node.address.removeprefix("Block/") for node in nodes if selector(node)]
    assert found == expected.split()


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        (at("a/*"), "at('a/*')"),
        (~first() & "b", "(~first() & at('b'))"),
        (last() | of_role("dense", "add"), "(last() | of_role('dense', 'add'))"),
        (of_primitive(p.tanh_p), "of_primitive(tanh)"),
        (where(wide), "where(wide)"),
        (layers(0, 3) | layers(-1, None), "(layers(0, 3) | layers(-1, None))"),
    ],
)
def test_selectors_print_as_they_are_written(selector, text):
    assert str(selector) == text


def test_selectors_compare_and_hash():
    assert at("a") & first() == at("a") & first()
    assert at("a") & first() != first() & at("a")
    assert len({at("a"), at("a"), ~at("a"), as_selector("a"), where(wide)}) == 3
    assert as_selector(first()) == first()


def test_unknown_roles_and_other_things_are_errors():
    with pytest.raises(ValueError, match=r"no role 'linaer'. There are: 'convolution'"):
        of_role("linaer")
    with pytest.raises(ValueError, match="needs at least one role"):
        of_role()


@pytest.mark.parametrize("bounds", [(3, 3), (2, 1), (None, 0), (-1, -2)], ids=str)
def test_layers_between_which_nothing_lies_are_an_error(bounds):
    with pytest.raises(ValueError, match=r"has no layers in it\.") as error:
        layers(*bounds)
    assert proposals(error) == [layers(0, 3), layers(2, 3), layers(-2, None)]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("bounds", [(0.5, 2), (0, "3"), (True, 2)], ids=str)
def test_layers_are_counted_in_integers(bounds):
    with pytest.raises(ValueError, match="must be an integer or None, and is"):
        layers(*bounds)


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_selector_is_an_error_that_says_what_to_write():
    with pytest.raises(TypeError, match=r"was given 'tanh'\.\n.*import tanh_p"):
        of_primitive("tanh")
    with pytest.raises(TypeError, match=r"and 3 is none\.\n.*at\(\), first\(\)"):
        as_selector(3)
    with pytest.raises(TypeError, match="A site is an address"):
        at("a") & jnp.zeros(3)


def test_a_list_means_all_of_its_entries_in_network_order():
    module = Block()
    run = ji.capture(module.apply, ["relu", at("add"), "Dense_*"])
    addresses = list(run(weights(module, X), X)[1])
    assert addresses == [f"Block/{n}" for n in ("Dense_0", "relu", "Dense_1", "add")]
    with pytest.raises(AddressError, match="'rellu'"):
        ji.capture(module.apply, ["Dense_0", "rellu"])(weights(module, X), X)
    with pytest.raises(TypeError, match=r"and \[\] is none"):
        ji.capture(module.apply, [])


def test_an_address_with_the_letters_of_a_glob_means_itself():
    w = {"conv[3x3]": normal(4, 3), "a*b": normal(3, 3)}
    nodes = trace(lambda w, x: x @ w["conv[3x3]"] @ w["a*b"], w, X).nodes
    for selector in (at("conv[3x3]"), at("conv[3x3]") & first(), ~at("a*b")):
        assert [n.address for n in nodes if selector(n)] == ["conv[3x3]"]


class Inner(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.relu(nn.Dense(2, name="dense")(x))


class Outer(nn.Module):
    @nn.compact
    def __call__(self, x):
        return Inner(name="inner")(nn.Dense(3, name="dense")(x))


def test_the_name_of_the_model_may_be_left_out():
    model, x = Outer(), jnp.ones((1, 4))
    variables = model.init(jax.random.key(0), x)

    def scaled(variables, x):
        return model.apply(variables, x / 2)

    for apply_fn in (model.apply, scaled):
        _, found = ji.capture(apply_fn, "dense")(variables, x)
        assert list(found) == ["Outer/dense"]
        _, found = ji.capture(apply_fn, "inner/relu")(variables, x)
        assert list(found) == ["Outer/inner/relu"]
    rules = Composite([("dense", Epsilon()), ("inner/*", ZPlus()), ("*", Pass())])
    rows = {
        row.site: row.rule for row in ji.plan(model.apply, rules, variables, x).rows
    }
    assert rows["Outer/dense"] == Epsilon()
    assert rows["Outer/inner/dense"] == ZPlus()


def test_without_one_model_around_all_no_name_may_be_left_out():
    def apply_fn(w, x):
        with jax.named_scope("a"):
            x = jnp.tanh(x) @ w
        with jax.named_scope("b"):
            return jnp.tanh(x).sum(axis=-1)

    with pytest.raises(AddressError, match="a/tanh"):
        ji.capture(apply_fn, "tanh")(jnp.ones((2, 2)), jnp.ones((1, 2)))

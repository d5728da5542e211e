"""What is asked of every family: shapes, empty batches, addresses, explanations."""

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp import models
from jaxinterp.objectives import total
from tests.compiled import compiled
from tests.few import few
from tests.networks.families import (
    FAMILIES,
    apply_fn,
    built,
    token_site,
)

ROOT = pathlib.Path(__file__).parents[2]
ADAPTERS = "jaxinterp/models/adapters.py"
every_family = pytest.mark.parametrize("name", FAMILIES)


# --- Shapes ---------------------------------------------------------------------------


def test_every_network_of_the_package_is_in_the_table():
    found = {type(family.model) for family in FAMILIES.values()}
    public = {
        value
        for value in vars(models).values()
        if isinstance(value, type) and hasattr(value, "init_with_output")
    }
    assert found == public


@every_family
def test_shapes(name):
    _, variables, inputs = built(name)
    outputs = jax.eval_shape(apply_fn(name), variables, inputs)
    assert outputs.shape == FAMILIES[name].outputs
    assert outputs.dtype == jnp.float32


DEEP = {"vgg", "resnet18", "resnet50", "googlenet", "alexnet", "squeezenet"}
deep = pytest.mark.slow(reason="many layers of kinds that smaller networks have too")


every_small_family = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[deep] if n in DEEP else []) for n in FAMILIES]
)


@every_small_family
def test_a_batch_may_be_empty(name):
    model, variables, inputs = built(name)
    outputs = compiled(apply_fn(name))(variables, inputs[:0])
    assert outputs.shape == (0, *FAMILIES[name].outputs[1:])
    shapes = jax.eval_shape(model.init, jax.random.key(0), inputs[:0])
    assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, variables)


NORMALIZED = ["cnn", "vgg_bn", "resnet18", "resnet50", "resnet8", "googlenet_bn"]
NORMALIZED += ["generator", "discriminator"]


@every_family
def test_these_have_batch_norms(name):
    assert ("batch_stats" in built(name)[1]) == (name in NORMALIZED)


@pytest.mark.parametrize("name", NORMALIZED)
def test_a_batch_norm_learns_nothing_from_an_empty_batch(name):
    """The mean of nothing is NaN, and would stay in the running average."""
    model, variables, inputs = built(name)
    with pytest.raises(ValueError, match=r"cannot train .* shape \(0, .*`train=False`"):
        model.apply(variables, inputs[:0], train=True, mutable=["batch_stats"])


# --- Explanations ---------------------------------------------------------------------


@every_small_family
def test_every_site_gets_a_rule(name):
    _, variables, inputs = built(name)
    composite = ji.rules.epsilon_plus_flat()
    plan = ji.plan(apply_fn(name), composite, variables, inputs)
    assert plan.coverage == 1, f"\n{plan}"
    assert not [row for row in plan.rows if row.role == "unknown"]


@pytest.mark.parametrize(
    "name",
    few(
        FAMILIES,
        {"induction", "modular addition", "lstm", "gru of tokens", "mlp"},
        reason="compiles a gradient through many layers",
    ),
)
def test_every_example_is_explained(name):
    _, variables, inputs = built(name)
    site = token_site(name)
    attribute = compiled(ji.attribution.lrp(apply_fn(name), score=total, at=site))
    received = attribute(variables, inputs)
    if site is None:
        assert received.shape == inputs.shape
    else:
        assert received.shape[:-1] == inputs.shape
    assert np.isfinite(received).all()
    assert (np.abs(received).reshape(2, -1).max(axis=1) > 0).all()


# --- Addresses ------------------------------------------------------------------------

# Networks that have all the layers which a docstring names, and inputs for them.
LARGE = {
    "AlexNet": (models.AlexNet(), (1, 70, 70, 3)),
    "VGG": (models.VGG(16, use_batch_norm=True), (1, 40, 40, 3)),
    "GoogLeNet": (models.GoogLeNet(), (1, 64, 64, 3)),
    "SqueezeNet": (models.SqueezeNet(), (1, 64, 64, 3)),
    "ConvNeXt": (models.ConvNeXt(), (1, 32, 32, 3)),
    "ResNet8": (models.ResNet8(), (1, 32, 32, 3)),
}
# Adapters are about networks of the same names in other libraries.
TEXTS = (
    *sorted(set((ROOT / "jaxinterp/models").glob("**/*.py")) - {ROOT / ADAPTERS}),
    ROOT / "docs/api/models.md",
)


def sites_of(root):
    """Returns the addresses of a network that has all of its family's layers."""
    if root in LARGE:
        model, shape = LARGE[root]
        images = jax.ShapeDtypeStruct(shape, jnp.float32)
        return ji.models.summary(model, images).sites
    names = (n for n, f in FAMILIES.items() if type(f.model).__name__ == root)
    return [site for n in names for site in ji.trace(apply_fn(n), *built(n)[1:]).sites]


@pytest.mark.parametrize(
    "root", sorted({type(family.model).__name__ for family in FAMILIES.values()})
)
def test_addresses_that_docstrings_name_exist(root):
    texts = [text.read_text() for text in TEXTS]
    named = {found for t in texts for found in re.findall(rf'[`"]({root}/[^`"]+)', t)}
    assert named, f"no docstring says where the layers of {root} are"
    sites = sites_of(root)
    assert not named - set(sites), f"the sites are {list(sites)}"


@pytest.mark.parametrize("site", ["ResNet8/block1", "block1"])
def test_a_network_is_split_at_an_address_with_or_without_its_class(site):
    model, variables, inputs = built("resnet8")
    encode, decode = ji.split(model.apply, site)
    features = compiled(encode)(variables, inputs)
    assert features.shape == (2, 32, 32, 4)
    np.testing.assert_allclose(
        compiled(decode)(variables, features, inputs),
        compiled(model.apply)(variables, inputs),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize("short", ["conv2", "inception_4a", "inception_4a/3x3/conv"])
def test_the_addresses_of_papers_are_those_of_googlenet(short):
    model, variables, inputs = built("googlenet")
    _, found = compiled(ji.capture(model.apply, short))(variables, inputs)
    assert list(found) == [f"GoogLeNet/{short}"]


@every_small_family
def test_addresses_read_well(name):
    """No names of Flax's own, no layer that only its number tells, no copies."""
    model, variables, inputs = built(name)
    graph = ji.trace(apply_fn(name), variables, inputs)
    root = type(model).__name__
    for site in graph.sites:
        first, *parts = site.split("/")
        assert first == root
        for part in parts:
            assert re.fullmatch(r"[a-z0-9]\w*", part), site
            assert not re.fullmatch(r"(copy|dense|convolution)(_\d+)?", part), site

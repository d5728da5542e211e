"""Every architecture is traced, captured, planned, explained, and its books close."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp import rules
from jaxinterp.attribution import gradient, lrp
from jaxinterp.objectives import logit
from tests.compiled import compiled
from tests.few import few
from tests.networks.architectures import TABLE, as_dtype

SLOW = {"resnet18", "resnet50", "densenet", "googlenet", "mobilenet", "mixer", "vit"}
# These have the layers of others here, and their relevance is in `test_ledger.py`.
REPEATED = {"plain_mlp", "vgg11_bn", "unet", "nnx_mlp", "nnx_cnn", "nnx_transformer"}
NAMES = {entry.name: entry for entry in TABLE}
large = pytest.mark.slow(reason="many layers of kinds that smaller networks have too")
every_architecture = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[large] if name in SLOW | REPEATED else [])
        for name in NAMES
    ],
)
PRESETS = {
    "epsilon_plus": rules.epsilon_plus,
    "epsilon_plus_flat": rules.epsilon_plus_flat,
}
# The sites that the presets have no rule for, by architecture. None: every role that
# occurs has a line.
UNCOVERED: dict[str, set[str]] = {}


@functools.cache
def built(name):
    """Returns the model, its weights and a batch."""
    apply_fn, variables = NAMES[name].build()
    return apply_fn, variables, NAMES[name].inputs()


def site_of_tokens(name):
    """Returns the address of the embedding if the inputs are integers."""
    if "tokens" not in NAMES[name].tags:
        return None
    (address,) = (
        address
        for address, site in ji.trace(*built(name)).sites.items()
        if ji.of_role("embedding")(site)
    )
    return address


def from_site(name):
    """Returns the model from its embedding on, which has real-valued inputs."""
    apply_fn, variables, inputs = built(name)
    site = site_of_tokens(name)
    if site is None:
        return apply_fn, variables, inputs
    encode, decode = ji.split(apply_fn, site)
    return (
        lambda v, x: decode(v, x, inputs),
        variables,
        encode(variables, inputs),
    )


@every_architecture
def test_it_is_traced_under_readable_addresses(name):
    apply_fn, variables, inputs = built(name)
    graph = ji.trace(apply_fn, variables, inputs)
    assert len({node.address for node in graph}) == len(graph.nodes)
    assert not [node.address for node in graph if node.role == "unknown"]
    table = str(graph).splitlines()
    assert len(table) == 3 + sum(not node.is_structural for node in graph)


@every_architecture
def test_every_activation_is_captured_and_the_outputs_stay(name):
    apply_fn, variables, inputs = built(name)
    outputs, activations = compiled(ji.capture(apply_fn, "*"))(variables, inputs)
    expected = compiled(apply_fn)(variables, inputs)
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)
    sites = ji.trace(apply_fn, variables, inputs).sites
    assert set(activations) == {a for a, s in sites.items() if s.value.is_inexact}
    for address, value in activations.items():
        assert value.shape == sites[address].shape, address
    last = activations[list(sites)[-1]]
    np.testing.assert_allclose(last.reshape(-1)[-5:], outputs.reshape(-1)[-5:])


@pytest.mark.parametrize(
    "preset",
    [
        "epsilon_plus_flat",
        pytest.param(
            "epsilon_plus",
            marks=pytest.mark.slow(reason="the same but for the first layer"),
        ),
    ],
)
@every_architecture
def test_the_presets_cover_it_or_name_what_they_do_not(name, preset):
    plan = ji.plan(built(name)[0], PRESETS[preset](), *built(name)[1:])
    uncovered = {row.site for row in plan.uncovered}
    assert uncovered == UNCOVERED.get(name, set()), f"\n{plan}"
    if not uncovered:
        assert plan.coverage == 1
        ji.rules.Composite.resolve(PRESETS[preset](), ji.trace(*built(name)))


@pytest.mark.parametrize(
    "name",
    few(
        NAMES,
        {"mlp", "lenet", "convnext", "lstm", "gru", "nnx_resnet"},
        reason="explained eagerly, in float64, in `test_ledger.py`",
    ),
)
def test_it_is_explained_under_jit(name):
    apply_fn, variables, inputs = built(name)
    site = site_of_tokens(name)
    attribute = compiled(lrp(apply_fn, at=site))
    received = attribute(variables, inputs, NAMES[name].target)
    shape = inputs.shape if site is None else ji.trace(*built(name)).sites[site].shape
    assert received.shape == shape
    assert received.dtype == jnp.float32
    assert np.isfinite(received).all()
    assert (np.abs(received).reshape(len(received), -1).max(axis=1) > 0).all()


# The others are in `test_ledger.py`.
@pytest.mark.parametrize(
    "name", [name for name, entry in NAMES.items() if "tokens" in entry.tags]
)
def test_the_books_close(name):
    """In float32, where each hand-over is rounded to 1e-7."""
    apply_fn, variables, x = from_site(name)
    books = ji.ledger(apply_fn, rules.epsilon_plus(), variables, x, NAMES[name].target)
    assert books.error <= 1e-4
    assert np.isfinite([e.unexplained for e in books.entries]).all()
    logits = compiled(apply_fn)(variables, x)
    expected = logit(logits, NAMES[name].target).sum()
    assert books.score == pytest.approx(float(expected), rel=1e-3)


@pytest.mark.parametrize(
    ("name", "dtype"),
    few(
        [
            ("lenet", jnp.bfloat16),
            ("lstm", jnp.float64),
            ("lenet", jnp.float16),
            ("lstm", jnp.float16),
            ("scanned_transformer", jnp.float16),
            ("decoder", jnp.bfloat16),
            ("decoder", jnp.float64),
        ],
        2,
        reason="more of such pairs",
    ),
)
def test_other_dtypes(name, dtype):
    apply_fn, variables, x = from_site(name)
    variables, x = as_dtype((variables, x), dtype)
    for method in (gradient, lrp):
        received = compiled(method(apply_fn))(variables, x, NAMES[name].target)
        assert received.dtype == dtype
        assert np.isfinite(np.asarray(received, np.float64)).all()

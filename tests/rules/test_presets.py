"""Composites by name: end to end against zennit, and what they say about a network."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp import rules
from jaxinterp.rules import presets
from tests.compiled import compiled

from .replay import NETWORKS, below, distance, golden

RELEVANCE = {
    "epsilon_plus": rules.epsilon_plus,
    "epsilon_plus_flat": rules.epsilon_plus_flat,
    "epsilon_alpha2_beta1": rules.epsilon_alpha2_beta1,
    "epsilon_alpha2_beta1_flat": rules.epsilon_alpha2_beta1_flat,
    "epsilon_gamma_box": rules.epsilon_gamma_box,
    "excitation_backprop": rules.excitation_backprop,
}
GRADIENTS = {
    "gradient": lambda: rules.Composite([("*", rules.Gradient())]),
    "guided_backprop": rules.guided_backprop,
    "deconvnet": rules.deconvnet,
    "beta_smooth": rules.beta_smooth,
}
TOLERANCE = 1e-9


def composite(name, data):
    if name == "epsilon_gamma_box":
        return rules.epsilon_gamma_box(data["low"][0], data["high"][0])
    return (RELEVANCE | GRADIENTS)[name]()


@functools.cache
def all_received(file):
    """Returns the logits, and what each composite sends to the input."""
    data = golden(file)
    apply_fn, parameters = NETWORKS[file], below(data, "params")

    @compiled
    def run(parameters, x, target):
        found, output = {}, None
        for name in RELEVANCE | GRADIENTS:
            ruled = ji.with_rules(apply_fn, composite(name, data))
            output, pull = jax.vjp(lambda x, f=ruled: f(parameters, x), x)
            seed = jax.nn.one_hot(target, output.shape[1], dtype=output.dtype)
            (found[name],) = pull(seed * output if name in RELEVANCE else seed)
        return output, found

    return run(parameters, data["input"], data["target"])


# One file has its programs compiled once, for two tests of it.
residual = pytest.mark.slow(reason="explains a residual network with every preset")
every_network = pytest.mark.parametrize(
    "file",
    [pytest.param(f, marks=[residual] if "resnet" in f else []) for f in NETWORKS],
)


@pytest.mark.slow(reason="explains a whole network with every preset")
@every_network
def test_networks_are_those_of_zennit(file):
    assert distance(all_received(file)[0], golden(file)["output"]) <= 1e-12


@pytest.mark.parametrize("name", RELEVANCE | GRADIENTS)
@every_network
def test_composites_agree_with_zennit(file, name):
    received = all_received(file)[1][name]
    assert distance(received, golden(file)[f"{name}/relevance"]) <= TOLERANCE


# convolutions, dense layers, and the first layer where it is special
MAPPINGS = {
    rules.epsilon_plus(): (rules.ZPlus(), rules.Epsilon(), None),
    rules.epsilon_plus_flat(0.1): (rules.ZPlus(), rules.Epsilon(0.1), rules.Flat()),
    rules.epsilon_alpha2_beta1(): (rules.AlphaBeta(), rules.Epsilon(), None),
    rules.epsilon_alpha2_beta1_flat(): (
        rules.AlphaBeta(),
        rules.Epsilon(),
        rules.Flat(),
    ),
    rules.epsilon_gamma_box(-9.0, 9.0, gamma=0.5): (
        rules.Gamma(0.5),
        rules.Epsilon(),
        rules.ZBox(-9.0, 9.0),
    ),
    rules.excitation_backprop(): (rules.ZPlus(), rules.ZPlus(), None),
    rules.deep_taylor(): (
        rules.ZPlus(keep_bias=False),
        rules.ZPlus(keep_bias=False),
        rules.WSquare(keep_bias=False),
    ),
    rules.deep_taylor(-9.0, 9.0): (
        rules.ZPlus(keep_bias=False),
        rules.ZPlus(keep_bias=False),
        rules.ZBox(-9.0, 9.0),
    ),
}


@pytest.mark.parametrize("file", NETWORKS)
@pytest.mark.parametrize("composite", MAPPINGS, ids=range(len(MAPPINGS)))
def test_each_role_has_the_rule_of_the_preset(file, composite):
    data = golden(file)
    plan = ji.plan(NETWORKS[file], composite, below(data, "params"), data["input"])
    convolution, dense, first = MAPPINGS[composite]
    by_role = {
        "convolution": convolution,
        "dense": dense,
        "activation": rules.Pass(),
        "add": rules.Norm(),
        "linear": rules.Norm(),
        "max_pool": rules.Gradient(),
    }
    head, *rest = plan.rows
    assert head.rule == (first or convolution)
    assert [row.rule for row in rest] == [by_role[row.role] for row in rest]
    assert plan.coverage == 1
    assert plan.uncovered == ()


@pytest.mark.parametrize(
    ("composite", "rule"),
    [
        (rules.guided_backprop(), rules.GuidedReLU()),
        (rules.deconvnet(), rules.DeconvReLU()),
        (rules.beta_smooth(3.0), rules.BetaSmooth(3.0)),
        (rules.rect_grad(90.0), rules.RectGrad(90.0)),
    ],
    ids=["guided_backprop", "deconvnet", "beta_smooth", "rect_grad"],
)
def test_gradient_presets_change_activations_alone(composite, rule):
    data = golden("zennit_vgg.npz")
    plan = ji.plan(
        NETWORKS["zennit_vgg.npz"], composite, below(data, "params"), data["input"]
    )
    for row in plan.rows:
        expected = rule if row.role == "activation" else rules.Gradient()
        assert row.rule == expected


def test_the_box_is_for_a_first_convolution_alone():
    def mlp(w, x):
        return jax.nn.relu(x @ w[0]) @ w[1]

    plan = ji.plan(
        mlp, rules.epsilon_gamma_box(0.0, 1.0), [np.ones((4, 4))] * 2, np.ones((1, 4))
    )
    assert [str(row.rule) for row in plan.rows] == [
        str(rules.Epsilon()),
        "Pass()",
        str(rules.Epsilon()),
    ]


# --- By name --------------------------------------------------------------------------


def test_every_preset_without_required_arguments_has_a_name():
    public = {
        name: preset
        for name, preset in vars(rules).items()
        if getattr(preset, "__module__", "") == presets.__name__
    }
    without = {
        name
        for name, preset in public.items()
        if all(
            parameter.default is not parameter.empty
            for parameter in inspect.signature(preset).parameters.values()
        )
    }
    assert set(presets.PRESETS) == without
    assert set(public) - without == {"epsilon_gamma_box"}
    for name in without:
        assert presets.as_composite(name, "call") == public[name]()


def test_a_name_and_lines_mean_a_composite():
    x, target = np.random.default_rng(0).normal(size=(2, 3)), jnp.array([0, 1])
    weights = {"w": np.random.default_rng(1).normal(size=(3, 2))}

    def model(variables, x):
        return jax.nn.relu(x @ variables["w"])

    composite = rules.epsilon_plus()
    table = ji.plan(model, composite, weights, x)
    expected = ji.attribution.lrp(model, composite=composite)(weights, x, target)
    for spelling in ("epsilon_plus", list(composite.lines), composite.lines):
        assert ji.plan(model, spelling, weights, x) == table
        attribute = ji.attribution.lrp(model, composite=spelling)
        np.testing.assert_array_equal(attribute(weights, x, target), expected)


def test_rectified_gradients_of_a_network_are_those_of_a_backward_pass_by_hand():
    rng = np.random.default_rng(2)
    w = [rng.normal(size=shape) for shape in ((5, 8), (8, 8), (8, 3))]
    x, target = rng.normal(size=(4, 5)), np.array([0, 2, 1, 1])

    def model(w, x):
        return jax.nn.relu(jax.nn.relu(x @ w[0]) @ w[1]) @ w[2]

    ruled = ji.with_rules(model, rules.rect_grad(60.0))
    found = ji.attribution.input_x_gradient(ruled)(w, x, target)
    lower = np.maximum(x @ w[0], 0)
    upper = np.maximum(lower @ w[1], 0)
    for i in range(4):
        gradient = w[2][:, target[i]]
        for h, kernel in ((upper[i], w[1]), (lower[i], w[0])):
            threshold = np.percentile(h * gradient, 60.0)
            passes = (h * gradient > threshold) & (h > 0)
            gradient = kernel @ np.where(passes, gradient, 0)
        np.testing.assert_allclose(found[i], x[i] * gradient, rtol=1e-10)

"""Every rule on every kind of layer, against the numbers of zennit and iNNvestigate.

Both sides are float64; where stabilizers are spelled alike what remains is rounding.
"""

import functools

import numpy as np
import pytest

from jaxinterp import rules
from jaxinterp.rules import Stabilizer
from tests.compiled import compiled

from .replay import (
    below,
    distance,
    golden,
    layer_of,
    layers,
    relevance_through,
    rules_of,
)

TOLERANCE = 1e-9
CLIP = Stabilizer(0.5, clip=True)
NORM_SCALE = Stabilizer(0.1, norm_scale=True)
ZEROS = Stabilizer(1e-7, only_zeros=True)
THEIRS = "innvestigate"
ZENNIT = {
    "epsilon": rules.Epsilon(),
    "epsilon_large": rules.Epsilon(0.25),
    "epsilon_clip": rules.Epsilon(CLIP),
    "epsilon_norm_scale": rules.Epsilon(NORM_SCALE),
    "epsilon_norm_scale_clip": rules.Epsilon(
        Stabilizer(0.5, clip=True, norm_scale=True)
    ),
    "epsilon_zero_bias": rules.Epsilon(keep_bias=False),
    "gamma": rules.Gamma(),
    "gamma_large": rules.Gamma(2.0),
    "gamma_norm_scale": rules.Gamma(epsilon=NORM_SCALE),
    "gamma_zero_bias": rules.Gamma(keep_bias=False),
    "zplus": rules.ZPlus(),
    "zplus_clip": rules.ZPlus(CLIP),
    "zplus_zero_bias": rules.ZPlus(keep_bias=False),
    "alpha2_beta1": rules.AlphaBeta(),
    "alpha1_beta0": rules.AlphaBeta(1.0, 0.0),
    "alpha2_beta1_norm_scale": rules.AlphaBeta(epsilon=NORM_SCALE),
    "alpha2_beta1_zero_bias": rules.AlphaBeta(keep_bias=False),
    "zbox_scalar": rules.ZBox(-3.0, 2.5),
    "zbox_scalar_zero_bias": rules.ZBox(-3.0, 2.5),
    "wsquare": rules.WSquare(),
    "wsquare_zero_bias": rules.WSquare(keep_bias=False),
    "flat": rules.Flat(),
    "flat_zero_bias": rules.Flat(),
    "norm": rules.Norm(),
    "norm_clip": rules.Norm(CLIP),
}
INNVESTIGATE = {
    "z": rules.Epsilon(ZEROS),
    "z_no_bias": rules.Epsilon(ZEROS, keep_bias=False),
    "epsilon": rules.Epsilon(1e-7),
    "epsilon_no_bias": rules.Epsilon(1e-7, keep_bias=False),
    "epsilon_large": rules.Epsilon(0.1),
    "alpha2_beta1": rules.AlphaBeta(convention=THEIRS),
    "alpha2_beta1_no_bias": rules.AlphaBeta(convention=THEIRS, keep_bias=False),
    "alpha1_beta0": rules.AlphaBeta(1.0, 0.0, convention=THEIRS),
    "alpha1_beta0_no_bias": rules.AlphaBeta(
        1.0, 0.0, convention=THEIRS, keep_bias=False
    ),
    "zplus": rules.ZPlus(convention=THEIRS),
    "wsquare": rules.WSquare(convention=THEIRS),
    "flat": rules.Flat(ZEROS),
    "bounded": rules.ZBox(-3.0, 2.5, ZEROS),
}
# Inputs of both signs against positive weights alone: not offered, it conserves
# nothing.
LEFT_OUT = {"zplus_fast"}


def received(name: str, table: dict, file: str) -> tuple[dict, dict]:
    """Returns a layer's arrays, and what each of its rules sends to the input."""
    data = below(golden(file), name)
    apply_fn, variables = layer_of(data)
    own = dict(table)
    if "low" in data:
        own["zbox"] = rules.ZBox(data["low"][0], data["high"][0])
    chosen = {key: own[key] for key in rules_of(data) if key not in LEFT_OUT}

    @compiled
    def run(variables, x, relevance):
        send = functools.partial(relevance_through, apply_fn)
        output = apply_fn(variables, x)
        return output, {k: send(r, variables, x, relevance) for k, r in chosen.items()}

    output, relevance = run(variables, data["input"], data["relevance_out"])
    assert distance(output, data["output"]) <= 1e-12
    return data, relevance


def distances(name: str, table: dict, file: str) -> dict[str, float]:
    """Returns how far each rule of the file is from ours, at one layer."""
    data, relevance = received(name, table, file)
    assert set(relevance) == set(rules_of(data)) - LEFT_OUT
    return {k: distance(v, data[f"{k}/relevance"]) for k, v in relevance.items()}


def too_far(found: dict[str, float]) -> dict[str, float]:
    """Returns those beyond the tolerance, NaN among them."""
    return {key: d for key, d in found.items() if not d <= TOLERANCE}


OTHERS = ("residual_sum", "relu", "tanh")


REPEATED = {"avg_pool1d", "avg_pool3d", "conv1d", "conv3d", "conv_transpose1d"}
REPEATED |= {"conv2d_no_bias", "linear_no_bias", "conv2d_dilated", "conv2d_stride2"}
repeated = pytest.mark.slow(reason="another number of axes, or without a bias")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[repeated] if name in REPEATED else [])
        for name in layers("zennit_rules.npz")
        if name not in OTHERS
    ],
)
def test_rules_agree_with_zennit(name):
    found = distances(name, ZENNIT, "zennit_rules.npz")
    assert found
    assert too_far(found) == {}


@pytest.mark.parametrize(
    "name", [n for n in layers("innvestigate_rules.npz") if n != "add"]
)
def test_rules_agree_with_innvestigate(name):
    found = distances(name, INNVESTIGATE, "innvestigate_rules.npz")
    assert found
    assert too_far(found) == {}


@pytest.mark.parametrize(
    ("file", "key", "rule"),
    [
        ("zennit_rules.npz", "residual_sum/norm", rules.Norm()),
        ("zennit_rules.npz", "residual_sum/norm_clip", rules.Norm(CLIP)),
        ("innvestigate_rules.npz", "add/z", rules.Norm(ZEROS)),
    ],
)
def test_residual_sums_agree(file, key, rule):
    arrays = golden(file)
    data = below(arrays, key.split("/")[0])
    branches = tuple(np.moveaxis(data["input"], -1, 0))
    shares = relevance_through(
        lambda _, x: x[0] + x[1], rule, None, branches, data["relevance_out"]
    )
    actual = np.stack(shares, axis=-1)
    assert distance(actual, arrays[f"{key}/relevance"]) <= TOLERANCE

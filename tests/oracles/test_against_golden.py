"""The oracles against the numbers of zennit, captum and iNNvestigate's formulas.

Both sides are float64 and independent of each other; what remains is rounding, 1e-12 of
an example's largest relevance. Needs none of these libraries.
"""

import functools
from pathlib import Path

import numpy as np
import pytest

from . import linear_maps, networks, paths, relu_rules, rules, stabilizers

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
TOLERANCE = 1e-12


def no_bias(rule: rules.Rule) -> rules.Rule:
    """Applies a rule to the layer without its bias."""
    return lambda matrix, bias, x, r: rule(matrix, 0 * bias, x, r)


def with_options(rule: rules.Rule, **options) -> rules.Rule:
    """Fixes hyperparameters of a rule."""
    return functools.partial(rule, **options)


CLIP = stabilizers.clipped(0.5)
NORM_SCALE = stabilizers.norm_scaled(0.1)
ZEROS = stabilizers.only_zeros()
BOX = {"low": -3.0, "high": 2.5}
ZENNIT = {
    "epsilon": rules.epsilon,
    "epsilon_large": with_options(rules.epsilon, stabilize=stabilizers.signed(0.25)),
    "epsilon_clip": with_options(rules.epsilon, stabilize=CLIP),
    "epsilon_norm_scale": with_options(rules.epsilon, stabilize=NORM_SCALE),
    "epsilon_norm_scale_clip": with_options(
        rules.epsilon, stabilize=stabilizers.norm_scaled(0.5, clip=True)
    ),
    "epsilon_zero_bias": no_bias(rules.epsilon),
    "gamma": rules.gamma,
    "gamma_large": with_options(rules.gamma, gamma=2.0),
    "gamma_norm_scale": with_options(rules.gamma, stabilize=NORM_SCALE),
    "gamma_zero_bias": with_options(rules.gamma, keep_bias=False),
    "zplus": rules.z_plus,
    "zplus_clip": with_options(rules.z_plus, stabilize=CLIP),
    "zplus_zero_bias": no_bias(rules.z_plus),
    "alpha2_beta1": rules.alpha_beta,
    "alpha1_beta0": with_options(rules.alpha_beta, alpha=1.0, beta=0.0),
    "alpha2_beta1_norm_scale": with_options(rules.alpha_beta, stabilize=NORM_SCALE),
    "alpha2_beta1_zero_bias": no_bias(rules.alpha_beta),
    "zbox_scalar": with_options(rules.z_box, **BOX),
    "zbox_scalar_zero_bias": no_bias(with_options(rules.z_box, **BOX)),
    "wsquare": rules.w_square,
    "wsquare_zero_bias": no_bias(rules.w_square),
    "flat": rules.flat,
    "flat_zero_bias": rules.flat,
    "norm": rules.epsilon,
    "norm_clip": with_options(rules.epsilon, stabilize=CLIP),
}
LRP_0 = with_options(rules.epsilon, stabilize=ZEROS)
SMALL = with_options(rules.epsilon, stabilize=stabilizers.signed(1e-7))
ALPHA1_BETA0 = with_options(rules.innvestigate_alpha_beta, alpha=1.0, beta=0.0)
INNVESTIGATE = {
    "z": LRP_0,
    "z_no_bias": no_bias(LRP_0),
    "epsilon": SMALL,
    "epsilon_no_bias": no_bias(SMALL),
    "epsilon_large": with_options(rules.epsilon, stabilize=stabilizers.signed(0.1)),
    "alpha2_beta1": rules.innvestigate_alpha_beta,
    "alpha2_beta1_no_bias": no_bias(rules.innvestigate_alpha_beta),
    "alpha1_beta0": ALPHA1_BETA0,
    "alpha1_beta0_no_bias": no_bias(ALPHA1_BETA0),
    "zplus": no_bias(with_options(rules.z_plus, stabilize=ZEROS)),
    "zplus_fast": lambda matrix, bias, x, r: LRP_0(
        np.maximum(matrix, 0), 0 * bias, x, r
    ),
    "wsquare": no_bias(with_options(rules.w_square, stabilize=ZEROS)),
    "flat": with_options(rules.flat, stabilize=ZEROS),
    "bounded": no_bias(with_options(rules.z_box, stabilize=ZEROS, **BOX)),
}


@functools.cache
def golden(name: str) -> dict[str, np.ndarray]:
    """Returns the arrays of a golden file."""
    with np.load(GOLDEN / name) as arrays:
        return dict(arrays)


def layers(name: str) -> list[str]:
    """Returns the names of the layers in a golden file."""
    return sorted({key.split("/")[0] for key in golden(name)})


def below(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Returns the arrays below a prefix, without it."""
    start = f"{prefix}/"
    return {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}


def assert_close(actual: np.ndarray, expected: np.ndarray) -> None:
    """Compares each example relative to its largest entry."""
    assert actual.shape == expected.shape
    for ours, theirs in zip(actual, expected, strict=True):
        np.testing.assert_allclose(
            ours, theirs, rtol=0, atol=TOLERANCE * np.abs(theirs).max()
        )


def affine_map(data: dict[str, np.ndarray], kernel: np.ndarray | None) -> np.ndarray:
    """Returns the dense matrix of a layer of a golden file, with the given kernel."""
    shape = data["input"].shape[1:]
    if kernel is None:
        options = (data["window"], data["window_strides"], data["padding"])
        return linear_maps.average_pool(shape, *(o.tolist() for o in options))[0]
    if "padding" not in data:
        return linear_maps.dense(shape, kernel)[0]
    geometry = ("window_strides", "padding", "lhs_dilation", "rhs_dilation", "groups")
    options = (data[key].tolist() for key in geometry)
    return linear_maps.convolution(shape, kernel, *options)[0]


def spread_bias(data: dict[str, np.ndarray]) -> np.ndarray:
    """Returns the bias of every output of one example, flat."""
    shape = data["output"].shape[1:]
    return np.broadcast_to(data.get("bias", 0.0), shape).reshape(-1)


def own_box(data: dict[str, np.ndarray]) -> rules.Rule:
    """Returns the box rule with the bounds of a layer of a golden file."""
    shape = data["input"].shape[1:]
    low, high = (
        np.broadcast_to(data[k][0], shape).reshape(-1) for k in ("low", "high")
    )
    return with_options(rules.z_box, low=low, high=high)


def check_affine(data: dict[str, np.ndarray], table: dict[str, rules.Rule]) -> None:
    """Compares the output and every rule of one layer."""
    kernel = data.get("kernel")
    matrix, bias = affine_map(data, kernel), spread_bias(data)
    z = data["input"].reshape(len(data["input"]), -1) @ matrix.T + bias
    assert_close(z.reshape(data["output"].shape), data["output"])
    keys = [k.removesuffix("/relevance") for k in data if k.endswith("/relevance")]
    assert keys, "a layer without rules"
    for key in keys:
        rule = own_box(data) if key == "zbox" else table[key]
        is_flat = key.startswith("flat")
        used = affine_map(data, np.ones_like(kernel)) if is_flat else matrix
        received = rules.per_example(
            rule, used, bias, data["input"], data["relevance_out"]
        )
        assert_close(received, data[f"{key}/relevance"])


AFFINE = [
    name
    for name in layers("zennit_rules.npz")
    if name not in ("residual_sum", "relu", "tanh")
]


@pytest.mark.parametrize("name", AFFINE)
def test_rules_of_zennit(name):
    check_affine(below(golden("zennit_rules.npz"), name), ZENNIT)


@pytest.mark.parametrize(
    "name", [name for name in layers("innvestigate_rules.npz") if name != "add"]
)
def test_rules_of_innvestigate(name):
    check_affine(below(golden("innvestigate_rules.npz"), name), INNVESTIGATE)


@pytest.mark.parametrize(
    ("file", "key", "stabilize"),
    [
        ("zennit_rules.npz", "residual_sum/norm", stabilizers.signed()),
        ("zennit_rules.npz", "residual_sum/norm_clip", CLIP),
        ("innvestigate_rules.npz", "add/z", ZEROS),
    ],
)
def test_residual_sums(file, key, stabilize):
    arrays = golden(file)
    data = below(arrays, key.split("/")[0])
    left, right = np.moveaxis(data["input"], -1, 0)
    received = rules.ratio_sum(left, right, data["relevance_out"], stabilize)
    assert_close(np.stack(received, -1), arrays[f"{key}/relevance"])


def test_activations_of_zennit():
    data = below(golden("zennit_rules.npz"), "relu")
    x, upstream = data["input"], data["relevance_out"]
    expected = {
        "pass": upstream,
        "deconvnet": relu_rules.deconvnet(upstream),
        "guided_backprop": relu_rules.guided(x, upstream),
        "beta_smooth": relu_rules.beta_smooth(x, upstream),
        "beta_smooth_1": relu_rules.beta_smooth(x, upstream, 1.0),
    }
    for key, value in expected.items():
        assert_close(value, data[f"{key}/relevance"])
    data = below(golden("zennit_rules.npz"), "tanh")
    assert_close(data["relevance_out"], data["pass/relevance"])


@pytest.mark.slow(reason="composites of slow loops over a whole network")
@pytest.mark.parametrize(
    ("file", "forward"),
    [("zennit_vgg.npz", networks.vgg), ("zennit_resnet.npz", networks.resnet)],
)
def test_composites_of_zennit(file, forward):
    data = golden(file)
    network = networks.Network(below(data, "params"))
    table = networks.composites(
        *(np.broadcast_to(data[k][0], (16, 16, 3)) for k in ("low", "high"))
    )
    for key, composite in table.items():
        received = []
        for x, target in zip(data["input"], data["target"], strict=True):
            logits, back = forward(network, x, composite)
            seed = np.zeros_like(logits)
            is_gradient = composite.dense is rules.gradient
            seed[target] = 1.0 if is_gradient else logits[target]
            received.append(back(seed))
        assert_close(np.stack(received), data[f"{key}/relevance"])


def network_gradient(data: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """Returns the gradient of the target's output of the smooth network."""
    p = below(data, "params")
    z0 = x @ p["kernel0"] + p["bias0"]
    z1 = np.tanh(z0) @ p["kernel1"] + p["bias1"]
    upstream = p["kernel2"][:, data["target"]].T
    upstream = (upstream / (1 + np.exp(-z1))) @ p["kernel1"].T
    return (upstream * (1 - np.tanh(z0) ** 2)) @ p["kernel0"].T


@pytest.mark.parametrize("baseline", ["scalar", "tensor"])
@pytest.mark.parametrize("steps", [7, 8, 50])
@pytest.mark.parametrize(
    "method", ["gausslegendre", "riemann_left", "riemann_right", "riemann_middle"]
)
def test_integrated_gradients_of_captum(baseline, method, steps):
    data = golden("captum_ig.npz")
    nodes, weights = paths.quadrature(method, steps)
    rounded = weights.astype(np.float32).astype(np.float64)  # as captum does
    received = paths.integrated_gradients(
        functools.partial(network_gradient, data),
        data["input"],
        data[f"baseline/{baseline}"],
        nodes,
        rounded,
    )
    assert_close(received, data[f"{baseline}/{method}/{steps}/attribution"])

"""Attribution methods against the numbers of other libraries.

`tests/peers` has the scripts that made them, and its README what the libraries do
otherwise. Both sides are float64, and inputs and biases are signed.
"""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

import jaxinterp as ji
from jaxinterp import attribution, rules
from jaxinterp.perturbation import segment_sums
from tests.compiled import compiled
from tests.networks import gated_transformer
from tests.rules.replay import add_bias, below, distance, golden, max_pool
from tests.rules.replay import conv as convolve

TOLERANCE = 1e-6
SITE = "relu_1"
KEY = jax.random.key(0)
CAPTUM = golden("captum_methods.npz")
CAMS = golden("pytorch_grad_cam.npz")
SALIENCY = golden("saliency.npz")
SHAP = golden("shap_lime.npz")
BASELINE, STEPS = {"baseline": CAPTUM["baseline"]}, int(CAPTUM["steps"])


def largest(x):
    """Returns the largest of each window of 2 x 2."""
    return max_pool(x, 2, 2, 0)


def mean(x):
    """Returns the mean of each window of 2 x 2."""
    batch, height, width, channels = x.shape
    windows = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    return windows.mean((2, 4))


def site_of(p, x, pool=largest):
    """Returns the second relu of the network of `tests/peers/torch_cnn.py`."""
    x = jax.nn.relu(convolve(layer(p, 0), "", x))
    return jax.nn.relu(convolve(layer(p, 1), "", pool(x)))


def cnn(p, x, pool=largest):
    """Returns the logits of that network."""
    x = site_of(p, x, pool)
    x = jax.nn.relu(add_bias(x.reshape(len(x), -1) @ p["kernel2"], p["bias2"]))
    return add_bias(x @ p["kernel3"], p["bias3"])


def layer(p, i):
    """Returns kernel and bias of a layer, as `conv` of the replay takes them."""
    return {"/kernel": p[f"kernel{i}"], "/bias": p[f"bias{i}"]}


def explained(method, data, /, *, key=None, apply_fn=cnn, **options):
    """Returns the attributions of a method for the input of a golden file."""
    attribute = compiled(method(apply_fn, **options))
    return attribute(below(data, "params"), data["input"], data["target"], key)


def of_captum(name):
    """Returns attributions of captum."""
    return CAPTUM[f"{name}/attribution"]


def replace_draws(monkeypatch, module, name, values):
    """Lets a method draw what the other library drew."""
    where = importlib.import_module(f"jaxinterp.attribution.{module}")
    monkeypatch.setattr(where, name, lambda *args: values)


def test_the_network_is_the_same():
    for data in (CAPTUM, CAMS, SHAP):
        actual = cnn(below(data, "params"), data["input"])
        np.testing.assert_allclose(actual, data["output"], rtol=1e-12)


# --- captum ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "method", "options"),
    [
        ("deep_lift", "deep_lift", BASELINE),
        ("deep_lift_multipliers", "deep_lift", BASELINE | {"result": "multipliers"}),
        ("deep_lift_shap", "deep_lift_shap", {"background": CAPTUM["background"]}),
    ],
)
def test_deep_lift_agrees_with_captum(name, method, options):
    options = {"apply_fn": averaging} | options
    actual = explained(getattr(attribution, method), CAPTUM, **options)
    assert distance(actual, of_captum(name)) <= TOLERANCE


def averaging(p, x):
    return cnn(p, x, mean)


def test_deep_lift_at_a_site_agrees_with_captum():
    start = site_of(below(CAPTUM, "params"), CAPTUM["baseline"], mean)
    options = {"at": SITE, "baseline": start, "apply_fn": averaging}
    actual = explained(attribution.deep_lift, CAPTUM, **options)
    assert distance(actual, of_captum("deep_lift_site")) <= TOLERANCE


def test_deep_lift_through_max_pooling_agrees_with_captum():
    """With a copy before the pooling: captum mistakes modules that follow directly."""
    actual = explained(attribution.deep_lift, CAPTUM, **BASELINE)
    assert distance(actual, of_captum("deep_lift_max_pool")) <= TOLERANCE
    parameters, rows = below(CAPTUM, "params"), np.arange(2)
    end, start = (cnn(parameters, CAPTUM[k]) for k in ("input", "baseline"))
    change = (end - start)[rows, CAPTUM["target"]]
    np.testing.assert_allclose(actual.sum((1, 2, 3)), change, rtol=1e-9)


def test_deep_lift_through_every_activation_of_captum():
    data = below(CAPTUM, "activations")

    def network(p, x):
        functions = (jax.nn.sigmoid, jnp.tanh, jax.nn.softplus)
        functions = *functions, jax.nn.elu, jax.nn.leaky_relu, jax.nn.relu
        for i, function in enumerate((*functions, lambda z: z)):
            x = function(add_bias(x @ p[f"kernel{i}"], p[f"bias{i}"]))
        return x

    options = {"apply_fn": network, "baseline": data["baseline"]}
    actual = explained(attribution.deep_lift, data, **options)
    assert distance(actual, data["attribution"]) <= TOLERANCE


def test_expected_gradients_of_the_draws_of_captum(monkeypatch):
    """captum's GradientSHAP draws independently, and for each example anew."""
    module = "gradients.expected_gradients"
    where = importlib.import_module(f"jaxinterp.attribution.{module}")
    draw = CAPTUM["gradient_shap/example"], CAPTUM["gradient_shap/share"]
    replace_draws(monkeypatch, module, "_draws", where._Draw(*map(jnp.asarray, draw)))
    options = {"background": CAPTUM["background"], "samples": len(draw[0])}
    actual = explained(attribution.expected_gradients, CAPTUM, key=KEY, **options)
    assert distance(actual, of_captum("gradient_shap")) <= TOLERANCE


@pytest.mark.parametrize("quadrature", ["gausslegendre", "riemann_middle"])
def test_internal_influence_agrees_with_captum(quadrature):
    options = {"at": SITE, "method": quadrature, "steps": STEPS} | BASELINE
    actual = explained(attribution.internal_influence, CAPTUM, **options)
    expected = of_captum(f"internal_influence/{quadrature}")
    assert distance(actual, expected) <= TOLERANCE


def test_grad_cam_agrees_with_captum():
    options = {"at": SITE, "resize": False, "rectify": False}
    actual = explained(attribution.grad_cam, CAPTUM, **options)
    assert distance(actual[..., None], of_captum("grad_cam")) <= TOLERANCE


def test_guided_grad_cam_agrees_with_captum():
    """All activations are relus, the only ones that captum guides gradients through."""
    actual = explained(attribution.guided_grad_cam, CAPTUM, at=SITE)
    assert distance(actual, of_captum("guided_grad_cam")) <= TOLERANCE


def test_occlusion_is_the_mean_drop_of_captum_for_each_entry():
    """captum shows each drop at every entry of a window, we its share."""
    options = {"size": (4, 3), "stride": (2, 1)} | BASELINE
    actual = 4 * 3 * 2 * explained(attribution.occlusion, CAPTUM, **options)
    assert distance(actual, of_captum("occlusion")) <= TOLERANCE


@pytest.mark.parametrize("name", ["ablation", "shapley"])
def test_values_of_segments_of_captum(name):
    """captum adds up Shapley values in float32."""
    options = {"segments": CAPTUM["segments"]} | BASELINE
    actual = explained(getattr(attribution, name), CAPTUM, **options)
    check_segments(actual, name, 1e-5 if name == "shapley" else TOLERANCE)


def check_segments(actual, name, tolerance=TOLERANCE):
    """captum shows the value of a segment at each of its entries, we its share."""
    segments = CAPTUM["segments"]
    sums = segment_sums(actual, segments)
    expected = of_captum(name)
    for number in range(segments.max() + 1):
        same = expected[:, segments == number]
        np.testing.assert_array_equal(same, same[:, :1, :1] + np.zeros_like(same))
    first = [np.argwhere(segments == i)[0] for i in range(segments.max() + 1)]
    values = np.stack([expected[:, i, j, 0] for i, j in first], axis=1)
    assert distance(sums, values) <= tolerance


def test_permutation_within_the_batch_of_captum():
    """Of two examples captum exchanges the segments; ours are a mean over both."""
    options = {"segments": CAPTUM["segments"], "background": CAPTUM["input"]}
    actual = 2 * explained(attribution.permutation, CAPTUM, **options)
    check_segments(actual, "permutation")


def test_kernel_shap_of_the_coalitions_of_captum(monkeypatch):
    """captum fits in float32, with weights of a million in place of constraints."""
    drawn = jnp.asarray(CAPTUM["kernel_shap/coalitions"])
    module = "masking.kernel_shap"
    replace_draws(monkeypatch, module, "kernel_coalitions", drawn)
    options = {"segments": CAPTUM["segments"], "samples": len(drawn)} | BASELINE
    actual = explained(attribution.kernel_shap, CAPTUM, key=KEY, **options)
    check_segments(actual, "kernel_shap", 1e-5)


def test_conductance_is_the_mean_of_both_directions_of_captum():
    """captum takes the gradient at the start of each part, we the mean of both ends.

    From the input to the baseline its starts are our ends, and its signs are turned.
    """
    options = {"at": SITE, "steps": STEPS} | BASELINE
    actual = explained(attribution.conductance, CAPTUM, **options)
    both = [of_captum(f"conductance/{way}") for way in ("forward", "backward")]
    assert distance(actual, (both[0] - both[1]) / 2) <= TOLERANCE
    assert distance(actual, both[0]) > 0.01


# --- pytorch-grad-cam -----------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["grad_cam", "grad_cam_plus_plus", "x_grad_cam", "hires_cam", "layer_cam"],
)
def test_maps_of_gradients_of_pytorch_grad_cam(name):
    """Its stabilizers of 1e-6 and 1e-7 are small beside the gradients here."""
    options = {"at": SITE, "resize": False, "rectify": False}
    actual = explained(getattr(attribution, name), CAMS, **options)
    assert distance(actual, CAMS[f"{name}/map"]) <= TOLERANCE


def test_score_cam_agrees_with_pytorch_grad_cam():
    """At a site as large as the input: it resizes corner to corner, which we do not."""
    options = {"at": "kernel0", "resize": False, "rectify": False}
    actual = explained(attribution.score_cam, CAMS, **options)
    assert distance(actual, CAMS["score_cam/map"]) <= TOLERANCE


def test_ablation_cam_is_that_of_pytorch_grad_cam_times_the_score():
    """It divides drops by the score, as the paper does, and rounds them to float32."""
    options = {"at": SITE, "resize": False, "rectify": False}
    actual = explained(attribution.ablation_cam, CAMS, **options)
    scores = CAMS["output"][np.arange(2), CAMS["target"]]
    expected = CAMS["ablation_cam/map"] * scores[:, None, None]
    assert distance(actual, expected) <= TOLERANCE


def test_eigen_cam_of_centered_channels_agrees_with_pytorch_grad_cam():
    """It takes the mean of each channel away and keeps whatever sign comes out."""

    def centered(p, x):
        site = site_of(p, x)
        return checkpoint_name(site - site.mean((1, 2), keepdims=True), "centered")

    options = {"at": "centered", "resize": False, "apply_fn": centered}
    actual = explained(attribution.eigen_cam, CAMS, **options)
    expected = CAMS["eigen_cam/map"]
    signs = np.sign((actual * expected).sum((1, 2), keepdims=True))
    assert distance(signs * actual, expected) <= TOLERANCE


def test_fem_marks_the_positions_of_pytorch_grad_cam():
    """It adds up channels by the share of these positions, ours means of channels."""
    parameters = below(CAMS, "params")
    site = np.asarray(convolve(layer(parameters, 0), "", CAMS["input"]))

    def one_channel(p, x):
        return checkpoint_name(x, "channel").sum((1, 2))

    each = np.moveaxis(site, 3, 1).reshape(-1, *site.shape[1:3], 1)
    options = {"at": "channel", "deviations": 1.0, "resize": False}
    means = compiled(attribution.fem(one_channel, **options))(None, each)
    marks = np.moveaxis((means != 0).reshape(2, -1, *means.shape[1:]), 1, 3)
    shares = marks.mean((1, 2), keepdims=True)
    assert len(np.unique(shares)) > 2
    assert distance((shares * site).sum(-1), CAMS["fem/map"]) <= TOLERANCE
    options = {"at": "kernel0", "deviations": 1.0, "resize": False}
    actual = explained(attribution.fem, CAMS, **options)
    expected = (marks * site.mean((1, 2), keepdims=True)).sum(-1)
    assert distance(actual, expected) <= TOLERANCE


# --- saliency -------------------------------------------------------------------------


def smooth(p, x):
    """Returns the logits of the first network of `tests/peers/make_saliency.py`."""
    return jnp.tanh(hidden(p, x)) @ p["kernel1"]


def square(p, x):
    """Returns the logits of the second one."""
    return hidden(p, x) ** 2 @ p["kernel1"]


def hidden(p, x):
    return add_bias(x.reshape(len(x), -1) @ p["kernel0"], p["bias0"])


def test_xrai_agrees_with_saliency():
    """Of a square, of which sums with equal weights are right, and of one channel.

    Of several channels it takes the largest value, we the sum.
    """
    options = {
        "segments": list(SALIENCY["xrai/segments"]),
        "baselines": list(SALIENCY["xrai/baselines"][:, None]),
        "min_pixels": 3,
        "steps": 8,
    }
    actual = explained(attribution.xrai, SALIENCY, apply_fn=square, **options)
    assert distance(actual[..., 0], SALIENCY["xrai/map"]) <= TOLERANCE


@pytest.mark.parametrize(("name", "distance_of"), [("bounded", 0.05), ("free", 1.0)])
def test_guided_integrated_gradients_take_the_path_of_saliency(name, distance_of):
    """It takes the slope at the start of each step, we the mean of both ends."""
    data = below(SALIENCY, f"guided_ig/{name}")
    steps, starts = np.diff(data["path"], axis=1), data["slopes"][:, :-1]
    assert distance((steps * starts).sum(1), data["left"]) <= 1e-9
    ends = data["slopes"][:, 1:]
    options = {
        "baseline": SALIENCY["baseline"],
        "steps": steps.shape[1],
        "max_distance": distance_of,
    }
    method = attribution.guided_integrated_gradients
    actual = explained(method, SALIENCY, apply_fn=smooth, **options)
    assert distance(actual, (steps * (starts + ends) / 2).sum(1)) <= TOLERANCE
    assert distance(actual, data["left"]) > 0.01


def test_blur_integrated_gradients_are_the_limit_of_saliency():
    """Its sums have errors of first order in the steps, and are extrapolated."""
    options = {"max_sigma": float(SALIENCY["blur_ig/max_sigma"]), "steps": 200}
    method = attribution.blur_integrated_gradients
    actual = explained(method, SALIENCY, apply_fn=smooth, **options)
    assert distance(actual, SALIENCY["blur_ig/attribution"]) <= TOLERANCE


# --- shap and lime --------------------------------------------------------------------

SEGMENTS = SHAP["segments"]
OF_SHAP = {"segments": SEGMENTS, "baseline": SHAP["baseline"][None]}


@pytest.mark.parametrize(
    ("name", "method", "options"),
    [
        ("exact", "shapley", {}),
        ("kernel", "kernel_shap", {"samples": 62}),
        ("owen", "owen", {"groups": [SEGMENTS // 4, SEGMENTS // 2]}),
    ],
)
def test_values_of_segments_of_shap(name, method, options):
    method = getattr(attribution, method)
    actual = explained(method, SHAP, key=KEY, **OF_SHAP, **options)
    sums = segment_sums(actual, SEGMENTS)
    assert distance(sums, SHAP[f"shap/{name}"]) <= TOLERANCE


def test_shapley_values_of_a_background_of_shap():
    """shap explains the mean score over the background; ours have one baseline each."""
    each = [
        explained(attribution.shapley, SHAP, segments=SEGMENTS, baseline=b[None])
        for b in SHAP["background"]
    ]
    sums = segment_sums(sum(each) / len(each), SEGMENTS)
    assert distance(sums, SHAP["shap/background"]) <= TOLERANCE


def test_the_local_model_of_lime(monkeypatch):
    """lime's package takes the square root of the kernel of its paper."""
    masks = jnp.asarray(SHAP["lime/masks"])
    replace_draws(monkeypatch, "masking.lime", "random_masks", masks)
    width = float(np.sqrt(2) * SHAP["lime/width"])
    options = {"samples": len(masks), "kernel_width": width} | OF_SHAP
    actual = explained(attribution.lime, SHAP, key=KEY, **options)
    sums = segment_sums(actual, SEGMENTS)
    # Weights in float32 would make it 1e-8.
    assert distance(sums, SHAP["lime/coefficients"]) <= 1e-12


# --- LXT ------------------------------------------------------------------------------


def gated_weights(p):
    """The weights of `tests/networks/gated_transformer.py` in LXT's file."""

    def pair(name, first="kernel", second="bias"):
        return p[f"{name}/{first}"], p[f"{name}/{second}"]

    def layer(i):
        names = ("q", "k", "v", "o", "gate", "up", "down")
        norms = ("norm", "mlp_norm")
        return {n: pair(f"{i}/{n}") for n in names} | {
            n: pair(f"{i}/{n}", "gain", "shift") for n in norms
        }

    layers = [layer(i) for i in range(gated_transformer.DEPTH)]
    norm = pair("norm", "gain", "shift")
    return {"layers": layers, "norm": norm, "head": pair("head")}


def test_attn_lrp_of_a_transformer_is_that_of_lxt():
    data = golden("lxt_transformer.npz")
    v, x = gated_weights(below(data, "params")), data["input"]
    model = gated_transformer.gated_transformer
    np.testing.assert_allclose(model(v, x), data["logits"], rtol=1e-12)
    # Its sums, layers and products have no stabilizers here.
    roles = ji.of_role("add", "linear", "softmax")
    composite = [(roles, rules.Norm(1e-14)), *rules.attn_lrp(1e-14).lines]

    @compiled
    def explained(v, x):
        sites = (None, "layer_0/add_1")
        methods = [attribution.lrp(model, composite=composite, at=s) for s in sites]
        return [method(v, x, data["target"]) for method in methods]

    for i, received in enumerate(explained(v, x)):
        expected = data[f"relevance/{i}"]
        assert distance(received, expected) <= 1e-9

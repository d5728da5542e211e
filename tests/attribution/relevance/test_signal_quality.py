"""The quality of patterns: against its definition, and the order of the paper."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.attribution import fit_patterns, signal_quality
from jaxinterp.rules import TwoComponents
from tests.networks import functions as models
from tests.oracles import patterns as oracle

IMAGES = models.normal(54, 8, 6, 6, 2) + 0.5
WEIGHTS = models.cnn_weights()


def test_it_is_that_of_the_regression_of_the_output_on_what_is_left():
    network = oracle.Network(WEIGHTS)
    run = network.run(IMAGES)
    shapes = {"conv": (3, 3, 2, 4), "skip": (3, 3, 4, 4), "head": (4, 4)}
    patterns = {
        site: TwoComponents(models.normal(55, *shape), models.normal(56, *shape))
        for site, shape in shapes.items()
    }
    patterns["head"] = patterns["head"].positive
    options = {"patterns": patterns, "ridge": 0.01}
    received = signal_quality(models.cnn, WEIGHTS, IMAGES, **options)
    rows = {
        "conv": (oracle.patches(IMAGES), network.first, run["z"]),
        "skip": (
            oracle.patches(run["pooled"]),
            network.second,
            run["total"] - run["pooled"],
        ),
        "head": (run["mean"], network.head, run["y"]),
    }
    for site, (x, w, z) in rows.items():
        pair = patterns[site] if site != "head" else (patterns[site],) * 2
        up, down = (np.asarray(p).reshape(w.shape) for p in pair)
        assert received[site].shape == (4,)
        for unit in range(4):
            is_on = z.reshape(-1, 4)[:, [unit]] > 0
            a = np.where(is_on, up[:, unit], down[:, unit])
            expected = oracle.quality(x, w[:, unit], a, 0.01)
            assert received[site][unit] == pytest.approx(expected, rel=1e-8)


def test_several_axes_of_units_and_a_kernel_on_the_left():
    w, x = models.normal(57, 5, 2, 3), models.normal(58, 40, 5)
    pattern = models.normal(59, 5, 2, 3)
    wide, left = (
        lambda w, x: jnp.einsum("bi,ijk->bjk", x, w),
        lambda w, x: jnp.einsum("ijk,bi->jkb", w, x).reshape(6, -1).T,
    )
    expected = [
        oracle.quality(x, *(a.reshape(5, 6)[:, u] for a in (w, pattern)), 1e-3)
        for u in range(6)
    ]
    for model in (wide, left):
        (address,) = (n.address for n in ji.trace(model, w, x) if n.role == "dense")
        found = signal_quality(model, w, x, patterns={address: pattern})[address]
        np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_the_estimators_come_in_the_order_of_the_paper():
    """Kindermans et al., 2018: of a layer of a network that was trained on digits."""
    net, data = ji.models.pretrained("digits_cnn"), ji.data.digits(jax.random.key(0))
    batch = jnp.asarray(data.train_inputs[:1000], jnp.float32)
    site = "CNN/max_pool"
    x = ji.capture(net.apply_fn, site)(net.variables, batch)[1][site]
    own = net.variables["params"], net.variables["batch_stats"]
    norm, stats = own[0]["stage2_0_norm"], own[1]["stage2_0_norm"]
    scale = norm["scale"] / jnp.sqrt(stats["var"] + 1e-5)
    w = {"conv": own[0]["stage2_0"]["kernel"] * scale[None, None, None]}
    w["shift"] = (norm["bias"] - stats["mean"] * scale)[None, None, None]
    w["head"] = own[0]["head"]["kernel"]
    few = {"conv": w["conv"][..., :12], "shift": w["shift"][..., :12]}
    w = {**few, "head": w["head"][:12]}

    def model(w, x):
        x = jax.nn.relu(models.convolve(x, w["conv"]) + w["shift"])
        return x.mean((1, 2)) @ w["head"]

    one, two = (
        fit_patterns(model, w, [x[:840]], estimator=e).patterns["conv"]
        for e in ("linear", "two_component")
    )
    by_chance = jnp.asarray(models.normal(60, *w["conv"].shape), jnp.float32)
    every = []
    for a in (by_chance, w["conv"]):  # weights times pattern are one
        along = (a * w["conv"]).sum((0, 1, 2), keepdims=True)
        every.append(a / along)
    at_random, by_weights, one, two = (
        signal_quality(model, w, x[840:], patterns={"conv": a})["conv"].mean()
        for a in (*every, one, two)
    )
    assert at_random < 0.01 < 0.04 < by_weights < 0.1
    assert 0.95 < one < two < 1


def test_where_nothing_is_left_or_nothing_varies_it_is_not_a_number():
    x = models.normal(61, 30, 1)
    w = np.array([[0.3, 0.0, -1.0]])

    def model(w, x):
        return x @ w

    a = np.array([[1 / 0.3, 1.0, 1.0]])  # the whole input, no output, the wrong sign
    found = signal_quality(model, w, x, patterns={"dense": a})["dense"]
    np.testing.assert_array_equal(np.isnan(found), [True, True, False])


def test_what_has_no_quality_is_an_error():
    patterns = fit_patterns(models.cnn, WEIGHTS, [IMAGES]).patterns

    def measure(patterns, **options):
        call = models.cnn, WEIGHTS, IMAGES
        return signal_quality(*call, patterns=patterns, **options)

    with pytest.raises(ValueError, match="'neck' is no convolution"):
        measure({"neck": patterns["head"]})
    with pytest.raises(ValueError, match=r"has the shape \(4, 4\), and the kernel"):
        measure({"skip": patterns["head"]})
    with pytest.raises(ValueError, match="`ridge`"):
        measure(patterns, ridge=0.0)

    def grouped(w, x):
        return jnp.einsum("bgi,gij->bgj", x, w)

    w, x = models.normal(62, 2, 3, 4), models.normal(63, 5, 2, 3)
    (address,) = (n.address for n in ji.trace(grouped, w, x) if n.role == "dense")
    with pytest.raises(ValueError, match="come in groups"):
        signal_quality(grouped, w, x, patterns={address: w})

"""What is asked of every attribution method, in one table.

A method that `jaxinterp.attribution` exports and that is missing here fails the suite.
Examples are independent, jit agrees with eager and does not trace twice, dtypes are
kept, what has no influence gets nothing, and the usual transformations of JAX apply.
"""

import dataclasses
import functools
import inspect
import math
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp import attribution, capture, rules
from jaxinterp.attribution import (
    ablation,
    ablation_cam,
    attention_flow,
    attention_grad,
    attention_grad_rollout,
    attention_maps,
    attention_rollout,
    blur_integrated_gradients,
    concept_relevance,
    conductance,
    counterfactual_mask,
    deconvnet,
    deep_lift,
    deep_lift_shap,
    deep_taylor,
    eigen_cam,
    expected_gradients,
    extremal_mask,
    fem,
    fit_patterns,
    forgrad,
    grad_cam,
    grad_cam_plus_plus,
    gradient,
    guided_backprop,
    guided_grad_cam,
    guided_integrated_gradients,
    hires_cam,
    hsic,
    idgi,
    information_bottleneck,
    input_x_gradient,
    integrated_gradients,
    internal_influence,
    kernel_shap,
    layer_cam,
    leave_one_out,
    lime,
    lrp,
    occlusion,
    owen,
    pattern_attribution,
    pattern_net,
    per_token,
    permutation,
    rise,
    saliency,
    score_cam,
    shapley,
    smooth,
    sobol,
    taylor,
    x_grad_cam,
    xrai,
)
from jaxinterp.objectives import logit
from tests.compiled import compiled
from tests.networks import functions as models
from tests.networks.architectures import as_dtype

ROOT = Path(__file__).resolve().parents[1]


@dataclasses.dataclass(frozen=True)
class Method:
    """A method with hyperparameters, as a function of the model alone.

    Attributes:
        of: the exported functions that it stands for.
        make: returns the attribution function of a model; it takes `score` as well.
        chunked: the same with small chunks, where it has any.
        is_random: whether it draws, and needs a key.
        is_fitted: whether its values are fitted to samples, so that what has no
            influence gets little instead of nothing.
        is_map: whether it explains a single array, by a map of a layer's positions.
        is_of_attention: whether it explains a single sequence, by its positions.
    """

    of: tuple[Callable[..., Any], ...]
    make: Callable[..., Any]
    chunked: Callable[..., Any] | None = None
    is_random: bool = False
    is_fitted: bool = False
    is_map: bool = False
    is_of_attention: bool = False


def smoothed(base, **options):
    def make(f, **own):
        return smooth(base(f, **own), samples=3, noise_level=0.05, **options)

    return make


def integrated(**options):
    return functools.partial(integrated_gradients, steps=4, baseline=0.1, **options)


def against_background(base, **options):
    """A method with a background in the shapes of the inputs."""

    def make(f, **own):
        def attribute(variables, inputs, target=None, key=None):
            background = jax.tree.map(
                lambda x: np.linspace(-1, 1, 2 * x[0].size).reshape(2, *x.shape[1:]),
                inputs,
            )
            method = base(f, background=background, **options, **own)
            return method(variables, inputs, target, key)

        return attribute

    return make


def of_entry(base, **options):
    """A method of hidden units, of a layer that is like the inputs."""

    def make(f, **own):
        def model(variables, x):
            with jax.named_scope("entry"):
                x = jnp.tanh(x)
            return f(variables, x)

        return base(model, at="entry", **options, **own)

    return make


def of_blocks(base, is_grouped=False, **options):
    """A method of segments, three in each input, of which two are a group."""

    def make(f, **own):
        def attribute(variables, inputs, target=None, key=None):
            n_before, segments, groups = 0, [], []
            leaves, tree = jax.tree.flatten(inputs)
            for leaf in leaves:
                labels = np.arange(leaf[0].size).reshape(leaf.shape[1:]) % 3
                groups.append(np.minimum(labels, 1) + 2 * len(groups))
                segments.append(labels + n_before)
                n_before += min(3, leaf[0].size)
            more = {"groups": [tree.unflatten(groups)]} if is_grouped else {}
            segments = tree.unflatten(segments)
            method = base(f, segments=segments, **more, **options, **own)
            return method(variables, inputs, target, key)

        return attribute

    return make


@functools.cache
def patterns_of(model):
    """Patterns of the affine sites of a model of `tests.networks`."""
    images, vectors = models.normal(41, 12, 6, 6, 2), models.normal(42, 12, 5)
    weights, batch = {
        models.cnn: (models.cnn_weights, images),
        models.mlp: (models.mlp_weights, vectors),
        models.two_inputs: (
            models.two_weights,
            {"image": images, "unused": vectors, "vector": vectors},
        ),
    }[model]
    return fit_patterns(model, weights(), [batch]).patterns


def patterned(method):
    """A method with the patterns of the model that it explains."""

    def make(f, **own):
        return method(f, patterns=patterns_of(f), **own)

    return make


def bottleneck(f, at="max_pool", **options):
    """An information bottleneck, with a background in the shape of the site."""

    def attribute(variables, inputs, target=None, key=None):
        shape = capture(f, [at])(variables, inputs)[1][at].shape
        background = np.linspace(-1, 2, 2 * math.prod(shape[1:]))
        method = information_bottleneck(
            f,
            at=at,
            background=background.reshape(2, *shape[1:]),
            steps=3,
            copies=2,
            beta=0.1,
            **options,
        )
        return method(variables, inputs, target, key)

    return attribute


def last_row(f, **own):
    """The norms of what the last position reads, in the second layer."""
    maps = attention_maps(f, at="softmax_1", weighting="value_norms", **own)

    def attribute(variables, inputs, target=None, key=None):
        return maps(variables, inputs, target, key)[:, 0, -1]

    return attribute


def squared(outputs, target):
    """A score that is larger at the inputs of the models than at the baseline."""
    return logit(outputs, target) ** 2


def alpha_beta(f, **own):
    return lrp(f, composite=rules.epsilon_alpha2_beta1(), **own)


METHODS = {
    "gradient": Method((gradient,), gradient),
    "saliency": Method((saliency,), saliency),
    "input_x_gradient": Method((input_x_gradient,), input_x_gradient),
    "integrated_gradients": Method(
        (integrated_gradients,), integrated(), integrated(batch_size=3)
    ),
    "idgi": Method(
        (idgi,),
        functools.partial(idgi, steps=4, baseline=0.1),
        functools.partial(idgi, steps=4, baseline=0.1, batch_size=3),
    ),
    "blur_integrated_gradients": Method(
        (blur_integrated_gradients,),
        functools.partial(blur_integrated_gradients, steps=4, max_sigma=3.0),
        functools.partial(
            blur_integrated_gradients, steps=4, max_sigma=3.0, batch_size=3
        ),
    ),
    "xrai": Method(
        (xrai,),
        functools.partial(
            xrai,
            steps=2,
            segments=[np.arange(36).reshape(6, 6) // n for n in (9, 5)],
        ),
        is_map=True,
    ),
    "guided_integrated_gradients": Method(
        (guided_integrated_gradients,),
        functools.partial(
            guided_integrated_gradients, steps=4, max_distance=0.2, baseline=0.1
        ),
    ),
    "lrp": Method((lrp,), lrp),
    "lrp alpha-beta": Method((lrp,), alpha_beta),
    "deconvnet": Method((deconvnet,), deconvnet),
    "guided_backprop": Method((guided_backprop,), guided_backprop),
    "taylor": Method((taylor,), functools.partial(taylor, root=0.1, order=2)),
    "deep_lift": Method((deep_lift,), functools.partial(deep_lift, baseline=0.1)),
    "deep_lift, reveal_cancel": Method(
        (deep_lift,), functools.partial(deep_lift, baseline=0.1, rule="reveal_cancel")
    ),
    "deep_lift_shap": Method(
        (deep_lift_shap,),
        against_background(deep_lift_shap),
        against_background(deep_lift_shap, batch_size=1),
    ),
    "concept_relevance": Method(
        (concept_relevance,),
        lambda f, **own: concept_relevance(f, site="max_pool", channels=1, **own),
        is_map=True,
    ),
    "deep_taylor": Method((deep_taylor,), deep_taylor),
    "deep_taylor bounded": Method(
        (deep_taylor,), functools.partial(deep_taylor, low=-9.0, high=9.0)
    ),
    "pattern_net": Method((pattern_net,), patterned(pattern_net)),
    "pattern_attribution": Method(
        (pattern_attribution,), patterned(pattern_attribution)
    ),
    "smooth gradient": Method(
        (smooth,),
        smoothed(gradient),
        smoothed(gradient, batch_size=2),
        is_random=True,
    ),
    "smooth lrp": Method(
        (smooth,), smoothed(lrp), smoothed(lrp, batch_size=2), is_random=True
    ),
    "vargrad": Method(
        (smooth,), smoothed(gradient, statistic="variance"), is_random=True
    ),
    "forgrad": Method(
        (forgrad,), lambda f, **own: forgrad(gradient(f, **own), cutoff=1.0)
    ),
    "expected_gradients": Method(
        (expected_gradients,),
        against_background(expected_gradients, samples=4),
        against_background(expected_gradients, samples=4, batch_size=3),
        is_random=True,
    ),
    "conductance": Method(
        (conductance,),
        of_entry(conductance, steps=3, baseline=0.1),
        of_entry(conductance, steps=3, baseline=0.1, batch_size=2),
        is_map=True,
    ),
    "internal_influence": Method(
        (internal_influence,),
        of_entry(internal_influence, steps=3, baseline=0.1),
        of_entry(internal_influence, steps=3, baseline=0.1, batch_size=2),
        is_map=True,
    ),
    "occlusion": Method(
        (occlusion,),
        functools.partial(occlusion, size=2, baseline=0.1),
        functools.partial(occlusion, size=2, baseline=0.1, batch_size=2),
    ),
    "ablation": Method(
        (ablation,),
        functools.partial(ablation, baseline=0.1),
        functools.partial(ablation, baseline=0.1, batch_size=3),
    ),
    "permutation": Method(
        (permutation,),
        against_background(permutation, samples=2),
        against_background(permutation, samples=2, batch_size=3),
        is_random=True,
    ),
    "sobol": Method(
        (sobol,),
        functools.partial(sobol, samples=4, baseline=0.1),
        functools.partial(sobol, samples=4, baseline=0.1, batch_size=3),
        is_random=True,
    ),
    "shapley": Method(
        (shapley,),
        functools.partial(shapley, samples=2, baseline=0.1),
        functools.partial(shapley, samples=2, baseline=0.1, batch_size=3),
        is_random=True,
    ),
    "owen": Method(
        (owen,),
        of_blocks(owen, is_grouped=True, samples=2, baseline=0.1),
        of_blocks(owen, is_grouped=True, samples=2, baseline=0.1, batch_size=3),
        is_random=True,
    ),
    "owen exact": Method((owen,), of_blocks(owen, is_grouped=True, baseline=0.1)),
    "kernel_shap": Method(
        (kernel_shap,),
        of_blocks(kernel_shap, samples=64, baseline=0.1),
        of_blocks(kernel_shap, samples=64, baseline=0.1, batch_size=3),
        is_random=True,
        is_fitted=True,
    ),
    "hsic": Method(
        (hsic,),
        functools.partial(hsic, samples=10, baseline=0.1),
        functools.partial(hsic, samples=10, baseline=0.1, batch_size=3),
        is_random=True,
        is_fitted=True,
    ),
    "rise": Method(
        (rise,),
        functools.partial(rise, samples=4, grid=3, baseline=0.1),
        functools.partial(rise, samples=4, grid=3, baseline=0.1, batch_size=3),
        is_random=True,
        is_map=True,
    ),
    "extremal_mask": Method(
        (extremal_mask,),
        functools.partial(extremal_mask, area=(0.2, 0.5), steps=4, baseline=0.1),
        is_map=True,
    ),
    "counterfactual_mask": Method(
        (counterfactual_mask,),
        functools.partial(
            counterfactual_mask,
            threshold=2.0,
            steps=6,
            learning_rate=0.7,
            baseline=0.1,
            score=squared,
        ),
        is_map=True,
    ),
    "lime": Method(
        (lime,),
        functools.partial(lime, samples=20, baseline=0.1),
        functools.partial(lime, samples=20, baseline=0.1, batch_size=7),
        is_random=True,
        is_fitted=True,
    ),
    # One function of activation and gradient each, in the same frame.
    "grad_cam": Method(
        (grad_cam, x_grad_cam, hires_cam, layer_cam),
        functools.partial(grad_cam, at="max_pool"),
        is_map=True,
    ),
    **{
        method.__name__: Method(
            (method,), functools.partial(method, at="max_pool"), is_map=True
        )
        for method in (grad_cam_plus_plus, guided_grad_cam, score_cam, ablation_cam)
    },
    # They read a layer that the weights of `skip` come before.
    "eigen_cam": Method(
        (eigen_cam,),
        lambda f, **own: eigen_cam(f, at="relu_1"),
        is_map=True,
    ),
    "fem": Method(
        (fem,),
        lambda f, **own: fem(f, at="relu_1", deviations=1.0),
        is_map=True,
    ),
    "information_bottleneck": Method(
        (information_bottleneck,),
        bottleneck,
        is_random=True,
        is_map=True,
    ),
    "per_token": Method(
        (per_token,),
        lambda f, **own: per_token(gradient(f, at="scale", **own)),
        is_map=True,
        is_of_attention=True,
    ),
    **{
        method.__name__: Method(
            (method,),
            functools.partial(method, position=-1),
            is_map=True,
            is_of_attention=True,
        )
        for method in (
            attention_rollout,
            attention_flow,
            attention_grad,
            attention_grad_rollout,
        )
    },
    "leave_one_out": Method(
        (leave_one_out,), leave_one_out, is_map=True, is_of_attention=True
    ),
    "attention_maps": Method(
        (attention_maps,), last_row, is_map=True, is_of_attention=True
    ),
}
SETTINGS = {
    "owen exact",
    "lrp alpha-beta",
    "deep_taylor bounded",
    "smooth lrp",
    "vargrad",
}
setting = pytest.mark.slow(reason="another setting of a method of the table")
# These multiply by no input, and the slope of a relu is 0 where its input is NaN.
SLOPES = {
    *("gradient", "saliency", "smooth gradient", "vargrad", "forgrad"),
    *("guided_backprop", "deconvnet", "pattern_net", "pattern_attribution"),
    "internal_influence",
}
every_method = pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[setting] if n in SETTINGS else []) for n in METHODS],
)
KEY = jax.random.key(5)
VARIABLES, X, TARGET = models.two_weights(), models.pair(), models.targets()


def subject(name):
    """A model, its weights and a batch, of several arrays if the method takes them."""
    if METHODS[name].is_map:
        return single(name)
    return models.two_inputs, VARIABLES, X


def single(name):
    """A model, its weights and a batch of one array."""
    if METHODS[name].is_of_attention:
        return models.attentive, models.attentive_weights(), models.vectors()
    return models.cnn, models.cnn_weights(), models.images()


def assert_alike(actual, expected, rtol=1e-8):
    """Compares two pytrees, each leaf relative to its largest entry."""
    chex.assert_trees_all_equal_structs(actual, expected)
    chex.assert_trees_all_equal_shapes(actual, expected)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        assert np.isfinite(b).all()
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * max(np.abs(b).max(), 1e-9))


def is_method(value):
    """Whether a function makes an attribution of a model, or of an attribution."""
    if not inspect.isfunction(value):
        return False
    signature = inspect.signature(value)
    first = next(iter(signature.parameters), "")
    returned = signature.return_annotation
    return first in ("apply_fn", "attribution_fn") and returned == "Attribution"


def test_every_exported_method_is_in_the_table():
    exported = {value for value in vars(attribution).values() if is_method(value)}
    assert exported == {fn for method in METHODS.values() for fn in method.of}


def test_what_is_a_method_is_seen_from_its_signature():
    def other(apply_fn: Any, inputs: Any) -> "Any": ...

    assert is_method(gradient)
    assert is_method(smooth)
    assert not any(map(is_method, (attribution.ledger, attribution.Ledger, other)))


def test_every_method_has_the_signature_of_a_method():
    for method in METHODS.values():
        for fn in method.of:
            first, *rest = inspect.signature(fn).parameters.values()
            assert first.name in ("apply_fn", "attribution_fn")
            assert all(p.kind is p.KEYWORD_ONLY for p in rest), fn
            with pytest.raises(TypeError, match=r"returns a function: write\n`\w+\("):
                fn(models.cnn, VARIABLES, X, TARGET)
            with pytest.raises(TypeError, match=rf"{fn.__name__}\(\): .*"):
                fn(models.cnn, train=False)
        attribute = method.make(models.cnn)
        parameters = inspect.signature(attribute).parameters
        assert list(parameters) == ["variables", "inputs", "target", "key"]


# --- Examples -------------------------------------------------------------------------


@every_method
def test_a_batch_is_a_loop_in_one_program_that_agrees_with_eager(name):
    """One test, since what takes the time is compiling."""
    model, variables, x = subject(name)
    eager = METHODS[name].make(model)
    attribute = compiled(chex.assert_max_traces(eager, n=2))  # a batch, one example
    whole = attribute(variables, x, TARGET, KEY)
    check_structure(name, whole, x)
    rows = [
        attribute(
            variables,
            jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], x),
            TARGET[i : i + 1],
            KEY,
        )
        for i in range(len(TARGET))
    ]
    joined = jax.tree.map(lambda *leaves: np.concatenate(leaves), *rows)
    assert_alike(whole, joined)
    check_nan(name, attribute, whole)
    attribute(variables, x, TARGET[::-1].copy(), jax.random.key(6))
    assert_alike(whole, eager(variables, x, TARGET, KEY))


def check_nan(name, attribute, whole):
    """An example of NaN has no explanation, and changes that of no other."""
    _, variables, x = subject(name)
    bad = jax.tree.map(lambda leaf: leaf.copy(), x)
    for leaf in jax.tree.leaves(bad):
        leaf[1] = np.nan
    received = attribute(variables, bad, TARGET, KEY)
    others = np.array([0, *range(2, len(TARGET))])
    assert_alike(*(jax.tree.map(lambda a: a[others], t) for t in (received, whole)))
    if name not in SLOPES:
        assert any(np.isnan(a[1]).any() for a in jax.tree.leaves(received))


def check_structure(name, received, x):
    """It has that of the inputs, and what the model does not read gets nothing."""
    chex.assert_trees_all_equal_structs(received, x)
    chex.assert_trees_all_equal_shapes_and_dtypes(received, x)
    if METHODS[name].is_map:
        assert np.abs(received).max() > 0
        return
    if not METHODS[name].is_fitted:
        np.testing.assert_array_equal(received["unused"], 0)
    assert np.abs(received["image"]).max() > 0
    assert np.abs(received["vector"]).max() > 0


@every_method
def test_the_dtype_is_kept(name):
    model, *arrays = single(name)
    attribute = METHODS[name].make(model)
    for dtype in (jnp.bfloat16, jnp.float32):
        args = *as_dtype(jax.tree.map(jnp.asarray, arrays), dtype), TARGET, KEY
        assert jax.eval_shape(attribute, *args).dtype == dtype
    # float16 overflows and rounds earlier than the others.
    variables, x = as_dtype(jax.tree.map(jnp.asarray, arrays), jnp.float16)
    received = compiled(attribute)(variables, x, TARGET, KEY)
    assert received.dtype == jnp.float16
    assert np.isfinite(np.asarray(received, np.float64)).all()


# --- Transformations ------------------------------------------------------------------


@every_method
def test_it_maps_over_an_axis_of_inputs_and_over_one_of_targets(name):
    model, variables, x = single(name)
    attribute = METHODS[name].make(model)
    x = models.normal(40, 2, *x.shape)
    targets = np.stack([TARGET, TARGET[::-1]])
    of_inputs = jax.vmap(attribute, in_axes=(None, 0, None, None))
    mapped = jax.vmap(of_inputs, in_axes=(None, None, 0, None))
    received = compiled(mapped)(variables, x, targets, KEY)
    one = compiled(attribute)
    each = [[one(variables, row, t, KEY) for row in x] for t in targets]
    assert_alike(received, np.array(each))


@every_method
def test_it_has_a_gradient_in_the_weights_under_jit(name):
    model, weights, x = single(name)
    attribute = METHODS[name].make(model)

    def loss(variables):
        return jnp.sum(attribute(variables, x, TARGET, KEY) ** 2)

    slope = compiled(jax.grad(loss))(weights)
    for path, leaf in jax.tree.leaves_with_path(slope):
        assert np.isfinite(leaf).all(), path
    assert np.abs(slope["skip"]["w"]).max() > 0


# --- Chance ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n, m in METHODS.items() if m.chunked])
def test_the_same_key_gives_the_same_result_chunked_or_not(name):
    args = models.mlp_weights(), models.vectors(), TARGET, KEY
    attribute = compiled(METHODS[name].make(models.mlp))
    whole = attribute(*args)
    np.testing.assert_array_equal(whole, attribute(*args))
    parts = METHODS[name].chunked(models.mlp)
    assert_alike(compiled(parts)(*args), whole)
    assert_alike(parts(*args), whole)


@every_method
def test_only_methods_that_draw_need_a_key(name):
    small = models.mlp, models.mlp_weights(), models.vectors()
    model, *args = subject(name) if METHODS[name].is_map else small
    attribute = METHODS[name].make(model)
    args = *args, TARGET
    if METHODS[name].is_random:
        with pytest.raises(TypeError, match="needs one key"):
            attribute(*args)
    else:
        np.testing.assert_array_equal(attribute(*args), attribute(*args, KEY))


# --- Devices --------------------------------------------------------------------------

SHARDED = """
    import jax
    import numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    jax.config.update("jax_enable_x64", True)
    from tests.networks import functions as models
    from tests.test_conformance import KEY, METHODS, assert_alike, single

    assert jax.device_count() == 8
    mesh = Mesh(np.array(jax.devices()), ("batch",))
    target = np.arange(8) % models.CLASSES
    rows = NamedSharding(mesh, PartitionSpec("batch"))
    everywhere = NamedSharding(mesh, PartitionSpec())
    for name, method in METHODS.items():
        model, variables, x = single(name)
        x = models.normal(50, 8, *x.shape[1:])
        sharded = jax.device_put((x, target), rows)
        copied = jax.device_put(variables, everywhere)
        attribute = jax.jit(method.make(model))
        expected = attribute(variables, x, target, KEY)
        received = attribute(copied, *sharded, KEY)
        assert_alike(received, expected)
        # XLA gathers a sum over copies of a batch, noisy ones or those of a path.
        if not method.is_random and name != "internal_influence":
            assert received.sharding.is_equivalent_to(rows, x.ndim), name
        print("sharded", name)
"""


@pytest.mark.slow(reason="compiles every method for eight devices")
def test_sharded_inputs_give_the_same_result():
    """In a process of its own, which has eight devices."""
    flags = (
        "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
    )
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SHARDED)],
        cwd=ROOT,
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-3000:]
    lines = found.stdout.splitlines()
    assert lines == [f"sharded {name}" for name in METHODS]

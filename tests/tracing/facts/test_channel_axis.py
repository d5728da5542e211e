"""Channels first or last inside: the same network, and the same answers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji

LAST, FIRST = ("NHWC", "HWIO", "NHWC"), ("NCHW", "OIHW", "NCHW")
CHANNELS = {"first": 1, "last": 3}


def network(order):
    """A convolution, a group norm, a relu and a second convolution, in one order."""
    numbers = LAST if order == "last" else FIRST
    axis = CHANNELS[order] - 1  # without that of examples

    def convolution(x, kernel, stride=1):
        kernel = kernel if order == "last" else kernel.transpose(3, 2, 0, 1)
        strides = (stride, stride)
        return jax.lax.conv_general_dilated(
            x[None], kernel, strides, "SAME", dimension_numbers=numbers
        )[0]

    def group_norm(x, groups=2):
        parts = jnp.moveaxis(x, axis, 0)
        shape = parts.shape
        parts = parts.reshape(groups, -1)
        mean = parts.mean(-1, keepdims=True)
        parts = (parts - mean) / jnp.sqrt(parts.var(-1, keepdims=True) + 1e-5)
        return jnp.moveaxis(parts.reshape(shape), 0, axis)

    def of_one(w, x):  # as Equinox has it: one example, and vmap around it
        x = jnp.moveaxis(x, -1, axis)
        with jax.named_scope("stem"):
            y = convolution(x, w["stem"])
        y = jax.nn.relu(group_norm(y))
        y = convolution(y, w["top"], stride=2)
        y = jax.nn.gelu(y)
        return y.mean(axis=tuple({0, 1, 2} - {axis})) @ w["out"]

    return lambda w, x: jax.vmap(of_one, (None, 0))(w, x)


RNG = np.random.default_rng(0)
W = {
    "stem": RNG.normal(size=(3, 3, 3, 6)) / 3,
    "top": RNG.normal(size=(3, 3, 6, 4)) / 4,
    "out": RNG.normal(size=(4, 5)),
}
X = RNG.uniform(size=(3, 9, 7, 3))
Y = np.array([0, 4, 2])
KEY = jax.random.key(0)


def site_of(order, role):
    graph = ji.trace(network(order), W, X)
    return [n.address for n in graph if n.role.value == role][-1]


def test_every_step_keeps_count_of_the_channels():
    for order in CHANNELS:
        sites = ji.trace(network(order), W, X).sites.values()
        # Of examples, positions and channels; a one may be among them.
        whole = [s for s in sites if sorted({*s.shape} - {1}) == [3, 6, 7, 9]]
        roles = {s.role.value for s in whole}
        assert {"convolution", "activation", "indexing"} <= roles
        assert {s.shape[s.channel_axis] for s in whole} == {6}


def test_a_network_without_convolutions_has_its_channels_last():
    sites = ji.trace(lambda w, x: jnp.tanh(x @ w), np.eye(3), np.ones((2, 4, 3))).sites
    assert {site.channel_axis for site in sites.values()} == {2}


def test_a_stack_of_steps_has_its_channels_behind_the_steps():
    def model(w, x):
        def step(x, _):
            y = jax.lax.conv_general_dilated(
                x, w, (1, 1), "SAME", dimension_numbers=FIRST
            )
            return jnp.tanh(y), None

        return jax.lax.scan(step, x, length=2)[0]

    sites = ji.trace(model, np.ones((3, 3, 1, 1)), np.ones((2, 3, 5, 5))).sites
    assert {site.channel_axis for site in sites.values() if site.length} == {2}


def maps(model, at):
    a, first = ji.attribution, ji.rules.epsilon_plus()
    _, background = ji.capture(model, at)(W, np.concatenate([X, X[::-1] + 1]))
    return {
        "grad_cam": a.grad_cam(model, at=at),
        "grad_cam_plus_plus": a.grad_cam_plus_plus(model, at=at),
        "x_grad_cam": a.x_grad_cam(model, at=at),
        "eigen_cam": a.eigen_cam(model, at=at),
        "fem": a.fem(model, at=at),
        "score_cam": a.score_cam(model, at=at, rectify=False),
        "ablation_cam": a.ablation_cam(model, at=at, rectify=False),
        "information_bottleneck": a.information_bottleneck(
            model, at=at, background=background, steps=2, copies=2
        ),
        "concept_relevance": a.concept_relevance(
            model, site=at, channels=[1, 2], composite=first
        ),
        "one channel": a.gradient(model, score=ji.objectives.channel(at, 2)),
        "one place": a.gradient(
            model, score=ji.objectives.neuron(at, 1, position=(3, 2))
        ),
    }


def test_methods_that_read_channels_find_them():
    answers = {}
    for order in CHANNELS:
        methods = maps(network(order), site_of(order, "convolution"))
        answers[order] = jax.jit(
            lambda *args, methods=methods: {n: m(*args) for n, m in methods.items()}
        )(W, X, Y, KEY)
    assert answers["last"].keys() == answers["first"].keys()
    for name, expected in answers["last"].items():
        assert np.abs(expected).max() > 0, name
        if name != "information_bottleneck":  # whose noise has the order of the axes
            np.testing.assert_allclose(
                answers["first"][name], expected, rtol=1e-7, atol=1e-9, err_msg=name
            )
    bits = [answers[order]["information_bottleneck"] for order in CHANNELS]
    assert bits[0].shape == bits[1].shape == X.shape


def test_an_attribution_of_a_site_has_the_shape_of_the_activation():
    for order, axis in CHANNELS.items():
        at = site_of(order, "activation")
        shape = ji.attribution.gradient(network(order), at=at)(W, X, Y).shape
        assert shape[axis] == 4


def rooms(model, at):
    blocks, fv = ji.building_blocks, ji.featurevis
    stem = next(n.address for n in ji.trace(model, W, X) if n.role == "convolution")
    tested = ji.concepts.tcav(
        *(model, at, W, X, {"bright": X + 0.5}, X[::-1] - 0.5),
        key=KEY,
        target=Y,
        nulls=9,
    )
    gaussians = ji.adversarial.fit_gaussians(model, at, W, [X], Y)
    examples = ji.attribution.relevance_examples(
        *(model, at, W, [(X, Y)]), k=2, composite="epsilon_plus", progress=False
    )
    return {
        "dictionary": blocks.semantic_dictionary(model, at=at, k=2)(W, X),
        "spatial": blocks.spatial_attribution(model, at=at)(W, X, Y).values,
        "channels": blocks.channel_attribution(model, at=at)(W, X, Y).values,
        "tcav": tested.effects,
        "means": gaussians.means,
        "examples": examples.relevance,
        "found": fv.dataset_examples(model, fv.channel(at), W, [X], progress=False),
        "field": fv.receptive_field(model, stem, W, X),
        "reads": fv.effective_receptive_field(model, at, W, X).weights,
    }


def test_other_rooms_find_the_channels():
    last, first = (
        rooms(network(order), site_of(order, "activation")) for order in CHANNELS
    )
    for name, value in first.items():
        jax.tree.map(
            lambda a, b, name=name: np.testing.assert_allclose(
                a, b, rtol=1e-6, atol=1e-8, err_msg=name
            ),
            last[name],
            value,
        )


def blurred(x, axis):
    def plane(c):
        kernel = np.ones((1, 1, 3, 3)) / 9
        return jax.lax.conv_general_dilated(c[:, None], kernel, (1, 1), "SAME")[:, 0]

    return jax.vmap(plane, axis, axis)(x)


def resized(x, axis, method):
    shape = [2, 8, 8, 8]
    shape[axis] = 5
    return jax.image.resize(x, shape, method)


STEPS = {
    "concatenate": lambda x, axis: jnp.concatenate([x, x], axis),
    "slice": lambda x, axis: jax.lax.slice_in_dim(x, 1, 4, axis=axis),
    "split": lambda x, axis: jnp.split(x, [2], axis)[1],
    "pad": lambda x, axis: jnp.pad(x, [(int(i == axis),) * 2 for i in range(4)]),
    "linear": lambda x, axis: resized(x, axis, "bilinear"),
    "nearest": lambda x, axis: resized(x, axis, "nearest"),
    "mix": lambda x, axis: jnp.moveaxis(
        jnp.moveaxis(x, axis, -1) @ np.ones((5, 4)), -1, axis
    ),
    "mix from the left": lambda x, axis: jnp.moveaxis(
        jax.lax.dot_general(np.ones((4, 5)), x, (((1,), (axis,)), ((), ()))), 0, axis
    ),
    "blur": blurred,
    "loop": lambda x, axis: jax.lax.fori_loop(0, 2, lambda _, x: jnp.tanh(x), x),
    "cond": lambda x, axis: jax.lax.cond(x.sum() > 0, jnp.sin, jnp.cos, x),
}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("order", CHANNELS)
def test_the_channels_are_followed_though_all_axes_are_equal(name, order):
    axis, numbers = CHANNELS[order], LAST if order == "last" else FIRST
    kernel = np.ones((3, 3, 5, 5) if order == "last" else (5, 5, 3, 3))

    def model(w, x):
        y = jax.lax.conv_general_dilated(
            x, w, (1, 1), "SAME", dimension_numbers=numbers
        )
        return jnp.tanh(STEPS[name](y, axis))

    sites = ji.trace(model, kernel, np.ones((2, 5, 5, 5))).sites.values()
    found = [s for s in sites if s.role == "activation"]
    assert found
    assert [s.channel_axis - len(s.length) for s in found] == [axis] * len(found)


def shuffled(w, x):
    """Four channels of each pixel become four pixels."""
    y = jnp.tanh(jax.lax.conv(x, w, (1, 1), "SAME"))
    y = y.reshape(2, 2, 2, 2, 5, 5).transpose(0, 1, 4, 2, 5, 3)
    return jnp.sin(y.reshape(2, 2, 10, 10)).sum((2, 3))


def test_channels_that_are_taken_apart_are_an_error_where_they_are_read():
    w, x = np.ones((8, 3, 3, 3)), np.ones((2, 3, 5, 5))
    grad_cam = ji.attribution.grad_cam(shuffled, at="sin", resize=False)
    with pytest.raises(ValueError, match=r"axis of 'sin', float64\[2, 2, 10, 10\]"):
        grad_cam(w, x, 0)
    before = ji.attribution.grad_cam(shuffled, at="tanh", resize=False)
    assert before(w, x, 0).shape == (2, 5, 5)


HIDING = {
    "occlusion": {"size": (2, 1), "stride": 1},
    "rise": {"samples": 4},
    "extremal_mask": {"steps": 3},
    "counterfactual_mask": {"steps": 6, "threshold": 0.7, "score": "logit"},
    "blur_integrated_gradients": {"steps": 2, "max_sigma": 2.0},
}


def test_what_hides_positions_hides_them_wherever_channels_are():
    """With a baseline that is another for each entry, as the model has it."""
    answers = {}
    for order, axis in CHANNELS.items():
        model, at = network(order), site_of(order, "activation")
        start = np.linspace(-1, 1, 80).reshape(1, 5, 4, 4)
        baseline = {"baseline": np.moveaxis(start, 3, axis)}
        methods = {
            name: getattr(ji.attribution, name)(
                model, at=at, **options, **({} if "blur" in name else baseline)
            )
            for name, options in HIDING.items()
        }
        answers[order] = jax.jit(
            lambda *args, methods=methods: {n: m(*args) for n, m in methods.items()}
        )(W, X, Y, KEY)
    for name, expected in answers["last"].items():
        assert np.abs(expected).max() > 0, name
        assert answers["first"][name].shape == (3, 4, 5, 4)
        turned = jnp.moveaxis(answers["first"][name], 1, 3)
        np.testing.assert_allclose(turned, expected, rtol=1e-7, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("name", HIDING)
def test_channels_that_are_taken_apart_are_not_positions(name):
    method = getattr(ji.attribution, name)(shuffled, at="sin", **HIDING[name])
    with pytest.raises(ValueError, match=r"axis of 'sin', float64\[2, 2, 10, 10\]"):
        method(np.ones((8, 3, 3, 3)), np.ones((2, 3, 5, 5)), 0, KEY)


def convolved(w, x):
    return jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=FIRST)


def axes_of(model, primitive, channels=5):
    kernel, x = np.ones((channels, channels, 3, 3)), np.ones((2, channels, 5, 5))
    sites = ji.trace(model, kernel, x).sites.values()
    return [s.channel_axis for s in sites if s.address.split("/")[-1] == primitive]


def test_a_scan_over_stacked_activations_keeps_their_channels():
    def model(w, x):
        y = convolved(w, x)
        steps = jnp.stack([y, 2 * y, 3 * y])
        _, results = jax.lax.scan(lambda c, z: (c, jnp.tanh(z)), 0.0, steps)
        return jnp.sin(results)

    assert axes_of(model, "tanh") == [2]  # behind that of the steps
    assert axes_of(model, "sin") == [2]


def test_two_channels_are_followed_through_a_reshape():
    def model(w, x):
        return jnp.tanh(convolved(w, x).reshape(2, 2, 25))

    assert axes_of(model, "tanh", channels=2) == [1]


def test_a_matrix_that_depends_on_the_input_names_no_channels():
    def model(w, x):
        y = convolved(w, x).reshape(2, 5, 25)
        mixing = jax.nn.softmax(y @ y.transpose(0, 2, 1))
        return jnp.tanh(jax.lax.batch_matmul(mixing, y))

    assert axes_of(model, "tanh") == [2]  # the last: nothing is known


def test_channels_that_were_last_may_be_taken_apart():
    def model(w, x):
        y = jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=LAST)
        y = jnp.tanh(y).reshape(2, 5, 5, 2, 2, 2).transpose(0, 1, 3, 2, 4, 5)
        return jnp.sin(y.reshape(2, 10, 10, 2)).sum((1, 2))

    w, x = np.ones((3, 3, 3, 8)), np.ones((2, 5, 5, 3))
    grad_cam = ji.attribution.grad_cam(model, at="sin", resize=False)
    assert grad_cam(w, x, 0).shape == (2, 10, 10)

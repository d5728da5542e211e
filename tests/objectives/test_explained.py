"""Every attribution method explains what is inside a model, and not its outputs alone.

The oracle is another model, written by hand, that returns what the objective reads.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp import featurevis as fv
from jaxinterp import objectives, rules
from jaxinterp.attribution import gradient, integrated_gradients, ledger, lrp, smooth
from jaxinterp.featurevis import diversity, total_variation
from jaxinterp.objectives import channel, custom, direction, neuron, output, schedule
from jaxinterp.tracing import AddressError, AmbiguousAddressError
from tests.compiled import compiled
from tests.few import few
from tests.networks import functions as models
from tests.proposals import proposals
from tests.test_conformance import METHODS

KEY = jax.random.key(3)
VARIABLES, X = models.cnn_weights(), models.images()
VECTOR = models.normal(20, 4)


def hidden(v, x):
    """Returns the activation of `model` at its site "softplus"."""
    return jax.nn.softplus(models.convolve(x, v["conv"]["w"]) + v["conv"]["b"])


def model(v, x):
    return hidden(v, x).mean((1, 2)) @ v["head"]["w"] + v["head"]["b"]


# Of each objective: the model by hand, and which number of what it returns.
BY_HAND = {
    "channel": (channel("softplus", 2), hidden, lambda a, _: a[..., 2].mean((1, 2))),
    "string": ("softplus:2", hidden, lambda a, _: a[..., 2].mean((1, 2))),
    "neuron": (
        neuron("softplus", 1, position=(2, 3)),
        hidden,
        lambda a, _: a[:, 2, 3, 1],
    ),
    "direction": (
        direction("softplus", VECTOR),
        hidden,
        lambda a, _: (a @ VECTOR).mean((1, 2)),
    ),
    "output": (output(1), model, lambda y, _: y[:, 1]),
}


@pytest.mark.parametrize(
    "name",
    few(
        ["gradient", "lrp", "deep_taylor", "smooth lrp"],
        2,
        reason="goes back from its score as `lrp` does",
    ),
)
def test_an_output_is_its_score_at_that_class(name):
    method, target = METHODS[name].make, jnp.ones(len(X), int)
    scores = [
        *(objectives.logit, objectives.probability, objectives.log_probability),
        *(objectives.margin, objectives.contrastive),
    ]

    def received(variables, x):
        return [
            (
                method(model, score=output(1, score=score))(variables, x, None, KEY),
                method(model, score=score)(variables, x, target, KEY),
            )
            for score in scores
        ]

    for actual, expected in compiled(received)(VARIABLES, X):
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-15)


NOT_ALIKE = {
    *("conductance", "internal_influence", "concept_relevance"),  # inputs and a layer
    *("eigen_cam", "fem"),  # no score
    "counterfactual_mask",  # its threshold fits one score
}


@pytest.mark.parametrize(
    "name",
    few(
        [  # not those of one network's sites
            name
            for name, method in METHODS.items()
            if not name.startswith("pattern_")
            and not method.is_of_attention
            and name not in NOT_ALIKE
        ],
        {"gradient", "integrated_gradients", "lrp", "guided_backprop", "deep_taylor"},
        reason="goes through the same score as these",
    ),
)
def test_it_is_what_explains_a_model_that_returns_it(name):
    method = METHODS[name].make
    if METHODS[name].is_map and name != "xrai":
        method = functools.partial(method, at="softplus")

    def received(variables, x):
        return [
            (
                method(model, score=objective)(variables, x, None, KEY),
                method(by_hand, score=score)(variables, x, None, KEY),
            )
            for objective, by_hand, score in BY_HAND.values()
        ]

    for what, (actual, expected) in zip(
        BY_HAND, compiled(received)(VARIABLES, X), strict=True
    ):
        assert np.abs(expected).max() > 0, what
        atol = 1e-12 * np.abs(expected).max()
        np.testing.assert_allclose(actual, expected, rtol=0, atol=atol, err_msg=what)


@pytest.mark.parametrize("method", [gradient, lrp], ids=["gradient", "lrp"])
def test_sums_and_differences_are_those_of_their_parts(method):
    def of(objective):
        return method(model, score=objective)(VARIABLES, X)

    parts = channel("softplus", 2), output(1), neuron("conv", 0)
    first, second, third = map(of, parts)
    whole = of(parts[0] - 2.5 * parts[1] + parts[2])
    expected = first - 2.5 * second + third
    np.testing.assert_allclose(whole, expected, rtol=1e-12, atol=1e-12)


def test_the_seed_of_relevance_is_the_activation_times_its_slope():
    """At the site that the objective reads, nothing has been propagated yet."""
    activation = ji.capture(model, "softplus")(VARIABLES, X)[1]["softplus"]
    received = lrp(model, score=channel("softplus", 2), at="softplus")(VARIABLES, X)
    expected = np.zeros(activation.shape)
    expected[..., 2] = activation[..., 2] / 36
    np.testing.assert_allclose(received, expected, rtol=1e-12, atol=0)


# --- With `at` ------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["relu", "conv"])
def test_a_site_before_the_unit_is_explained(at):
    def of_unit(change):
        edited = ji.intervene(models.cnn, {at: lambda a: a + change})
        activations = ji.capture(edited, "relu_1")(VARIABLES, X)[1]
        return activations["relu_1"][..., 2].mean((1, 2)).sum()

    encode, _ = ji.split(models.cnn, at)
    expected = jax.grad(of_unit)(jnp.zeros_like(encode(VARIABLES, X)))
    unit = channel("relu_1", 2)
    actual = gradient(models.cnn, score=unit, at=at)(VARIABLES, X)
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-15)


def test_integrated_gradients_at_a_site_add_up_to_the_unit():
    unit = channel("tanh_1", 2)
    layers, x = models.mlp_weights(), models.vectors()
    attribute = integrated_gradients(models.smooth_mlp, score=unit, at="tanh", steps=30)
    activations = ji.capture(models.smooth_mlp, "*")(layers, x)[1]
    zero = ji.intervene(models.smooth_mlp, {"tanh": lambda a: 0 * a})
    start = ji.capture(zero, "tanh_1")(layers, x)[1]["tanh_1"]
    change = activations["tanh_1"][:, 2] - start[:, 2]
    np.testing.assert_allclose(attribute(layers, x).sum(1), change, rtol=1e-12)


def test_a_site_after_the_unit_is_an_error():
    """All of it would be zero, as if nothing there mattered to the class."""
    with pytest.raises(ValueError, match="not depend on the activation at 'mean'"):
        gradient(model, score="conv:1", at="mean")(VARIABLES, X)


def test_the_whole_network_is_resolved():
    """A unit before the last affine map does not make the map before it the last."""
    composite = rules.Composite([(ji.last(), rules.Zero()), ("*", rules.Gradient())])
    plain = rules.Composite([("*", rules.Gradient())])
    actual = lrp(model, score="softplus:2", composite=composite)(VARIABLES, X)
    expected = lrp(model, score="softplus:2", composite=plain)(VARIABLES, X)
    np.testing.assert_array_equal(actual, expected)


def test_nothing_goes_back_through_outputs_that_are_not_read():
    """Not even what is not a number."""

    def broken(v, x):
        return jnp.log(hidden(v, x).sum((1, 2)) * 0.0 - 1.0)

    for method in (gradient, lrp):
        received = method(broken, score="softplus:2")(VARIABLES, X)
        expected = method(model, score="softplus:2")(VARIABLES, X)
        np.testing.assert_allclose(received, expected, rtol=1e-12, atol=1e-15)


# --- Conservation ---------------------------------------------------------------------


@pytest.mark.slow(reason="compiles a ledger in float64")
def test_the_books_close_to_the_score_of_the_channel():
    unit = channel("relu_1", 2)
    composite = rules.epsilon_plus()
    books = ledger(models.cnn, composite, VARIABLES, X, score=unit)
    activation = ji.capture(models.cnn, "relu_1")(VARIABLES, X)[1]["relu_1"]
    expected = activation[..., 2].mean((1, 2)).sum()
    assert books.score == pytest.approx(float(expected), rel=1e-12)
    assert books.error < 1e-9
    received = lrp(models.cnn, score=unit, composite=composite)(VARIABLES, X)
    assert books.attributed == pytest.approx(float(received.sum()), rel=1e-12)


# --- What an objective reads ----------------------------------------------------------


def test_an_objective_may_read_the_inputs():
    received = gradient(model, score=total_variation() + channel("softplus", 2))
    variation = jax.grad(lambda x: _variation(x).sum())(X)
    plain = gradient(model, score="softplus:2")(VARIABLES, X)
    np.testing.assert_allclose(received(VARIABLES, X) - plain, variation, rtol=1e-9)


def _variation(x):
    bound = total_variation()
    return bound(objectives.View({}, None, x, 0))


def test_a_schedule_stands_at_its_first_step():
    weight = schedule(lambda step: 2.0 + 5.0 * step)
    received = gradient(model, score=weight * channel("softplus", 2))(VARIABLES, X)
    expected = 2 * gradient(model, score="softplus:2")(VARIABLES, X)
    np.testing.assert_allclose(received, expected, rtol=1e-12)


def test_all_steps_of_a_loop_are_read():
    def loop(v, x):
        def body(h, _):
            return jnp.tanh(h @ v), None

        return jax.lax.scan(body, x, None, length=3)[0]

    def by_hand(v, x):
        states = [x := jnp.tanh(x @ v) for _ in range(3)]
        return jnp.stack(states, axis=1)[:, :, 1].mean(1)

    v, x = models.normal(1, 5, 5), models.vectors()
    received = gradient(loop, score=channel("*tanh*", 1))(v, x)
    expected = jax.grad(lambda x: by_hand(v, x).sum())(x)
    np.testing.assert_allclose(received, expected, rtol=1e-12)


def test_it_smooths_and_needs_no_target():
    attribute = smooth(gradient(model, score="softplus:2"), samples=3, noise_level=0.0)
    expected = gradient(model, score="softplus:2")(VARIABLES, X)
    received = attribute(VARIABLES, X, key=KEY)
    np.testing.assert_allclose(received, expected, rtol=1e-12)


def test_units_are_mapped_over():
    def of(i):
        return integrated_gradients(model, score=channel("softplus", i), steps=3)(
            VARIABLES, X
        )

    received = jax.vmap(of)(jnp.arange(4))
    assert received.shape == (4, *X.shape)
    np.testing.assert_allclose(received[3], of(3), rtol=1e-12, atol=1e-15)


# --- Errors ---------------------------------------------------------------------------


SEVERAL = {
    "channels": (channel("softplus"), [0, 1, 2, 3], lambda i: f"softplus:{i}"),
    "string": ("soft*:1,3", [1, 3], lambda i: f"softplus:{i}"),
    "neurons": (
        neuron("softplus", [2, 0]),
        [2, 0],
        lambda i: neuron("softplus", i),
    ),
    "places": (
        channel("softplus", [2, 0], position=(None, 1)),
        [2, 0],
        lambda i: channel("softplus", i, position=(None, 1)),
    ),
    "outputs": (output(), [0, 1, 2, 3], output),
    "of a string": (":1,0", [1, 0], output),
    "probabilities": (
        output([1, 0], score="probability"),
        [1, 0],
        lambda i: output(i, score=objectives.probability),
    ),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_several_units_are_an_error_whose_proposals_explain_those_units(name):
    score, numbers, one = SEVERAL[name]
    for method in (gradient, compiled_gradient):
        with pytest.raises(ValueError, match=r"objective has [24] units.\n") as error:
            method(model, score=score)(VARIABLES, X)
        each, added = proposals(
            error, apply_fn=model, variables=VARIABLES, inputs=X, method=gradient
        )
        expected = [gradient(model, score=one(i))(VARIABLES, X) for i in numbers]
        np.testing.assert_allclose(each, expected, rtol=1e-12, atol=1e-15)
        received = gradient(model, score=added)(VARIABLES, X)
        np.testing.assert_allclose(received, sum(expected[:2]), rtol=1e-9, atol=1e-15)


def compiled_gradient(apply_fn, **options):
    return jax.jit(gradient(apply_fn, **options))


@pytest.mark.parametrize(
    "score",
    [
        direction("softplus", np.stack([VECTOR, VECTOR])),
        channel("softplus", 1, position=([0, 1], None)),
        channel("softplus", [1, 2]) * 2,
    ],
)
def test_several_units_without_an_index_are_told_in_words(score):
    message = r"has 2 units.\nSay which one is meant: give the objective one index"
    with pytest.raises(ValueError, match=message):
        gradient(model, score=score)(VARIABLES, X)


def test_a_model_of_one_number_has_the_output_0():
    def single(v, x):
        return model(v, x)[:, 1]

    expected = gradient(model, score=":1")(VARIABLES, X)
    for score in (":0", output(), "total"):
        received = gradient(single, score=score)(VARIABLES, X)
        np.testing.assert_allclose(received, expected, rtol=1e-12)
    with pytest.raises(ValueError, match="no channel of the output 1"):
        gradient(single, score=":1")(VARIABLES, X)


def test_an_activation_of_one_number_gets_a_score_of_its_own(unchecked):
    def single(v, x):
        return model(v, x) * jnp.tanh(x.sum((1, 2, 3)))[:, None]

    with pytest.raises(ValueError, match="'tanh' is one number for each") as error:
        gradient(single, score="tanh:0")(VARIABLES, X)
    (score,) = proposals(error)
    expected = jax.grad(lambda x: jnp.tanh(x.sum((1, 2, 3))).sum())(X)
    received = gradient(single, score=score)(VARIABLES, X)
    np.testing.assert_allclose(received, expected, rtol=1e-12)


def test_images_are_not_compared():
    with pytest.raises(ValueError, match=r"compares the images.*\n.*`diversity`"):
        gradient(model, score=channel("softplus", 1) + diversity("softplus"))


def test_a_site_must_exist_and_be_one():
    with pytest.raises(AddressError, match="No site matches 'softplsu'"):
        lrp(model, score="softplsu:1")(VARIABLES, X)
    with pytest.raises(AmbiguousAddressError):
        lrp(models.cnn, score="relu*:1")(VARIABLES, X)


def test_a_unit_must_exist():
    with pytest.raises(ValueError, match=r"no channel of 'softplus' 4: there are 4"):
        gradient(model, score="softplus:4")(VARIABLES, X)


def test_it_is_one_number_per_example():
    score = custom(lambda view: view.activations["softplus"].mean((1, 2)), "softplus")
    with pytest.raises(ValueError, match=r"\(3,\), and this one gave float64\[3, 4\]"):
        gradient(model, score=score)(VARIABLES, X)


def test_a_site_without_examples_is_an_error_that_says_what_it_is():
    def transposed(v, x):
        return jnp.sin(hidden(v, x).mean((1, 2)).T).T @ v["head"]["w"]

    with pytest.raises(ValueError, match=r"'sin' is float64\[4, 3\] for 3"):
        gradient(transposed, score="sin:1")(VARIABLES, X)


def test_a_string_names_an_index():
    with pytest.raises(ValueError, match=r"'x' in 'softplus:x' is no index"):
        gradient(model, score="softplus:x")


@pytest.mark.parametrize(
    ("score", "index"),
    few(
        itertools.product(["log_probability", "probability", "margin"], [-3, 1]),
        [("margin", -3), ("probability", 1)],
        reason="each score and each index is in another pair",
    ),
)
def test_an_output_is_explained_alike_wherever_it_stands(score, index):
    score = getattr(objectives, score)
    models_and_objectives = {
        "alone": (model, output(index, score=score)),
        "with a head": (
            lambda v, x: {"aux": jnp.zeros(()), "logits": model(v, x)},
            output(index, score=score, head="logits"),
        ),
        "beside another axis": (
            lambda v, x: (jnp.ones((7, 2)), model(v, x)),
            output(index, score=score, head=1),
        ),
        "at a position": (
            lambda v, x: model(v, x)[:, None],
            output(index, score=score, position=(0,)),
        ),
    }
    target = jnp.full(len(X), index % models.CLASSES)
    for method in (gradient, lrp):
        expected = method(model, score=score)(VARIABLES, X, target)
        for name, (apply_fn, objective) in models_and_objectives.items():
            actual = compiled(method(apply_fn, score=objective))(VARIABLES, X)
            np.testing.assert_allclose(
                actual, expected, rtol=1e-10, atol=1e-15, err_msg=name
            )


@pytest.mark.parametrize("method", [gradient, lrp], ids=["gradient", "lrp"])
def test_what_is_out_of_range_explains_nothing_and_says_so(method):
    def of(i):
        return method(model, score=channel("softplus", i))(VARIABLES, X)

    assert np.isnan(compiled(of)(99)).all()
    assert np.isfinite(compiled(of)(1)).all()


def test_an_output_without_examples_is_an_error():
    with pytest.raises(ValueError, match="the examples on its first axis"):
        gradient(lambda v, x: model(v, x).sum(), score=":1")(VARIABLES, X)


@pytest.mark.parametrize(
    "objective",
    [":0", 2 * output(0), custom(lambda view: view.outputs[:, 0].astype(float))],
    ids=["string", "weighted", "custom"],
)
def test_an_output_of_integers_has_no_explanation(objective):
    def classes(v, x):
        return jnp.round(model(v, x)).astype(int)

    message = r"(?s)int64\[\d+, \d+\], and integers have no gradient.*'Dense_0:3'"
    for method in (gradient, lrp):
        with pytest.raises(TypeError, match=message):
            method(classes, score=objective)(VARIABLES, X)


def test_integers_beside_floats_are_explained():
    def with_numbers(v, x):
        return {"logits": model(v, x), "numbers": jnp.arange(len(X))}

    score = custom(lambda view: view.outputs["logits"][:, 1] * view.outputs["numbers"])
    slopes = gradient(with_numbers, score=score)(VARIABLES, X)
    alone = gradient(model, score=":1")(VARIABLES, X)
    numbers = np.arange(len(X)).reshape(-1, *[1] * (X.ndim - 1))
    np.testing.assert_allclose(slopes, alone * numbers, rtol=1e-12)


def test_a_custom_objective_lists_the_sites_that_it_reads():
    def of_two(view):
        return view.activations["tanh"].mean(1) + view.activations["scale"].mean(1)

    def apply_fn(w, x):
        return jnp.tanh(w * x)

    x = X[:, :, 0, 0]
    message = r"(?s)activation at 'scale'.*\['tanh'\].*\(function, 'tanh', 'scale'\)"
    with pytest.raises(ValueError, match=message):
        gradient(apply_fn, score=custom(of_two, "tanh"))(2.0, x)
    slopes = gradient(apply_fn, score=custom(of_two, "tanh", "scale"))(2.0, x)
    expected = (2 / np.cosh(2 * x) ** 2 + 2) / x.shape[1]
    np.testing.assert_allclose(slopes, expected, rtol=1e-12)


def test_activations_in_a_custom_objective_are_a_pytree():
    def total_of_all(view):
        squares = jax.tree.map(lambda a: (a**2).sum(1), view.activations)
        assert list(squares) == ["tanh", "scale"]
        return sum(squares.values())

    x = X[:, :, 0, 0]
    score = custom(total_of_all, "tanh", "scale")
    slopes = gradient(lambda w, x: jnp.tanh(w * x), score=score)(2.0, x)
    y = np.tanh(2 * x)
    np.testing.assert_allclose(slopes, 4 * y * (1 - y**2) + 8 * x, rtol=1e-12)


def test_penalties_are_of_one_array_of_images():
    def apply_fn(v, x):
        return model(v, x["image"])

    inputs = {"image": X, "mask": jnp.ones(len(X))}
    names = ["norm", "total_variation", "opacity_penalty", "boundary_penalty"]
    penalties = [getattr(fv, name)() for name in names]
    penalties += [fv.prior_distance(X[:1]), fv.prior_distance(lambda x: x)]
    penalties += [fv.penalty_on(fv.norm(), channels=0)]
    for penalty in penalties:
        for objective in (penalty, output(1) - penalty):
            with pytest.raises(TypeError, match=r"(?s)are several.*'mask'.*custom\("):
                gradient(apply_fn, score=objective)(VARIABLES, inputs)

    # What the message recommends.
    penalty = fv.norm()
    of_image = custom(lambda view: penalty(view._replace(images=view.images["image"])))
    slopes = gradient(apply_fn, score=of_image)(VARIABLES, inputs)
    expected = gradient(model, score=penalty)(VARIABLES, X)
    np.testing.assert_allclose(slopes["image"], expected, rtol=1e-12)


def test_weights_keep_their_precision():
    weighted = gradient(model, score=0.1 * output(1))(VARIABLES, X)
    by_hand = gradient(model, score=lambda y, _: 0.1 * y[:, 1])(VARIABLES, X)
    np.testing.assert_allclose(weighted, by_hand, rtol=1e-14)


def test_an_empty_batch_has_no_delta():
    measure = ji.metrics.convergence_delta(model, score=":1")
    assert measure(VARIABLES, X[:0], X[:0]).shape == (0,)

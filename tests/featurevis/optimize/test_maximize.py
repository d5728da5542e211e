"""Ascent on small networks, one of which has optima that are known."""

import dataclasses
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import jaxinterp as ji
from jaxinterp import featurevis as fv
from jaxinterp.featurevis.optimize.ascent import Ascent, first_state, step
from jaxinterp.featurevis.optimize.composite_schedule import DERIVATIVE
from jaxinterp.loop import chunks
from jaxinterp.models import with_preprocess
from jaxinterp.objectives.evaluate import unit_keys
from jaxinterp.objectives.reader import reader
from jaxinterp.rules import Composite, Gradient, linearized
from tests.compiled import compiled
from tests.few import few

KEY = jax.random.key(3)
SHAPE = (9, 12, 3)


class Net(nn.Module):
    """Two convolutions, pooled, and logits."""

    features: int = 5

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(self.features, (3, 3), name="first")(x))
        x = nn.max_pool(x, (2, 2), (2, 2))
        x = nn.relu(nn.Conv(self.features, (3, 3), name="second")(x))
        return nn.Dense(4, name="logits")(x.mean(axis=(1, 2)))


NET = Net()
VARIABLES = compiled(NET.init)(jax.random.key(0), jnp.zeros((1, *SHAPE), jnp.float32))


def maximize(
    objective, *, apply_fn=NET.apply, variables=VARIABLES, shape=SHAPE, **options
):
    options = {"key": KEY, "steps": 5, "progress": False, **options}
    options.setdefault("parametrization", fv.fourier(shape))
    return fv.maximize(apply_fn, objective, variables, **options)


TWO_REDIRECTED = {0: ji.rules.redirected(), 2: DERIVATIVE}
_STEP = optax.sgd(1.0)


def to_bytes(images):
    return jnp.round(255 * images).astype(jnp.uint8)


def distance_from_gray(view):
    return jnp.square(view.images - 0.5).sum(tuple(range(1, view.images.ndim)))


def same(first, second):
    return np.array_equal(np.asarray(first), np.asarray(second))


# --- What is known --------------------------------------------------------------------


def test_a_planted_template_is_found():
    templates = jax.random.normal(jax.random.key(1), (4, 6, 5, 3), jnp.float32)

    def apply_fn(w, x):
        return jnp.einsum("bhwc,khwc->bk", x - 0.5, w)

    result = fv.maximize(
        apply_fn,
        fv.output() - 5 * fv.custom(distance_from_gray),
        templates,
        key=KEY,
        parametrization=fv.pixels((6, 5, 3)),
        steps=200,
        progress=False,
    )
    found = np.asarray(result.images - 0.5).reshape(4, -1)
    wanted = np.asarray(templates).reshape(4, -1)
    cosine = (found * wanted).sum(1)
    cosine /= np.linalg.norm(found, axis=1) * np.linalg.norm(wanted, axis=1)
    assert cosine.min() > 0.95


def test_a_filter_sees_its_own_template_at_its_place():
    # Of one neuron of a convolution the optimum is the filter, at the neuron's place.
    kernel = np.asarray(VARIABLES["params"]["first"]["kernel"])

    def apply_fn(variables, x):
        return nn.Conv(5, (3, 3)).apply({"params": variables["params"]["first"]}, x)

    result = fv.maximize(
        apply_fn,
        fv.neuron("Conv", 2, position=(4, 7)) - 2 * fv.custom(distance_from_gray),
        VARIABLES,
        key=KEY,
        parametrization=fv.pixels(SHAPE),
        steps=200,
        progress=False,
    )
    seen = np.asarray(result.images[0, 3:6, 6:9]) - 0.5
    wanted = kernel[..., 2]
    norm = np.linalg.norm(seen) * np.linalg.norm(wanted)
    assert (seen * wanted).sum() / norm > 0.95
    outside = np.asarray(result.images[0]).copy()
    outside[3:6, 6:9] = 0.5
    assert np.abs(outside - 0.5).max() < 0.05


# --- Ascent ---------------------------------------------------------------------------

TARGET = jax.random.uniform(jax.random.key(5), (1, 4, 6, 5), jnp.float32)
OBJECTIVES = {
    "neuron": fv.neuron("second", 1),
    "channel": fv.channel("second", 1),
    "negated": -fv.channel("second", 1),
    "string": "second:1",
    "layer": fv.layer("second"),
    "direction": fv.direction("second", np.arange(5.0)),
    "cosine": fv.direction("second", np.arange(5.0), cosine_power=2.0),
    "direction at the center": fv.direction(
        "second", np.arange(5.0), position="center"
    ),
    "patch": fv.direction("second", np.asarray(TARGET)),
    "logit": fv.output(2),
    "probability": fv.output(2, score=ji.objectives.probability),
    "log_probability": fv.output(2, score=ji.objectives.log_probability),
    "diversity": fv.channel("second", 1) + fv.diversity("second"),
    "interpolate": fv.interpolate("second:1", "second:2"),
    "alignment": fv.channel("second", 1) + 0.1 * fv.alignment("second"),
    "style": fv.style("second", TARGET),
    "penalty_on": fv.channel("second", 1)
    - 0.1 * fv.penalty_on(fv.total_variation(), site="second"),
    "match": fv.match("second", TARGET),
    "caricature": fv.caricature("second", TARGET),
    "penalized": fv.channel("second", 1) - 1e-4 * fv.total_variation(),
    "product": fv.channel("second", 1) * fv.channel("second", 3),
    "scheduled": fv.schedule(lambda step: 1.0 + 0 * step) * fv.channel("second", 1),
    "custom": fv.custom(
        lambda view: view.activations["first"].mean((1, 2, 3)), "first"
    ),
    "facet": fv.facet("first", lambda a: a.mean((1, 2, 3)), np.arange(5.0)),
    "for_images": fv.for_images("second:1", 0) + fv.for_images("second:2", 1),
    "only the cosine": fv.direction("second", np.arange(5.0), keep_length=False),
    "clipped": abs(fv.channel("second", 1)).clip(-1.0, 9.0),
    "whitened": fv.direction("second", fv.whitened(np.arange(5.0), TARGET)),
    "norm of order 4": fv.channel("second", 1) - 1e-4 * fv.norm(4),
    "norms": fv.channel("second", 1)
    - 1e-4 * (fv.norm(1) + fv.norm(2) + fv.norm(np.inf)),
    "blurred": fv.channel("second", 1) - 1e-4 * fv.blur_penalty(),
    "soft in red": fv.channel("second", 1)
    - 1e-4 * fv.penalty_on(fv.blur_penalty(), channels=0),
    "low": fv.channel("second", 1) - 1e-4 * fv.frequency_penalty(),
    "inside": fv.channel("second", 1) - 1e-4 * fv.boundary_penalty(2),
    "in places": fv.channel("second", 1)
    - 1e-4 * fv.boundary_penalty(where=np.ones((9, 12))),
    "opacity": fv.channel("second", 1) - 1e-4 * fv.opacity_penalty(),
    "plausible": fv.channel("second", 1) - 1e-4 * fv.prior_distance(lambda x: 0.9 * x),
}


def test_no_objective_is_missing_from_the_table():
    def below(cls):
        return {cls}.union(*(below(c) for c in cls.__subclasses__()))

    def parts(value):
        if not isinstance(value, fv.Objective):
            return set()
        fields = dataclasses.fields(value)
        inside = [getattr(value, field.name) for field in fields]
        flat = [x for i in inside for x in (i if isinstance(i, tuple) else (i,))]
        return {type(value)}.union(*map(parts, flat))

    private = {fv.Objective}
    ours = {c for c in below(fv.Objective) if c.__module__.startswith("jaxinterp")}
    ours = {c for c in ours if not c.__name__.startswith("_")} - private
    tried = set().union(*(parts(fv.as_objective(o)) for o in OBJECTIVES.values()))
    assert ours - tried == set()


# What differs in how it reaches the model, and not in a formula that has its own test.
FORMS = {"neuron", "string", "direction", "logit", "diversity", "style", "for_images"}
FORMS |= {"scheduled", "custom", "penalized", "whitened"}
formula = pytest.mark.slow(reason="reads the model as others do, by another formula")


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in FORMS else [formula]) for n in OBJECTIVES],
)
def test_every_objective_ascends(name):
    result = maximize(OBJECTIVES[name], count=2, steps=12)
    before, after = np.asarray(result.history)[[0, -1]]
    assert result.history.shape == (12, 2)
    assert (after > before).all()
    assert result.images.shape == (2, *SHAPE)
    assert result.images.dtype == jnp.float32


@pytest.mark.slow(reason="compiles an ascent of its own")
def test_a_schedule_sees_the_steps():
    rising = fv.schedule(lambda step: 1.0 * step)
    whole = maximize(rising, steps=6, composite=TWO_REDIRECTED, samples=2)
    np.testing.assert_array_equal(whole.history[:, 0], np.arange(6))
    part = maximize(rising, steps=4, composite=TWO_REDIRECTED, samples=2)
    rest = maximize(rising, steps=6, composite=TWO_REDIRECTED, samples=2, resume=part)
    np.testing.assert_array_equal(rest.history, whole.history)


@pytest.mark.slow(reason="compiles an ascent of its own")
def test_transforms_see_how_far_it_is():
    # Boxes shrink from the whole picture to a dot in its middle.
    box = fv.box_crop((8, 8), sides=(1.0, 0.0), deviation=0.0, spread=0.0)
    image = np.zeros((*SHAPE[:2], 3), np.float32)
    image[4, 6] = 1.0  # the middle is bright

    def brightness(view):
        return view.outputs.mean((1, 2, 3))

    def run(steps, resume=None):
        return fv.maximize(
            lambda w, x: x,
            fv.custom(brightness),
            None,
            key=KEY,
            parametrization=fv.from_image(fv.pixels(SHAPE), image),
            transforms=box,
            optimizer=optax.sgd(0.0),
            steps=steps,
            resume=resume,
            progress=False,
        ).history[:, 0]

    rising = np.asarray(run(8))
    assert (np.diff(rising) > -1e-6).all()
    assert rising[-1] > 3 * rising[0]
    np.testing.assert_allclose(run(3), run(5)[::2], atol=1e-6)  # the last one, too


@pytest.mark.slow(reason="opacity and its transform have tests of their own")
def test_a_picture_with_opacity_ascends():
    result = maximize(
        "second:1",
        parametrization=fv.with_alpha(fv.fourier(SHAPE)),
        transforms=fv.collapse_alpha(),
        steps=20,
        samples=4,
    )
    assert result.images.shape == (1, 9, 12, 4)
    assert result.history[-3:].mean() > result.history[:3].mean()


# --- Independence ---------------------------------------------------------------------


@pytest.mark.slow(reason="compiles an ascent for each size of a chunk")
def test_a_channel_alone_is_the_same_in_any_chunks():
    assert_independent(sizes=(4,), units=[3])


@pytest.mark.slow(reason="compiles five programs with full optimization")
def test_a_channel_alone_is_the_same_in_any_chunks_for_users(optimized):
    assert_independent(sizes=(2, 4, 6), units=[3, 1])


def assert_independent(sizes, units):
    transforms = [fv.jitter(2), fv.rotate(-5.0, 5.0), fv.crop_or_pad(SHAPE[:2])]
    options = {"transforms": transforms, "count": 2}
    every = maximize("second:*", **options)
    assert every.images.shape == (10, *SHAPE)
    for size in sizes:
        chunked = maximize("second:*", batch_size=size, **options)
        assert same(chunked.images, every.images)
        assert same(chunked.history, every.history)
    few = maximize(fv.channel("second", units), **options).images
    for i, unit in enumerate(units):
        assert same(few[2 * i : 2 * i + 2], every.images[2 * unit : 2 * unit + 2])


@pytest.mark.slow(reason="compiles two programs with full optimization")
def test_a_picture_does_not_depend_on_how_many_there_are(optimized):
    two, three = (maximize("second:1", count=count).images for count in (2, 3))
    assert same(two, three[:2])
    assert not same(three[0], three[1])


def test_the_same_key_gives_the_same_picture_and_another_gives_another():
    first, again = maximize("second:1"), maximize("second:1")
    other = maximize("second:1", key=jax.random.key(4))
    assert same(first.images, again.images)
    assert not same(first.images, other.images)


@pytest.mark.slow(reason="compiles two ascents")
def test_a_clipped_norm_is_that_of_one_unit():
    optimizer = optax.chain(optax.clip_by_global_norm(1e-3), optax.sgd(10.0))
    both = maximize("second:0,1", optimizer=optimizer)
    alone = maximize("second:1", optimizer=optimizer)
    assert same(both.images[1:], alone.images)


# --- The loop -------------------------------------------------------------------------


def test_resuming_is_not_stopping(optimized):
    call = {"objective": "second:0,1", "composite": TWO_REDIRECTED}
    whole = maximize(steps=8, snapshots=(0, 3, 8), **call)
    start = maximize(steps=5, snapshots=(0, 3), **call)
    rest = maximize(steps=8, snapshots=(8,), resume=start, **call)
    assert same(whole.images, rest.images)
    assert same(whole.history, rest.history)
    assert same(whole.importance, rest.importance)
    assert list(rest.snapshots) == [0, 3, 8]
    for number, images in whole.snapshots.items():
        assert same(images, rest.snapshots[number])
    assert same(rest.snapshots[8], rest.images)


@pytest.mark.slow(reason="compiles two ascents")
def test_a_penalty_of_places_is_shared_by_all_units():
    penalty = 1e-3 * fv.boundary_penalty(where=np.ones(SHAPE[:2]))
    several = maximize(fv.channel("second") - penalty, batch_size=2)
    alone = maximize(fv.channel("second", 3) - penalty)
    assert same(several.images[3], alone.images[0])


def test_a_result_goes_on_in_another_process():
    whole = maximize("second:0,1", steps=6)
    stored = pickle.dumps(maximize("second:0,1", steps=4))
    rest = maximize("second:0,1", steps=6, resume=pickle.loads(stored))
    assert same(whole.images, rest.images)
    assert same(whole.history, rest.history)


@pytest.mark.slow(reason="compiles an ascent of its own")
def test_steps_of_one_length_for_each_unit():
    optimizer = optax.chain(optax.normalize_by_update_norm(), optax.sgd(0.5))
    options = {"parametrization": fv.pixels(SHAPE, dtype=jnp.float64)}
    options |= {"optimizer": optimizer, "composite": DERIVATIVE}
    before, after = (
        maximize("second:*", steps=steps, **options).params for steps in (1, 2)
    )
    lengths = jnp.sqrt(((after - before) ** 2).sum((1, 2, 3, 4)))
    # Optax adds 1e-6 to the norm.
    np.testing.assert_allclose(lengths[lengths > 0], 0.5, rtol=1e-4)
    assert (lengths > 0).sum() > 2


@pytest.mark.slow(reason="compiles an ascent of all steps")
def test_one_program_of_all_steps_gives_the_same(monkeypatch):
    eager = maximize("second:0,1", steps=6)
    jitted = jax.jit(lambda key: maximize("second:0,1", key=key, steps=6, batch_size=1))
    np.testing.assert_allclose(jitted(KEY).images, eager.images, atol=1e-4)
    # As on an accelerator.
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    scanned = maximize("second:0,1", steps=6)
    np.testing.assert_allclose(scanned.images, eager.images, atol=1e-4)
    np.testing.assert_allclose(scanned.history, eager.history, atol=1e-4)


def test_one_program_serves_all_channels():
    traces = []

    def apply_fn(variables, x):
        traces.append(x.shape)
        return NET.apply(variables, x)

    def run(objective, **options):
        before = len(traces)
        fv.maximize(
            apply_fn,
            objective,
            VARIABLES,
            key=KEY,
            parametrization=fv.fourier(SHAPE),
            progress=False,
            **options,
        )
        return len(traces) - before

    first = run("second:0", steps=3)
    shapes_alone = run("second:4", steps=3)
    assert shapes_alone < first
    assert run(fv.channel("second", [2]), steps=7) == shapes_alone


def test_a_chunk_more_traces_nothing():
    traces = []

    def apply_fn(variables, x):
        traces.append(x.shape)
        return NET.apply(variables, x)

    def run(count):
        before = len(traces)
        objective = fv.channel("second", np.arange(count))
        picture = fv.fourier(SHAPE)
        fv.maximize(
            apply_fn,
            objective,
            VARIABLES,
            key=KEY,
            parametrization=picture,
            steps=2,
            batch_size=1,
            progress=False,
        )
        return len(traces) - before

    run(1)
    assert run(4) == run(1)


def test_steps_in_parts_compile_nothing_and_change_nothing():
    traces = []

    def apply_fn(variables, x):
        traces.append(x.shape)
        return NET.apply(variables, x)

    def run(steps, resume=None):
        given = (apply_fn, "second:1", VARIABLES)
        options = {"steps": steps, "resume": resume, "composite": TWO_REDIRECTED}
        options |= {"key": KEY, "parametrization": fv.fourier(SHAPE)}
        return fv.maximize(*given, progress=False, **options)

    whole = run(8)
    first, part = len(traces), None
    for steps in (2, 4, 6, 8):
        traces.clear()
        part = run(steps, part)
        assert len(traces) < first  # shapes are looked up, the programs are there
    assert same(part.images, whole.images)
    assert same(part.history, whole.history)


def test_no_steps_give_the_first_pictures():
    none = maximize("second:1", steps=0, snapshots=(0,))
    some = maximize("second:1", steps=2, snapshots=(0,))
    assert none.history.shape == (0, 1)
    assert same(none.images, some.snapshots[0])
    assert same(none.images, none.snapshots[0])


def test_later_layers_are_not_computed():
    def flops(objective):
        model, bound, keys = _parts(objective)
        fixed = (VARIABLES, fv.fourier(SHAPE), bound, keys, jnp.asarray(1))
        ascent = Ascent(model, fv.compose(()), optax.adam(0.1), 1, 1, False)
        start = first_state(ascent.optimizer, 1, fv.fourier(SHAPE), keys)
        jitted = jax.jit(lambda fixed, state: step(ascent, fixed, state, 0))
        return jitted.lower(fixed, start).compile().cost_analysis()["flops"]

    first, second = flops("first:0"), flops("second:0")
    assert first < 0.9 * second


def _parts(objective):
    objective = fv.as_objective(objective)
    image = jax.ShapeDtypeStruct(SHAPE, jnp.float32)
    model, shapes = reader(NET.apply, objective, VARIABLES, image)
    bound = objective.bound(shapes)
    return model, bound, unit_keys(KEY, bound)


def test_computing_activations_again_changes_nothing():
    kept = maximize("second:1", samples=2)
    again = maximize("second:1", samples=2, rematerialize=True)
    np.testing.assert_allclose(kept.images, again.images, atol=1e-5)


@pytest.mark.slow(reason="compiles two ascents")
def test_several_transforms_are_averaged():
    # Of an even sum over a picture and its mirror image, nothing odd is left.
    def apply_fn(w, x):
        return (x[..., 0] * w[None]).sum((1, 2))[:, None]

    weights = jnp.array([[1.0, 0.0]], jnp.float32)
    result = fv.maximize(
        apply_fn,
        fv.output(0),
        weights,
        key=KEY,
        parametrization=fv.pixels((1, 2, 1), scale=0.0),
        transforms=[fv.flip()],
        samples=64,
        steps=1,
        optimizer=optax.sgd(1.0),
        progress=False,
    )
    left, right = np.asarray(result.images).ravel()
    assert left > 0.5
    assert right > 0.5
    assert abs(left - right) < 0.1


# --- The backward pass ----------------------------------------------------------------


def test_a_dead_unit_is_woken():
    def apply_fn(w, x):
        return jax.nn.relu(x.mean(axis=(1, 2, 3)) - 0.6)[:, None]

    def run(composite):
        return fv.maximize(
            apply_fn,
            fv.output(0),
            None,
            key=KEY,
            parametrization=fv.pixels((2, 2, 1)),
            steps=40,
            composite=composite,
            progress=False,
        ).history[-1, 0]

    assert run(DERIVATIVE) == 0
    assert run({0: ji.rules.redirected(), 16: DERIVATIVE}) > 0.1


@pytest.mark.parametrize("number", [3, 5])
def test_the_rules_of_the_first_steps_are_those_of_no_others(number):
    schedule = {0: linearized(), number: DERIVATIVE}
    options = {"optimizer": _STEP, "composite": schedule}
    start, whole = (maximize("second:1", steps=n, **options) for n in (number, 8))
    plain = {"optimizer": _STEP, "composite": DERIVATIVE}
    alone = maximize("second:1", steps=8, resume=start, **plain)
    np.testing.assert_allclose(whole.images, alone.images, atol=1e-6)
    always = maximize("second:1", steps=8, **{**options, "composite": linearized()})
    assert np.abs(np.asarray(always.images) - np.asarray(whole.images)).max() > 1e-4


def test_a_composite_replaces_the_derivative():
    plain = maximize("second:1", composite=DERIVATIVE)
    linear = maximize("second:1", composite=linearized())
    assert np.abs(np.asarray(plain.images) - linear.images).max() > 1e-3


def test_by_default_sixteen_steps_are_redirected():
    schedule = {16: DERIVATIVE, 0: ji.rules.redirected()}
    default = maximize("second:1", steps=18)
    assert same(
        maximize("second:1", steps=18, composite=schedule).images, default.images
    )
    schedule = {0: linearized(), 2: DERIVATIVE, 4: linearized()}
    three = maximize("second:1", steps=6, composite=schedule)
    for number in (2, 4):
        del schedule[number]
        others = maximize("second:1", steps=6, composite=schedule)
        assert np.abs(np.asarray(three.images) - others.images).max() > 1e-4


# --- Models ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "dtype"),
    few(
        [
            ((7, 11, 7), jnp.bfloat16),
            ((8, 8, 1), jnp.float32),
            ((16, 5, 3), jnp.float64),
        ],
        1,
        reason="more of such pairs",
    ),
)
def test_any_size_channels_and_dtype(shape, dtype):
    net = Net()
    variables = net.init(jax.random.key(0), jnp.zeros((1, *shape), jnp.float32))
    variables = jax.tree.map(lambda leaf: leaf.astype(dtype), variables)
    result = maximize(
        "first:0,1",
        apply_fn=with_preprocess(net.apply, _Cast(dtype)),
        variables=variables,
        shape=shape,
        transforms=[fv.jitter(1)],
    )
    assert result.images.shape == (2, *shape)
    assert result.images.dtype == jnp.float32
    assert (np.asarray(result.images) >= 0).all()
    assert (np.asarray(result.images) <= 1).all()


@dataclasses.dataclass(frozen=True)
class _Cast:
    dtype: object

    def __call__(self, images):
        return images.astype(self.dtype)


def test_a_half_precision_picture():
    picture = fv.pixels(SHAPE, dtype=jnp.bfloat16)
    model = with_preprocess(NET.apply, _Cast(jnp.float32))
    result = maximize("first:1", parametrization=picture, apply_fn=model)
    assert result.images.dtype == jnp.bfloat16
    assert result.history[-1, 0] > result.history[0, 0]


@pytest.mark.slow(reason="compiles four ascents through a transformer")
def test_tokens_have_channels_last():
    net = ji.models.ViT(
        image_size=8, patch_size=4, width=8, depth=1, heads=2, classes=3
    )
    x = jnp.zeros((1, 8, 8, 3), jnp.float32)
    variables = net.init(jax.random.key(0), x)
    site = next(
        a for a in ji.trace(net.apply, variables, x).sites if a.endswith("gelu")
    )
    sites = ji.trace(net.apply, variables, x).sites
    heads = next(a for a in sites if a.endswith("attention/heads"))
    residual = next(a for a in sites if a.endswith("residual"))
    for objective in (
        fv.channel(site, [0, 1, 2]),
        fv.channel(heads, [0, 1], position=(None, 1)),
        fv.direction(residual, np.eye(8, dtype=np.float32)[:2]),
        fv.direction(residual, np.eye(8, dtype=np.float32)[3], position=(1,)),
    ):
        result = fv.maximize(
            net.apply,
            objective,
            variables,
            key=KEY,
            parametrization=fv.fourier((8, 8, 3)),
            steps=10,
            progress=False,
        )
        assert (result.history[-1] > result.history[0]).all()


@pytest.mark.slow(reason="compiles an ascent of its own")
def test_states_of_a_loop_have_the_pictures_first():
    def apply_fn(w, x):  # (batch, time, features)
        def cell(state, now):
            state = jnp.tanh(state @ w["state"] + now @ w["input"])
            return state, state

        start = jnp.zeros((x.shape[0], 4), x.dtype)
        return jax.lax.scan(cell, start, jnp.moveaxis(x, 1, 0))[0]

    keys = jax.random.split(jax.random.key(2))
    w = {
        "state": jax.random.normal(keys[0], (4, 4), jnp.float32),
        "input": jax.random.normal(keys[1], (2, 4), jnp.float32),
    }
    _, found = ji.capture(apply_fn, "*tanh")(w, jnp.ones((3, 6, 2), jnp.float32))
    (site,) = found
    assert found[site].shape == (6, 3, 4)
    result = fv.maximize(
        apply_fn,
        fv.neuron(site, [0, 3], position=(2,)),
        w,
        key=KEY,
        parametrization=fv.pixels((6, 2)),
        steps=30,
        progress=False,
    )
    assert result.images.shape == (2, 6, 2)
    moved = np.abs(np.asarray(result.images) - 0.5).max(axis=(0, 2))
    assert moved[:3].min() > 0.1
    assert moved[3:].max() < 0.05  # what comes later plays no part


def test_a_volume_and_a_signal():
    for shape in ((6, 2), (4, 5, 6, 1)):
        result = fv.maximize(
            lambda w, x: jnp.tanh(x - 0.5),
            fv.channel("tanh", 0),
            None,
            key=KEY,
            parametrization=fv.pixels(shape),
            steps=10,
            progress=False,
        )
        assert result.images.shape == (1, *shape)
        assert result.history[-1, 0] > result.history[0, 0]


# --- Errors ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"steps": -1}, ValueError, "`steps` must be an integer of at least 0"),
        ({"count": 0}, ValueError, "`count` must be an integer of at least 1"),
        ({"samples": 0}, ValueError, "`samples`"),
        ({"count": 3, "batch_size": 2}, ValueError, "`batch_size`.* at least 3"),
        ({"batch_size": 0}, ValueError, "`batch_size`.* at least 1"),
        ({"composite": {1: DERIVATIVE}}, ValueError, r"from step 0 on.*steps \[1\]"),
        ({"composite": {0: DERIVATIVE, -1: DERIVATIVE}}, ValueError, "one is -1"),
        ({"composite": {0: DERIVATIVE, 0.5: DERIVATIVE}}, ValueError, "one is 0.5"),
        ({"composite": {0: DERIVATIVE, 2: "lrp"}}, ValueError, "is 'lrp'. There are"),
        ({"snapshots": (9,)}, ValueError, "`snapshots` are numbers of steps, 0..5"),
        ({"snapshots": (1.5,)}, ValueError, "and one is 1.5"),
        ({"snapshots": 2}, TypeError, "`snapshots=\\(8, 64\\)`, and are 2"),
        ({"optimizer": optax.lbfgs()}, TypeError, "gradients and parameters alone"),
        (
            {"apply_fn": with_preprocess(NET.apply, to_bytes)},
            TypeError,
            "no derivative",
        ),
        ({"variables": {"params": "w"}}, TypeError, "from_equinox"),
        ({"key": 0}, TypeError, "needs one key"),
        ({"key": jax.random.PRNGKey(0)}, TypeError, "needs one key"),
        ({"key": jax.random.split(KEY)}, TypeError, "needs one key"),
        ({"objective": fv.channel("second", np.arange(0))}, ValueError, "no units"),
        ({"resume": 3}, TypeError, "an earlier `Result`"),
        ({"parametrization": SHAPE}, TypeError, "`parametrization=fourier"),
        ({"optimizer": 0.1}, TypeError, "optax.adam"),
        ({"composite": "lrp"}, ValueError, "is 'lrp'. There are"),
        ({"objective": "third:1"}, ValueError, "No site matches"),
        ({"objective": "second:5"}, ValueError, "5"),
        ({"objective": "second"}, ValueError, "second:3"),
        ({"objective": 3}, TypeError, "An objective was expected"),
    ],
)
def test_what_cannot_be_is_an_error(unchecked, options, error, message):
    options = dict(options)
    with pytest.raises(error, match=message):
        maximize(options.pop("objective", "second:1"), **options)


def test_a_model_that_is_no_function_is_an_error(unchecked):
    with pytest.raises(TypeError, match=r"model\.apply"):
        fv.maximize(3, "a:1", None, key=KEY, parametrization=fv.pixels((2, 2, 1)))


def test_a_relu_in_a_loop_asks_for_the_derivative():
    def apply_fn(w, x):
        def cell(state, now):
            state = jax.nn.relu(state + now)
            return state, state

        return jax.lax.scan(cell, jnp.zeros_like(x[:, 0]), jnp.moveaxis(x, 1, 0))[0]

    def run(**options):
        return fv.maximize(
            apply_fn,
            fv.output(0),
            None,
            key=KEY,
            parametrization=fv.pixels((3, 2)),
            steps=3,
            progress=False,
            **options,
        )

    with pytest.raises(NotImplementedError, match=r"\[\('\*', Gradient\(\)\)\]"):
        run()
    assert run(composite=Composite([("*", Gradient())])).images.shape == (1, 3, 2)


def test_a_result_with_more_steps_cannot_be_resumed():
    with pytest.raises(ValueError, match="has taken 5 steps"):
        maximize("second:1", steps=3, resume=maximize("second:1"))
    with pytest.raises(ValueError, match="kept no images after 2 of them"):
        maximize("second:1", steps=8, snapshots=(2,), resume=maximize("second:1"))


@pytest.mark.parametrize(
    "options", [{"count": 2}, {"objective": "second:1,2"}, {"optimizer": optax.sgd(1)}]
)
def test_another_call_cannot_be_resumed(options):
    given = dict(options)
    with pytest.raises(ValueError, match="another parametrization, another optimizer"):
        maximize(
            given.pop("objective", "second:1"),
            steps=8,
            resume=maximize("second:1"),
            **given,
        )


@pytest.mark.slow(reason="compiles two ascents")
def test_outputs_that_are_not_of_pictures_are_left_out():
    def apply_fn(variables, x):
        return {"logits": NET.apply(variables, x), "loss": jnp.zeros(()), "n": 3}

    def run(objective):
        return fv.maximize(
            apply_fn,
            objective,
            VARIABLES,
            key=KEY,
            parametrization=fv.fourier(SHAPE),
            steps=2,
            progress=False,
        ).images

    assert same(run("second:1,2"), maximize("second:1,2", steps=2).images)
    assert same(
        run(fv.output(1, head="logits")), maximize(fv.output(1), steps=2).images
    )
    with pytest.raises(ValueError, match="loss"):
        run(fv.output(0, head="loss"))


def test_a_weight_and_a_sign_do_not_change_the_noise():
    plain = maximize("second:4", steps=0).images
    for objective in (2 * fv.channel("second", 4), fv.channel("second", -1)):
        assert same(maximize(objective, steps=0).images, plain)


def test_more_room_than_pictures_changes_nothing():
    sizes = []

    def apply_fn(variables, x):
        sizes.append(x.shape[0])
        return NET.apply(variables, x)

    fv.maximize(
        apply_fn,
        "second:0-2",
        VARIABLES,
        key=KEY,
        parametrization=fv.pixels(SHAPE),
        steps=1,
        batch_size=64,
        progress=False,
    )
    assert max(sizes) == 3


@pytest.mark.slow(reason="compiles one ascent twice")
def test_one_transform_is_a_list_of_one():
    one = maximize("second:1", transforms=fv.jitter(2))
    assert same(one.images, maximize("second:1", transforms=[fv.jitter(2)]).images)


@pytest.mark.slow(reason="compiles a whole recipe")
def test_a_recipe_is_known_by_its_name():
    named = maximize("second:1", transforms="lucid")
    assert same(
        named.images, maximize("second:1", transforms=fv.recipe("lucid")).images
    )
    with pytest.raises(ValueError, match=r"`transforms` is 'lucent'\. There are: 'luc"):
        maximize("second:1", transforms="lucent")


def test_of_a_shape_the_parametrization_is_that_of_frequencies():
    options = {"key": KEY, "steps": 5, "progress": False}
    result = fv.maximize(NET.apply, "second:1", VARIABLES, shape=SHAPE, **options)
    assert same(result.images, maximize("second:1").images)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "`shape=\\(128, 128, 3\\)`.* neither was given"),
        ({"shape": SHAPE, "parametrization": fv.pixels(SHAPE)}, "both was given"),
        ({"shape": (1, *SHAPE)}, "Drop the first axis: write \\(9, 12, 3\\)"),
    ],
)
def test_the_shape_is_said_once(options, message):
    with pytest.raises(ValueError, match=message):
        fv.maximize(NET.apply, "second:1", VARIABLES, key=KEY, **options)


def test_units_that_differ_in_number_are_an_error():
    with pytest.raises(ValueError, match="different numbers of units"):
        maximize(fv.channel("second", [0, 1]) + fv.channel("first", [0, 1, 2]))


def test_nan_of_one_unit_is_a_warning_and_of_all_an_error():
    layers = VARIABLES["params"]
    bias = layers["second"]["bias"].at[1].set(jnp.nan)
    layers = layers | {"second": layers["second"] | {"bias": bias}}
    variables = {"params": layers}
    with pytest.warns(UserWarning, match="NaN at step 0, for image 1"):
        result = maximize("second:0,1", variables=variables)
    assert same(result.images[0], maximize(fv.channel("second", 0)).images[0])
    with pytest.raises(FloatingPointError, match="The first image has no score"):
        maximize("second:1", variables=variables)


def test_nan_of_the_last_step_is_an_error():
    def root_of_nothing(view):
        return jnp.sqrt(0 * jnp.abs(view.activations["second"]).sum((1, 2, 3)))

    with pytest.raises(FloatingPointError, match="last step made 1 images NaN"):
        maximize(fv.custom(root_of_nothing, "second"), steps=1)


@pytest.mark.slow(reason="compiles two ascents")
def test_keys_of_another_kind_give_pictures_that_stand_alone():
    key = jax.random.key(0, impl="rbg")
    every = maximize("second:0-2", key=key, steps=2)
    assert same(maximize("second:1", key=key, steps=2).images[0], every.images[1])
    chunked = maximize("second:0-2", key=key, steps=2, batch_size=1)
    assert same(chunked.images, every.images)


def test_what_cannot_be_hashed_is_known_by_its_identity():
    @dataclasses.dataclass
    class Halved:
        traced: int = 0

        def __call__(self, x):
            self.traced += 1
            return x / 2

    preprocess = Halved()
    maximize("second:1", apply_fn=with_preprocess(NET.apply, preprocess), steps=2)
    once = preprocess.traced
    maximize("second:2", apply_fn=with_preprocess(NET.apply, preprocess), steps=2)
    assert preprocess.traced - once < once


def test_numpy_integers_are_integers():
    given = {"steps": np.int64(3), "count": np.int32(2), "snapshots": np.array([1, 2])}
    result = maximize("second:1", batch_size=np.int64(4), **given)
    assert same(result.images, maximize("second:1", steps=3, count=2).images)
    assert list(result.snapshots) == [1, 2]


def test_importance_is_where_the_objective_looks():
    def apply_fn(w, x):
        return jnp.tanh(x[:, 2, 1] @ w)

    result = fv.maximize(
        apply_fn,
        "tanh:0-1",
        jnp.array([[1.0, 2.0], [-3.0, 0.0], [0.0, 0.0]]),
        key=KEY,
        parametrization=fv.pixels((4, 3, 3)),
        steps=2,
        count=2,
        progress=False,
    )
    assert result.importance.shape == (4, 4, 3)
    looked = np.zeros((4, 3), bool)
    looked[2, 1] = True
    assert ((np.asarray(result.importance) > 0) == looked).all()
    # Without optimization, the derivative itself: |w| (1 - tanh(xw)^2), once a step.
    still = fv.maximize(
        lambda w, x: x[:, 2, 1] @ w,
        fv.output(0),
        jnp.array([[1.0], [-3.0], [0.0]]),
        key=KEY,
        parametrization=fv.pixels((4, 3, 3)),
        steps=3,
        optimizer=optax.sgd(0.0),
        progress=False,
    )
    np.testing.assert_allclose(still.importance[0, 2, 1], 3 * 4, rtol=1e-6)


def test_a_site_without_the_pictures_in_front_is_an_error():
    with pytest.raises(ValueError, match="whose axis 0 should have length 2"):
        fv.maximize(
            lambda w, x: jnp.tanh(x.sum(axis=0)),
            fv.channel("tanh", 0),
            None,
            key=KEY,
            parametrization=fv.pixels((3, 3, 1)),
            progress=False,
        )


def test_an_objective_that_mixes_pictures_is_an_error():
    mixed = fv.custom(lambda view: view.images.mean(axis=(1, 2)))
    with pytest.raises(ValueError, match="one number for each image"):
        maximize(mixed)


class Batched(nn.Module):
    """A batch norm that uses the statistics of the batch."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(4, (3, 3), name="conv")(x)
        x = nn.BatchNorm(use_running_average=False, name="norm")(x)
        return jnp.tanh(x).mean((1, 2))


@pytest.mark.slow(reason="compiles three ascents")
def test_pictures_that_depend_on_one_another_are_warned_of():
    x = jnp.zeros((2, 8, 8, 3), jnp.float32)
    net = Batched()
    variables = net.init(jax.random.key(0), x)

    def apply_fn(variables, x):
        return net.apply(variables, x, mutable=["batch_stats"])[0]

    options = {"key": KEY, "parametrization": fv.pixels((8, 8, 3)), "steps": 1}
    options |= {"progress": False, "composite": DERIVATIVE}
    message = "(?s)depends on the images beside it.*test_maximize.py.*train=False"
    for objective in (fv.output(1), fv.channel("*tanh", 1)):
        with pytest.warns(UserWarning, match=message):
            fv.maximize(apply_fn, objective, variables, **options)
    with pytest.warns(UserWarning, match=message):
        fv.dataset_examples(apply_fn, fv.output(1), variables, [x], k=1)
    # What comes before it does not depend on it.
    fv.maximize(apply_fn, fv.channel("*conv", 1), variables, **options)


def test_no_steps_under_jit():
    def run(variables):
        return maximize("second:1", steps=0, variables=variables).images

    np.testing.assert_array_equal(jax.jit(run)(VARIABLES), run(VARIABLES))


@pytest.mark.parametrize("index", [5, -6, -7])
def test_a_traced_channel_that_is_not_there_is_no_number(index):
    run = jax.jit(lambda i: maximize(fv.channel("second", i), steps=1).history)
    assert np.isnan(run(index)).all()
    assert np.isfinite(run(-5)).all()


def test_an_index_of_nothing_is_no_unit():
    nothing = fv.channel("second", np.array([], int))
    for objective in (nothing, 2 * nothing, nothing + fv.channel("second", 1)):
        with pytest.raises(ValueError, match="no units: an index is empty"):
            maximize(objective)


@pytest.mark.slow(reason="compiles two ascents")
def test_without_a_number_few_pictures_are_computed_at_once_on_cpu(monkeypatch):
    monkeypatch.setattr(chunks, "CACHE_BYTES", 15_000)
    seen = []

    def apply_fn(variables, x):
        seen.append(x.shape[0])
        return NET.apply(variables, x)

    options = {"key": KEY, "parametrization": fv.fourier(SHAPE), "steps": 2}
    options |= {"progress": False, "composite": DERIVATIVE}
    few = fv.maximize(apply_fn, "second:*", VARIABLES, **options)
    assert set(seen) == {2, 3}  # to look at shapes, and 5 units in two parts
    every = fv.maximize(NET.apply, "second:*", VARIABLES, batch_size=5, **options)
    np.testing.assert_allclose(few.images, every.images, atol=2**-20)


def test_an_error_of_the_model_says_what_it_was_shown():
    image = jnp.zeros(SHAPE, jnp.float32)
    with pytest.raises(Exception, match="shape") as found:
        fv.invert(NET.apply, "second", VARIABLES, image)
    note = "\n".join(found.value.__notes__)
    assert "float32[2, 12, 3]: two images of shape (12, 3)" in note
    assert "images have the batch in front" in note
    with pytest.raises(Exception, match="shape") as found:
        maximize("second:0", apply_fn=with_preprocess(NET.apply, lambda x: x[..., :2]))
    note = "\n".join(found.value.__notes__)
    assert f"two images of shape {SHAPE}" in note
    assert "jaxinterp.models.with_preprocess(apply_fn, preprocess)" in note

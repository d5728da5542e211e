"""Dataset examples against a full sort in NumPy, however the stream is cut."""

import dataclasses
import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp import featurevis as fv
from jaxinterp.featurevis.responses.dataset_examples import (
    DatasetExamples,
    _check_resume,
    dataset_examples,
)
from jaxinterp.models import with_preprocess
from jaxinterp.objectives.direction import direction
from jaxinterp.objectives.objective import custom
from jaxinterp.objectives.output import output
from jaxinterp.objectives.scorer import check_places, scorer
from jaxinterp.objectives.unit import channel, neuron
from jaxinterp.tracing.errors import AddressError

RNG = np.random.default_rng(0)
W = RNG.normal(size=(3, 5))
IMAGES = RNG.normal(size=(23, 4, 6, 3))
KEY = jax.random.key(3)


def model(w: Any, x: Any) -> Any:
    return jnp.tanh(jnp.einsum("nhwc,cd->nhwd", x, w))


def activations(images: np.ndarray) -> np.ndarray:
    return np.tanh(np.einsum("nhwc,cd->nhwd", images, W))


def cut(images: Any, size: int) -> list[Any]:
    return [images[i : i + size] for i in range(0, len(images), size)]


def find(batches: Any, objective: Any = "tanh:*", **options: Any) -> DatasetExamples:
    return dataset_examples(model, objective, W, batches, **options)


def by_sorting(keys: np.ndarray, k: int) -> np.ndarray:
    """The `k` largest of each unit; of equal ones the first, as a person would."""
    rows = []
    for row in keys:
        rows.append(sorted(range(len(row)), key=lambda i: (-row[i], i))[:k])
    return np.array(rows)


def same(one: Any, other: Any) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)


def close(one: Any, other: Any) -> bool:
    """Equal choices; scores may differ by how a program for other sizes rounds."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(
        np.array_equal(a, b)
        if np.issubdtype(np.asarray(a).dtype, np.integer)
        else np.allclose(a, b, rtol=1e-12, atol=1e-12, equal_nan=True)
        for a, b in pairs
    )


@pytest.mark.parametrize(
    ("size", "by"),
    [
        (4, "image"),
        (4, "place"),
        (50, "image"),
        *[
            pytest.param(*pair, marks=pytest.mark.slow(reason="another such pair"))
            for pair in [(1, "image"), (1, "place"), (50, "place")]
        ],
    ],
)
def test_it_is_a_full_sort(size: int, by: str) -> None:
    found = find(cut(IMAGES, size), k=4, by=by)
    maps = activations(IMAGES).reshape(23, -1, 5)
    scores = (maps.mean(axis=1) if by == "image" else maps.max(axis=1)).T
    is_place = by == "place"  # then it is the best place that has the score
    for chosen, keys, ranks in (
        (found.top, scores, maps),
        (found.bottom, -scores, maps if is_place else -maps),
        (found.near_zero, -np.abs(scores), maps if is_place else -np.abs(maps)),
    ):
        expected = by_sorting(keys, 4)
        assert np.array_equal(chosen.indices, expected)
        at = np.take_along_axis(scores, expected, axis=1)
        np.testing.assert_allclose(chosen.scores, at, rtol=1e-12)
        for unit, row in enumerate(expected):
            for j, picture in enumerate(row):
                place = np.unravel_index(ranks[picture, :, unit].argmax(), (4, 6))
                assert tuple(np.asarray(chosen.positions)[unit, j].tolist()) == place


@pytest.mark.parametrize("size", [1, 5])
def test_equal_scores_come_in_order_whatever_the_batches(size: int) -> None:
    images = np.repeat(RNG.integers(-1, 2, size=(12, 1, 1, 1)), 3, axis=3) * 1.0
    images[5] = -0.0  # as good as 0.0
    found = find(cut(images, size), direction("tanh", W[0][None]), k=6)
    scores = (activations(images)[:, 0, 0] @ W[0])[None].round(9)
    assert np.array_equal(found.top.indices, by_sorting(scores, 6))
    assert np.array_equal(found.bottom.indices, by_sorting(-scores, 6))
    assert np.array_equal(found.near_zero.indices, by_sorting(-abs(scores), 6))


def test_too_few_pictures_are_said_to_be_missing() -> None:
    found = find([IMAGES[:2]], k=4, quantiles=(0.5,), key=KEY, sample_size=9)
    around = jax.tree.map(lambda leaf: leaf[:, 0], found.quantiles)
    for chosen in (found.top, found.bottom, found.near_zero, around):
        assert np.all(np.asarray(chosen.indices)[:, 2:] == -1)
        assert np.isnan(np.asarray(chosen.scores)[:, 2:]).all()
        assert np.all(np.asarray(chosen.positions)[:, 2:] == -1)
        assert set(np.asarray(chosen.indices)[0, :2].tolist()) == {0, 1}


def test_an_infinite_score_is_a_score() -> None:
    lowest = custom(lambda view: jnp.log(jnp.abs(view.images).sum((1, 2, 3))))
    images = IMAGES[:4].copy()
    images[2] = 0
    found = find(cut(images, 3), lowest, k=9)
    assert found.bottom.indices[0, 0] == found.top.indices[0, 3] == 2
    assert np.isneginf(found.bottom.scores[0, 0])
    assert np.all(np.asarray(found.top.indices)[:, 4:] == -1)


@pytest.mark.parametrize("size", [4, 23])
def test_quantiles_are_those_of_the_sorted_scores(size: int) -> None:
    found = find(cut(IMAGES, size), k=3, quantiles=(0.0, 0.5, 1.0), key=KEY)
    scores = activations(IMAGES).mean(axis=(1, 2)).T
    order = np.argsort(scores, axis=1, kind="stable")
    for i, low in enumerate((0, 10, 20)):
        expected = order[:, low : low + 3]
        assert np.array_equal(found.quantiles.indices[:, i], expected)
        np.testing.assert_allclose(
            found.quantiles.scores[:, i], np.take_along_axis(scores, expected, 1)
        )


@pytest.mark.parametrize("at", [4, 20])
def test_going_on_is_as_if_never_stopped(at: int) -> None:
    options = {"k": 3, "quantiles": (0.1, 0.9), "sample_size": 11, "key": KEY}
    whole = find(cut(IMAGES, 4), **options)
    part = find(cut(IMAGES[:at], 4), **options)
    kept = jax.tree.map(np.asarray, part.state)  # as if read from a file
    rest = find(cut(IMAGES[at:], 4), resume=kept, **options)
    assert same(rest, whole)


def test_one_compilation_and_one_pass_of_the_model_serve_all_batches() -> None:
    traced, ran = [], []

    def counted(w: Any, x: Any) -> Any:
        traced.append(x.shape)
        jax.debug.callback(lambda: ran.append(1))
        return model(w, x)

    batches = cut(IMAGES, 4)
    dataset_examples(counted, channel("tanh"), W, batches[:1])
    once = len(traced)
    traced.clear()
    jax.effects_barrier()
    ran.clear()
    dataset_examples(counted, channel("tanh"), W, batches)
    jax.effects_barrier()
    assert len(traced) == once
    assert len(ran) == len(batches)


def test_units_share_what_the_model_computes() -> None:
    """No array of the program is larger than the scores of all units and places."""
    images = jnp.asarray(IMAGES)
    w = jnp.asarray(RNG.normal(size=(3, 100)))
    found, bound = scorer(model, channel("tanh"), w, images)
    jaxpr = jax.make_jaxpr(found)(w, bound, images)
    largest = max(np.prod(v.aval.shape) for e in jaxpr.jaxpr.eqns for v in e.outvars)
    assert largest <= 23 * 4 * 6 * 100


@pytest.mark.parametrize(
    ("objective", "has_places"),
    [
        (channel("tanh", [1, 2]), True),
        (2 * channel("tanh", 1) - channel("tanh", 2), True),
        (-direction("tanh", W[:1]), True),
        (neuron("tanh", 1), False),
        (neuron("tanh", 1, position=(0, 0)), False),
        (channel("tanh", 1, position=(None, 0)), False),
        (channel("tanh", 1) ** 2, False),
        (channel("tanh", 1) * channel("tanh", 2), False),
        (output(1), False),
        (channel("tanh", 1) + output(1), True),
        (custom(lambda view: view.activations["tanh"][:, 3, 5, 0], "tanh"), False),
        (custom(lambda view: view.activations["tanh"].mean((1, 2, 3)), "tanh"), True),
    ],
)
def test_positions_are_given_where_the_objective_is_a_mean_over_places(
    objective: Any, has_places: bool
) -> None:
    found, _ = scorer(model, objective, W, IMAGES)
    assert found.places == ((4, 6) if has_places else None)


def test_without_places_no_picture_is_scored_by_them() -> None:
    assert find([IMAGES], neuron("tanh", 1)).top.positions.shape == (1, 9, 0)
    with pytest.raises(ValueError, match="mean over the places of one"):
        find([IMAGES], neuron("tanh", 1), by="place")


def test_logits_need_no_places() -> None:
    def classifier(w: Any, x: Any) -> Any:
        return x.mean(axis=(1, 2)) @ w

    found = dataset_examples(classifier, output(), W, cut(IMAGES, 5), k=2)
    assert np.array_equal(
        found.top.indices, by_sorting((IMAGES.mean(axis=(1, 2)) @ W).T, 2)
    )


def test_half_precision_is_ranked_in_single() -> None:
    w, images = jnp.asarray(W, jnp.bfloat16), jnp.asarray(IMAGES, jnp.bfloat16)
    found = dataset_examples(model, channel("tanh"), w, [images], k=2)
    assert found.top.scores.dtype == jnp.float32
    expected = np.asarray(model(w, images), np.float32).mean(axis=(1, 2)).T
    np.testing.assert_allclose(found.top.scores[:, 0], expected.max(axis=1), rtol=1e-5)


def test_preprocessing_is_done_on_the_way() -> None:
    shifted = dataset_examples(
        with_preprocess(model, lambda images: images - 1),
        "tanh:*",
        W,
        [IMAGES + 1.0],
        k=2,
    )
    assert np.array_equal(shifted.top.indices, find([IMAGES], k=2).top.indices)


def test_a_score_that_is_no_number_names_its_batch() -> None:
    images = IMAGES.copy()
    images[13, 0, 0, 0] = np.nan
    with pytest.raises(FloatingPointError, match=r"example 13 .*, in batch 3\."):
        find(cut(images, 4))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "`k` must be an integer of at least 1, and is 0"),
        ({"quantiles": (1.5,), "key": KEY}, "between 0 and 1, and there is 1.5"),
        ({"quantiles": (0.5,)}, "needs a key"),
        ({"quantiles": (0.5,), "key": KEY, "sample_size": 3}, "at least `k`, and is 3"),
        ({"resume": find([IMAGES], k=2).state}, "k=2, a sample of 0,"),
    ],
)
def test_arguments_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find([IMAGES], **options)


def test_what_was_kept_must_be_a_state() -> None:
    found = find([IMAGES])
    with pytest.raises(TypeError, match=r"`state` of what .* DatasetExamples"):
        _check_resume(found, found.state)


def test_there_are_two_ways_to_score_a_picture() -> None:
    found, _ = scorer(model, "tanh:*", W, IMAGES)
    with pytest.raises(ValueError, match="'image' or 'place', and is 'places'"):
        check_places(found, "places")


def test_sites_and_units_that_do_not_exist() -> None:
    with pytest.raises(AddressError):
        find([IMAGES], "nowhere:*")
    with pytest.raises(ValueError, match="There is no channel of 'tanh' 7"):
        find([IMAGES], "tanh:7")


SHARDED = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from jaxinterp.featurevis import activation_distribution, dataset_examples

assert len(jax.devices()) == 8
images = np.random.default_rng(0).normal(size=(35, 4, 4, 3)).astype(np.float32)
w = np.random.default_rng(1).normal(size=(3, 5)).astype(np.float32)
model = lambda w, x: jnp.tanh(jnp.einsum("nhwc,cd->nhwd", x, w))
mesh = Mesh(np.array(jax.devices()), ("batch",))

def both(batches, w=w):
    found = dataset_examples(model, "tanh:*", w, batches(), k=3, quantiles=(0.5,),
                             key=jax.random.key(0), sample_size=10)
    return found, activation_distribution(model, "tanh:*", w, batches(), by="place")

compiled = []
jax.monitoring.register_event_duration_secs_listener(
    lambda name, *_, **__: compiled.append(name) if "backend_compile" in name else 0)
at_batch = []

def spread():
    cut = [images[i : i + 8] for i in range(0, 32, 8)]
    for batch in [jax.device_put(b, NamedSharding(mesh, P("batch"))) for b in cut]:
        at_batch.append(len(compiled))
        yield batch
    yield jnp.asarray(images[32:])

one = both(lambda: [images[i : i + 8] for i in range(0, 35, 8)])
many = both(spread)
assert len(many[0].state.best[0].scores.sharding.device_set) == 8
assert at_batch[0] < at_batch[1] == at_batch[3], at_batch
assert at_batch[4] < at_batch[5] == at_batch[7], at_batch
for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(many), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
replicated = both(spread, jax.device_put(w, NamedSharding(mesh, P())))
for a, b in zip(jax.tree.leaves(many), jax.tree.leaves(replicated), strict=True):
    np.testing.assert_array_equal(a, b)
print("same")
"""


@pytest.mark.slow(reason="compiles in a process with eight devices")
def test_spread_over_devices_it_is_the_same() -> None:
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
    }
    run = subprocess.run(
        [sys.executable, "-c", SHARDED],
        cwd=Path(__file__).resolve().parents[3],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (0, "same\n"), run.stderr[-3000:]


def test_another_score_is_not_gone_on_with() -> None:
    before = find(cut(IMAGES, 8), "tanh:*", by="image")
    with pytest.raises(ValueError, match=r"(?s)by='image'.*this call .* by='place'"):
        find(cut(IMAGES, 8), "tanh:*", by="place", resume=before.state)


@pytest.mark.slow(reason="compiles four passes")
def test_a_changed_preprocess_is_seen_and_models_are_let_go() -> None:
    @dataclasses.dataclass
    class Shift:
        mean: float

        def __call__(self, x: Any) -> Any:
            return x - self.mean

    class Model:
        def __call__(self, w: Any, x: Any) -> Any:
            return model(W, x)

    shift, kept = Shift(0.0), Model()

    def run() -> tuple[Any, ...]:
        given = (with_preprocess(kept, shift), "tanh:0", None)
        return (
            dataset_examples(*given, [IMAGES], k=1).top.scores,
            fv.activation_distribution(*given, [IMAGES]).mean,
            fv.tuning_curve(*given, jnp.asarray(IMAGES))[0, :1],
        )

    before = run()
    shift.mean = 0.5
    for first, second in zip(before, run(), strict=True):
        assert abs(np.asarray(first) - np.asarray(second)).max() > 1e-3
    gone = weakref.ref(kept)
    del kept
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("part", ["diversity", "alignment"])
def test_pictures_of_a_stream_are_not_compared(part: str) -> None:
    objective = channel("tanh") + 10 * getattr(fv, part)("tanh")
    with pytest.raises(ValueError, match="dataset_examples: the objective comp"):
        find([IMAGES], objective)
    with pytest.raises(ValueError, match="activation_distribution: the objective"):
        fv.activation_distribution(model, objective, W, [IMAGES])
    with pytest.raises(ValueError, match="tuning_curve: the objective"):
        fv.tuning_curve(model, objective, W, IMAGES)


def test_pictures_of_another_size_are_not_gone_on_with() -> None:
    before = find([IMAGES], "tanh:0")
    with pytest.raises(ValueError, match=r"(?s)\(4, 6\) of .*places \(4, 4\) of"):
        find([IMAGES[:, :, :4]], "tanh:0", resume=before.state)
    with pytest.raises(ValueError, match=r"(?s)of 'tanh' #.* of 'tanh' #"):
        find([IMAGES], "tanh:1", resume=before.state)


def test_quantiles_and_keys_are_looked_at() -> None:
    whole = find([IMAGES], quantiles=(0.25, 0.5), key=KEY)
    array = find([IMAGES], quantiles=np.array([0.25, 0.5]), key=KEY)
    assert same(whole.quantiles, array.quantiles)
    assert find([IMAGES], quantiles=0.5, key=KEY).quantiles.indices.shape[1] == 1
    for key in (0, jax.random.PRNGKey(0), jax.random.split(KEY)):
        with pytest.raises(TypeError, match=r"dataset_examples\(\) .* needs one key"):
            find([IMAGES], quantiles=(0.5,), key=key)


def test_a_stream_is_read_outside_of_transformations() -> None:
    for read in (dataset_examples, fv.activation_distribution):
        with pytest.raises(TypeError, match=r"reads a stream on the host"):
            jax.jit(lambda w, read=read: read(model, "tanh:*", w, [IMAGES]))(W)
        with pytest.raises(TypeError, match=r"outside of `jax\.jit`"):
            jax.jit(lambda x, read=read: read(model, "tanh:*", W, [x]))(IMAGES)


def test_variables_are_arrays() -> None:
    with pytest.raises(TypeError, match=r"(?s)`variables` are arrays.*from_equinox"):
        dataset_examples(lambda w, x: jnp.tanh(x), "tanh:*", {"f": jnp.tanh}, [IMAGES])

"""`activation_patching` against runs in NumPy, and a circuit that is known."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.mechanistic import activation_patching
from jaxinterp.objectives import total
from tests.compiled import compiled, compiled_once
from tests.networks import circuits

RNG = np.random.default_rng(0)
WEIGHTS = {"first": RNG.normal(size=(3, 4)), "second": RNG.normal(size=(4, 2))}
CLEAN, CORRUPTED = RNG.normal(size=(2, 5, 6, 3))  # examples, positions, features
TARGET = np.array([0, 1, 1, 0, 1])


def model(w, x):
    """Logits of the mean over positions of two layers."""
    with jax.named_scope("hidden"):
        hidden = jnp.tanh(x @ w["first"])
    with jax.named_scope("read"):
        read = jnp.tanh(hidden @ w["second"])
    return read.mean(axis=1) ** 2


def score_of(hidden):
    read = np.tanh(hidden @ WEIGHTS["second"])
    return (read.mean(axis=1) ** 2)[np.arange(5), TARGET]


HIDDEN, OTHER = (np.tanh(x @ WEIGHTS["first"]) for x in (CLEAN, CORRUPTED))


def patched(axes, indices):
    """The effect of exchanging one slice, in NumPy."""
    hidden = HIDDEN.copy()
    at = [slice(None)] * 3
    for axis, index in zip(axes, indices, strict=True):
        at[axis] = index
    hidden[tuple(at)] = OTHER[tuple(at)]
    return score_of(hidden) - score_of(HIDDEN)


def run(sites, **options):
    measure = activation_patching(model, sites=sites, **options)
    return compiled(measure)(WEIGHTS, CLEAN, CORRUPTED, TARGET)


@pytest.mark.parametrize("axes", [(1,), (2,), (1, 2)])
def test_every_slice_has_the_effect_that_it_has_in_numpy(axes):
    result = run({"hidden": axes if len(axes) > 1 else axes[0]})
    effects = result.effects["hidden"]
    sizes = [HIDDEN.shape[axis] for axis in axes]
    assert effects.shape == (5, *sizes)
    for indices in np.ndindex(*sizes):
        ours = effects[(slice(None), *indices)]
        chex.assert_trees_all_close(ours, patched(axes, indices), atol=1e-12)
    chex.assert_trees_all_close(result.clean, score_of(HIDDEN), rtol=1e-12)
    chex.assert_trees_all_close(result.corrupted, score_of(OTHER), rtol=1e-12)


def test_a_site_that_all_passes_carries_the_whole_difference():
    result = run(["hidden", "read"])
    assert list(result.effects) == ["hidden", "read"]
    for effect, share in zip(
        result.effects.values(), result.shares.values(), strict=True
    ):
        chex.assert_trees_all_close(
            effect, score_of(OTHER) - score_of(HIDDEN), atol=1e-12
        )
        chex.assert_trees_all_close(share, np.ones(5), rtol=1e-9)


def test_a_gradient_is_the_difference_times_the_slope():
    result = run({"hidden": (2, 1)}, method="gradient")
    h = 1e-6 * (OTHER - HIDDEN)
    for position, feature in np.ndindex(6, 4):
        at = np.zeros((1, 6, 4))
        at[0, position, feature] = 1
        slope = (score_of(HIDDEN + at * h) - score_of(HIDDEN - at * h)) / 2e-6
        ours = result.effects["hidden"][:, position, feature]
        chex.assert_trees_all_close(ours, slope, atol=1e-9)


def test_integrated_effects_add_up():
    errors = [
        float(jnp.abs(run({"hidden": 1}, method="integrated", steps=n).residual).max())
        for n in (4, 16)
    ]
    assert errors[1] < 1e-3
    assert errors[0] / errors[1] == pytest.approx(16, rel=0.3)  # midpoints: 1 / n^2


def test_the_reverse_is_denoising():
    measure = compiled(activation_patching(model, sites={"hidden": 1}))
    forth = measure(WEIGHTS, CLEAN, CORRUPTED, TARGET)
    back = measure(WEIGHTS, CORRUPTED, CLEAN, TARGET)
    chex.assert_trees_all_close(back.clean, forth.corrupted, rtol=1e-12)
    assert not np.allclose(back.effects["hidden"], -forth.effects["hidden"])


def test_positions_and_heads_of_the_wired_head_are_found():
    measure = activation_patching(
        circuits.induction_net,
        sites={"a*/heads": (1, 2)},
        score=circuits.induction_score,
    )
    weights = circuits.induction_weights()
    result = compiled(measure)(weights, circuits.CLEAN, circuits.CORRUPTED)
    for address, position, effect in (("a0/heads", 4, -0.75), ("a1/heads", 7, -1.0)):
        expected = np.zeros((1, 8, 2))
        expected[0, position, 0] = effect
        chex.assert_trees_all_close(result.effects[address], expected, atol=1e-12)


def test_an_ablation_takes_the_place_of_the_corrupted_run():
    result = run({"hidden": 2}, ablation=jnp.zeros_like)
    hidden = HIDDEN * (np.arange(4) != 2)
    ours = result.effects["hidden"][:, 2]
    chex.assert_trees_all_close(ours, score_of(hidden) - score_of(HIDDEN), atol=1e-12)
    mean = run("hidden", ablation=lambda a: jnp.broadcast_to(a.mean(0)[None], a.shape))
    chex.assert_trees_all_close(
        mean.corrupted, score_of(np.broadcast_to(OTHER.mean(0), OTHER.shape)), rtol=1e-9
    )


def test_shares_of_no_difference_are_not_defined():
    result = compiled(activation_patching(model, sites="hidden"))(
        WEIGHTS, CLEAN, CLEAN, TARGET
    )
    assert not result.effects["hidden"].any()
    assert np.isnan(result.shares["hidden"]).all()


def test_what_is_infinite_is_exchanged_whole():
    def masked(w, x):
        with jax.named_scope("scores"):
            scores = jnp.where(x > 0, x * 1.0, -jnp.inf)
        return jax.nn.softmax(scores)

    x = np.array([[1.0, -1.0, 2.0]])
    measure = compiled(activation_patching(masked, sites={"scores": 1}))
    result = measure(None, x, -x, 0)
    assert np.isfinite(result.effects["scores"][0, ::2]).all()
    chex.assert_trees_all_close(result.effects["scores"][0, 2], 1 - result.clean[0])


def test_jit_equals_eager_and_the_second_call_does_not_trace():
    measure = activation_patching(model, sites={"hidden": 1, "read": 2}, batch_size=3)
    jitted = compiled_once(measure)
    ours = jitted(WEIGHTS, CLEAN, CORRUPTED, TARGET)
    eager = measure(WEIGHTS, CLEAN, CORRUPTED, TARGET)
    chex.assert_trees_all_close(ours, eager, rtol=1e-9, atol=1e-12)
    assert list(ours.effects) == list(eager.effects)
    jitted(WEIGHTS, CORRUPTED, CLEAN, TARGET[::-1].copy())
    mapped = jax.vmap(measure, in_axes=(None, 0, 0, None))(
        WEIGHTS, CLEAN[None], CORRUPTED[None], TARGET
    )
    chex.assert_trees_all_close(
        jax.tree.map(lambda a: a[0], mapped), eager, rtol=1e-9, atol=1e-12
    )


def test_a_class_is_checked_before_a_loop_hides_it():
    measure = activation_patching(model, sites="hidden")
    one = measure(WEIGHTS, CLEAN, CORRUPTED, 1)
    many = measure(WEIGHTS, CLEAN, CORRUPTED, np.ones(5, int))
    chex.assert_trees_all_equal(one, many)
    with pytest.raises(ValueError, match="target 2 is out of range for 2 classes"):
        measure(WEIGHTS, CLEAN, CORRUPTED, 2)
    with pytest.raises(ValueError, match="score=logit needs a target"):
        measure(WEIGHTS, CLEAN, CORRUPTED)


def test_objectives_and_pytrees_of_inputs():
    def two(w, x):
        with jax.named_scope("sum"):
            both = x["a"] + jnp.sin(x["b"])
        return both * w

    clean, corrupted = (
        {"a": x, "b": 2 * x} for x in (np.ones((2, 3)), np.zeros((2, 3)))
    )
    measure = activation_patching(two, sites={"sum": 1}, score="sum:1")
    effects = compiled(measure)(2.0, clean, corrupted).effects["sum"]
    expected = np.zeros((2, 3))
    expected[:, 1] = -1 - np.sin(2)
    chex.assert_trees_all_close(effects, expected, rtol=1e-12)
    with pytest.raises(ValueError, match="same number of examples"):
        measure(2.0, clean | {"a": np.ones((1, 3))}, corrupted | {"a": np.ones((1, 3))})


def test_an_unknown_site_and_hyperparameters_are_errors():
    with pytest.raises(ValueError, match="activation_patching: `method` is 'ap'"):
        activation_patching(model, sites="hidden", method="ap")
    measure = activation_patching(model, sites="hiden", score=total)
    with pytest.raises(ji.tracing.AddressError, match="hidden"):
        measure(WEIGHTS, CLEAN, CORRUPTED)


def test_an_ablation_returns_an_activation():
    measure = activation_patching(
        lambda w, x: jnp.tanh(x), sites="tanh", ablation=lambda a: None
    )
    with pytest.raises(ValueError, match="returned the shape NoneType"):
        measure(None, jnp.ones((1, 2)), jnp.zeros((1, 2)), 0)

"""`train_dictionary` against a step in NumPy, and directions that were planted."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.optimize import linear_sum_assignment

import jaxinterp as ji
from jaxinterp.mechanistic import (
    SparseAutoencoder,
    dictionary_quality,
    train_dictionary,
)
from tests.compiled import compiled
from tests.oracles.circuits import autoencoder_step

KEY = jax.random.key(3)
RNG = np.random.default_rng(0)
W = RNG.normal(size=(3, 5))


def model(w, x):
    """A network that has an activation of two axes beside the examples."""
    with jax.named_scope("hidden"):
        hidden = jnp.tanh(x @ w)
    return hidden.sum(axis=(1, 2))


def batches(*sizes, dtype=np.float64):
    rng = np.random.default_rng(1)
    return [rng.normal(size=(size, 4, 3)).astype(dtype) for size in sizes]


def train(data, **options):
    options = {"features": 6, "optimizer": optax.sgd(0.1)} | options
    return train_dictionary(
        model, "hidden", W, data, key=KEY, progress=False, **options
    )


def test_steps_are_those_in_numpy_and_copies_in_the_last_batch_do_not_count():
    data = batches(7, 7, 3)
    state = train(data[:1], optimizer=optax.sgd(0.0))
    weights = {name: np.asarray(a) for name, a in vars(state.dictionary).items()}
    np.testing.assert_allclose(np.linalg.norm(weights["decoder"], axis=1), 0.1)
    np.testing.assert_array_equal(weights["decoder"].T, weights["encoder"])
    for batch in data:
        x = np.tanh(batch @ W).reshape(-1, 5)
        weights, loss = autoencoder_step(weights, x, 0.3, 0.1)
    ours = train(data, sparsity=0.3, resume=state)
    chex.assert_trees_all_close(dict(vars(ours.dictionary)), weights, rtol=1e-9)
    assert float(ours.loss) == pytest.approx(loss, rel=1e-9)
    assert int(ours.n_steps) == 1 + 3


def test_training_goes_on_from_its_state_and_the_key_decides_the_rest():
    data = batches(4, 4, 4, 4)
    options = {"optimizer": optax.adam(0.01)}
    whole = train(data, **options)
    half = train(iter(data[:2]), **options)
    chex.assert_trees_all_equal(train(data[2:], resume=half, **options), whole)
    other = train_dictionary(
        *(model, "hidden", W, data), key=jax.random.key(4), features=6, progress=False
    )
    assert not np.allclose(other.dictionary.decoder, whole.dictionary.decoder)


def test_a_feature_that_never_fires_is_counted_as_silent():
    data, still = batches(4, 4), optax.sgd(0.0)
    state = train(data[:1], optimizer=still)
    shut = SparseAutoencoder(
        **{**vars(state.dictionary), "encoder_bias": jnp.array([-99.0] + [9.0] * 5)}
    )
    shut_state = dataclasses.replace(state, dictionary=shut)
    resumed = train(data, resume=shut_state, optimizer=still)
    before = int(state.n_silent[0])
    assert resumed.n_silent.tolist() == [before + 2 * 4 * 4, 0, 0, 0, 0, 0]


def test_half_precision_is_trained_in_single():
    half = jnp.asarray(W, jnp.bfloat16)
    data = [jnp.asarray(batch, jnp.bfloat16) for batch in batches(4)]
    state = train_dictionary(
        model, "hidden", half, data, key=KEY, features=6, progress=False
    )
    assert state.dictionary.decoder.dtype == jnp.float32


def recovered(seed, n_steps, features, width, sparsity, rate=3e-3):
    """How well planted directions are found: the mean |cos| of a matching, and L0."""
    rng = np.random.default_rng(seed)
    planted = rng.normal(size=(features, width))
    planted /= np.linalg.norm(planted, axis=1, keepdims=True)
    planted = planted.astype(np.float32)

    def codes(count=1024):
        is_active = rng.random((count, features)) < 0.03
        return (is_active * rng.random((count, features))).astype(np.float32)

    n_last = n_steps // 5
    constant, falling = (
        optax.constant_schedule(rate),
        optax.linear_schedule(rate, 0, n_last),
    )
    schedule = optax.join_schedules([constant, falling], [n_steps - n_last])
    trained = train_dictionary(
        *(lambda w, x: x @ w, "dense", planted, (codes() for _ in range(n_steps))),
        key=jax.random.key(seed),
        features=features,
        sparsity=sparsity,
        optimizer=optax.adam(schedule),
    )
    decoder = np.asarray(trained.dictionary.decoder)
    cosines = np.abs(planted @ (decoder / np.linalg.norm(decoder, axis=1)[:, None]).T)
    pairs = linear_sum_assignment(-cosines)
    return cosines[pairs], dictionary_quality(trained.dictionary, codes(4096) @ planted)


def test_planted_directions_are_found():
    cosines, quality = recovered(0, 500, 24, 16, 0.1, rate=1e-2)
    assert cosines.mean() > 0.9
    assert quality.n_active < 3
    assert quality.unexplained < 0.15
    assert 0.8 < quality.shrinkage < 0.95


@pytest.mark.slow(reason="the planted dictionary of full size takes 4,000 steps")
def test_of_full_size_the_best_fit_is_not_the_best_dictionary():
    cosines, quality = recovered(0, 4000, 64, 32, 0.1)
    assert (cosines > 0.9).sum() >= 62
    assert 2.5 < quality.n_active < 4
    assert 0.04 < quality.unexplained < 0.07
    assert 0.84 < quality.shrinkage < 0.92
    weak, of_weak = recovered(0, 4000, 64, 32, 0.03)
    assert weak.mean() < cosines.mean() - 0.1
    assert of_weak.unexplained < quality.unexplained
    assert of_weak.n_active > 10


def test_quality_is_that_in_numpy():
    state = train(batches(4))
    x = RNG.normal(size=(2, 6, 5))
    quality = dictionary_quality(state.dictionary, x)
    w = {name: np.asarray(a) for name, a in vars(state.dictionary).items()}
    rows = x.reshape(-1, 5)
    codes = np.maximum((rows - w["decoder_bias"]) @ w["encoder"] + w["encoder_bias"], 0)
    made = codes @ w["decoder"] + w["decoder_bias"]
    spread = ((rows - rows.mean(axis=0)) ** 2).sum()
    expected = (
        (codes > 0).sum(axis=1).mean(),
        ((rows - made) ** 2).sum() / spread,
        np.linalg.norm(made, axis=1).mean() / np.linalg.norm(rows, axis=1).mean(),
        (codes > 0).mean(axis=0),
    )
    chex.assert_trees_all_close(tuple(quality), expected, rtol=1e-9)
    mean = SparseAutoencoder(
        jnp.zeros((5, 1)),
        jnp.zeros(1),
        jnp.zeros((1, 5)),
        jnp.asarray(rows.mean(axis=0)),
    )
    assert float(dictionary_quality(mean, rows).unexplained) == pytest.approx(1)
    assert np.isnan(dictionary_quality(mean, rows[:1]).unexplained)
    with pytest.raises(ValueError, match=r"encodes activations \(\.\.\., 5\)"):
        dictionary_quality(mean, np.ones((2, 4)))


def test_spliced_in_it_leaves_the_outputs_and_takes_the_derivative():
    dictionary = train(batches(4)).dictionary
    (x,) = batches(2)
    spliced = ji.intervene(model, {"hidden": dictionary.spliced})
    replaced = ji.intervene(model, {"hidden": dictionary})
    chex.assert_trees_all_close(spliced(W, x), model(W, x), rtol=1e-12)
    ours, expected = (
        jax.grad(lambda x, f=f: f(W, x).sum())(x) for f in (spliced, replaced)
    )
    chex.assert_trees_all_close(ours, expected, rtol=1e-12)
    assert jnp.abs(ours).max() > 0
    codes = compiled(dictionary.encode)(jnp.ones((2, 3, 5)))
    assert codes.shape == (2, 3, 6)
    assert float(codes.min()) >= 0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"features": 0},
            ValueError,
            "train_dictionary: `features` must be an integer",
        ),
        ({"sparsity": -1}, ValueError, "train_dictionary: `sparsity` must be a finite"),
        ({"resume": 3}, TypeError, "`resume` is what an earlier call returned"),
        ({"data": np.ones((2, 4, 3))}, TypeError, r"write `\[images\]`"),
        ({"data": []}, ValueError, "`batches` holds no example"),
        ({"data": [np.full((2, 4, 3), np.nan)]}, FloatingPointError, "is not finite"),
    ],
)
def test_what_is_wrong_is_said(options, error, message):
    data = options.pop("data", batches(2))
    with pytest.raises(error, match=message):
        train(data, **options)


def test_sites_keys_and_states_that_do_not_fit_are_errors():
    with pytest.raises(TypeError, match="needs one key"):
        train_dictionary(model, "hidden", W, batches(2), key=0, features=3)
    other = train(batches(2), features=4)
    with pytest.raises(ValueError, match="`resume` has 4 features"):
        train(batches(2), resume=other)
    with pytest.raises(ji.tracing.AddressError):
        train_dictionary(model, "hiden", W, batches(2), key=KEY, features=3)
    with pytest.raises(ValueError, match="encodes real vectors"):
        train_dictionary(
            lambda w, x: jnp.sin(x).sum(axis=1),
            "sum",
            W,
            [np.ones((2, 3))],
            key=KEY,
            features=3,
        )
    with pytest.raises(ValueError, match="is inside a loop or branch"):
        train_dictionary(
            lambda w, x: jax.lax.scan(lambda c, _: (jnp.sin(c), None), x, None, 2)[0],
            *("*sin", W, [np.ones((2, 3))]),
            key=KEY,
            features=3,
        )
    with pytest.raises(ValueError, match="whose first axis is not that of the 2"):
        train_dictionary(
            lambda w, x: jnp.sin(x.T), "sin", W, [np.ones((2, 3))], key=KEY, features=3
        )


def test_what_is_no_dictionary_and_no_activation_is_an_error():
    eye = jnp.eye(2)
    dictionary = SparseAutoencoder(eye, jnp.zeros(2), eye, jnp.zeros(2))
    with pytest.raises(ValueError, match=r"activations \(\.\.\., 2\), and they have"):
        dictionary(jnp.ones((3, 4)))
    with pytest.raises(TypeError, match=r"`trained\.dictionary`"):
        dictionary_quality(3, eye)
    quality = dictionary_quality(dictionary, [[1.0, 0.0], [0.0, 3.0]])
    assert float(quality.n_active) == 1.0
    assert np.isnan(dictionary_quality(dictionary, 0 * eye).shrinkage)
    unknown = dictionary_quality(dictionary, eye.at[0, 0].set(jnp.nan))
    assert np.isnan(unknown.n_active)
    with pytest.raises(TypeError, match="`optimizer` is one of optax"):
        train_dictionary(
            *(lambda w, x: jnp.tanh(x), "tanh", None, [eye]),
            key=jax.random.key(0),
            features=2,
            optimizer=3,
        )

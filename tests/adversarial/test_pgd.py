"""One step, and many projected ones: exact for linear classifiers."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.adversarial import fgsm, l1, l2, linf, pgd
from jaxinterp.objectives import log_probability, margin
from tests.adversarial.linear import BALLS, classifier, linear
from tests.compiled import compiled
from tests.networks import functions as models
from tests.oracles import attacks

KEY = jax.random.key(0)
every_norm = pytest.mark.parametrize("norm", BALLS)


def margins(v, x, y):
    return np.asarray(margin(linear(v, np.asarray(x)), y))


def distances(v, x, y, norm):
    w, b = v["w"], v["b"][0]
    return np.array(
        [
            attacks.distance_of_linear(w, b, a, c, norm)
            for a, c in zip(x, y, strict=True)
        ]
    )


@every_norm
def test_fgsm_is_the_strongest_change_of_a_linear_classifier_of_two_classes(norm):
    v, x, y = classifier(2)
    radius = 1.01 * float(np.median(distances(v, x, y, norm)))
    attack = compiled(fgsm(linear, threat=BALLS[norm](radius, bounds=None)))
    result = attack(v, x, y)
    dual = attacks.dual_norm(v["w"][:, 0] - v["w"][:, 1], norm)
    np.testing.assert_allclose(
        margins(v, result.inputs, y), margins(v, x, y) - radius * dual, rtol=1e-9
    )
    np.testing.assert_allclose(result.size, radius, rtol=1e-9)
    # Exactly those nearer to the boundary than the radius are fooled.
    is_near = distances(v, x, y, norm) < radius
    np.testing.assert_array_equal(result.is_adversarial, is_near)


@every_norm
def test_pgd_fools_a_linear_classifier_exactly_within_the_distance(norm):
    v, x, y = classifier(2)
    far = distances(v, x, y, norm)
    for radius, is_fooled in ((1.05 * far, True), (0.99 * far, False)):
        threat = BALLS[norm](radius, bounds=None)
        attack = compiled(pgd(linear, threat=threat, steps=40))
        result = attack(v, x, y, KEY)
        np.testing.assert_array_equal(result.is_adversarial, is_fooled)
        assert (np.asarray(result.size) <= radius * (1 + 1e-9)).all()


def test_with_active_bounds_a_linear_program_is_solved():
    """For `linf` each entry goes as far as it may."""
    v, x, y = classifier(2)
    x = 1 / (1 + np.exp(-2 * x))
    y = np.asarray(linear(v, x)).argmax(axis=1)
    radius = 0.4
    slope = v["w"][:, 1 - y].T - v["w"][:, y].T
    best = np.clip(x + radius * np.sign(slope), 0, 1)
    assert ((best == 0) | (best == 1)).any()
    result = compiled(fgsm(linear, threat=linf(radius)))(v, x, y)
    np.testing.assert_allclose(result.inputs, best, atol=1e-12)
    result = compiled(pgd(linear, threat=linf(radius), steps=20))(v, x, y, KEY)
    np.testing.assert_allclose(result.inputs, best, atol=1e-12)


@pytest.mark.parametrize(
    "norm",
    [
        pytest.param("linf", marks=pytest.mark.slow(reason="solved exactly above")),
        "l2",
        "l1",
    ],
)
def test_pgd_with_active_bounds_beats_every_random_change(norm):
    v, x, y = classifier(2)
    x = 1 / (1 + np.exp(-2 * x))
    y = np.asarray(linear(v, x)).argmax(axis=1)
    threat = BALLS[norm](0.5)
    # A small step, since the last ones go back and forth around the best point.
    attack = compiled(pgd(linear, threat=threat, steps=200, step_size=0.02))
    ours = margins(v, attack(v, x, y, KEY).inputs, y)
    random = compiled(jax.vmap(lambda key: threat.random(key, x, on_surface=True)))
    points = np.asarray(random(jax.random.split(KEY, 500)))
    theirs = np.min([margins(v, p, y) for p in points], axis=0)
    assert (ours < theirs + 1e-3).all()


def test_the_strongest_point_is_returned_not_the_last():
    """Steps that are too long jump over a narrow hill."""

    def hill(v, x):
        inside = 1 - jnp.abs(x - 0.35) / 0.1
        return jnp.concatenate([jnp.zeros_like(x), inside - 0.5], axis=1)

    x = np.array([[0.28]])
    attack = pgd(
        hill, threat=linf(0.5), steps=5, step_size=0.08, restarts=None, score=margin
    )
    result = attack(None, x, np.array([0]))
    assert bool(result.is_adversarial[0])
    np.testing.assert_allclose(result.inputs, [[0.36]])
    assert float(result.losses[0].max()) == pytest.approx(0.4)
    assert result.losses.shape == (1, 7)
    assert result.is_flat.shape == (1, 5)


def test_more_restarts_find_more_and_keep_what_was_found():
    v, x, y = models.mlp_weights(), models.vectors(), models.targets()
    best = []
    for restarts in (1, 4):
        threat = linf(0.3, bounds=None)
        attack = compiled(pgd(models.mlp, threat=threat, steps=3, restarts=restarts))
        result = attack(v, x, y, KEY)
        best.append(np.asarray(result.losses).max(axis=1))
        assert result.n_queries == restarts * 4 + 1
        reached = -np.asarray(margin(models.mlp(v, np.asarray(result.inputs)), y))
        np.testing.assert_allclose(reached, best[-1], rtol=1e-9)
    assert (best[1] >= best[0] - 1e-9).all()
    assert (best[1] > best[0] + 1e-3).any()


def test_a_targeted_attack_reaches_its_class():
    v, x, y = classifier(4)
    wanted = (y + 1) % 4
    gaps = np.array([attacks.dual_norm(w, "l2") for w in v["w"].T]).max() * 2
    threat = l2(float(np.ptp(linear(v, x), axis=1).max() / gaps * 20), bounds=None)
    attack = compiled(pgd(linear, threat=threat, targeted=True))
    result = attack(v, x, wanted, KEY)
    assert np.asarray(result.is_adversarial).all()
    decided = linear(v, np.asarray(result.inputs)).argmax(axis=1)
    np.testing.assert_array_equal(decided, wanted)
    untargeted = fgsm(linear, threat=threat, targeted=True)
    with pytest.raises(ValueError, match="target is the class that the attack wants"):
        untargeted(v, x)


def test_a_hidden_unit_may_be_attacked():
    v, x = models.mlp_weights(), models.vectors()
    attack = pgd(models.mlp, threat=linf(0.2, bounds=None), steps=5, score=":2")
    result = attack(v, x, key=KEY)
    before, after = models.mlp(v, x)[:, 2], models.mlp(v, result.inputs)[:, 2]
    assert (np.asarray(after) < np.asarray(before)).all()


@pytest.mark.slow(reason="runs an attack for each of several scores")
def test_large_logits_hide_the_gradient_of_a_probability_alone():
    """The softmax of logits times 10 000 is exactly 0 or 1 in single precision."""
    arrays = models.mlp_weights(), models.vectors()
    v, x = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), arrays)
    y = models.mlp(v, x).argmax(axis=1)

    def large(v, x):
        return 1e4 * models.mlp(v, x)

    threat = linf(1.0, bounds=None)
    fooled = {}
    for model in (models.mlp, large):
        for score in (None, log_probability):
            chosen = {} if score is None else {"score": score}
            attack = compiled(pgd(model, threat=threat, steps=20, **chosen))
            result = attack(v, x, y, KEY)
            fooled[model is large, score] = np.asarray(result.is_adversarial).tolist()
            if model is large and score is log_probability:
                assert np.asarray(result.is_flat).any(axis=1).all()
    assert fooled[False, None] == fooled[True, None] == [True] * 3
    assert fooled[False, log_probability] == [True] * 3
    assert not any(fooled[True, log_probability])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "pgd: `steps` must be an integer of at least 1"),
        ({"step_size": -1.0}, "pgd: `step_size` must be a finite number of at least 0"),
        ({"restarts": 0}, "pgd: `restarts` must be an integer of at least 1"),
        ({"threat": l1()}, r"pgd uses up a radius.*`threat=l1\(radius\)`"),
    ],
)
def test_wrong_hyperparameters_are_errors(options, message):
    with pytest.raises(ValueError, match=message):
        pgd(linear, **{"threat": linf(0.1), **options})


def test_steps_of_one_program_serve_another_radius():
    """The radius is an array, so an eager call is not compiled anew for it."""
    v, x, y = classifier(3)

    @chex.assert_max_traces(n=3)  # the inputs, a step, the end
    def model(v, x):
        return linear(v, x)

    for radius in (0.1, 0.2):
        threat = linf(radius, bounds=None)
        attack = pgd(model, threat=threat, restarts=None, steps=2)
        attack(v, x, y)
        attack(v, x + 0.1, y)
        break

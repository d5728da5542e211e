"""What hinders an attack is found, and what does not is passed."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.adversarial import (
    AttackHealth,
    Check,
    apgd,
    attack_health,
    fgsm,
    linf,
    pgd,
)
from jaxinterp.objectives import log_probability
from tests.networks import functions as models

KEY = jax.random.key(0)
V, X = jax.tree.map(
    lambda a: jnp.asarray(a, jnp.float32), (models.mlp_weights(), models.vectors())
)
THREAT = linf(0.15, bounds=(-4.0, 4.0))
health_of = functools.partial(attack_health, threat=THREAT, key=KEY, n_random=8)
short_pgd = functools.partial(pgd, steps=10)


def problems(health):
    return [check.name for check in health.problems]


def large(v, x):
    """Logits of which the softmax is exactly 0 or 1 in single precision."""
    return 1e5 * models.mlp(v, x)


def test_an_attack_that_works_passes():
    health = health_of(models.mlp, short_pgd, V, X)
    assert problems(health) == []
    assert health.clean_accuracy == 1
    result = short_pgd(models.mlp, threat=THREAT)(V, X, None, jax.random.key(1))
    share = 1 - float(np.mean(np.asarray(result.is_adversarial)))
    assert health.robust_accuracy == pytest.approx(share)
    assert "under attack at most" in str(health)
    assert "do not report" not in str(health)
    right = np.asarray(models.mlp(V, X)).argmax(axis=1)
    wrong = (right + np.array([0, 0, 1])) % models.CLASSES
    assert health_of(models.mlp, short_pgd, V, X, wrong).clean_accuracy == (
        pytest.approx(2 / 3)
    )


@pytest.mark.slow(reason="a second health report of the same attack")
def test_an_attack_that_large_logits_hinder_is_found():
    attack = functools.partial(short_pgd, score=log_probability)
    health = health_of(large, attack, V, X)
    assert {"no gradient", "stuck", "resists anything", "missed what is there"} <= set(
        problems(health)
    )
    assert health.robust_accuracy == 1
    assert "do not report that, see: no gradient" in str(health)
    # With more room the same attack of smaller logits succeeds.
    wide = health_of(large, attack, V, X, threat=linf(1.5, bounds=(-4.0, 4.0)))
    assert "hidden by scale" in problems(wide)
    assert "random is better" in problems(wide)


@pytest.mark.slow(reason="a third health report of the same attack")
def test_a_score_that_knows_no_scale_passes_with_large_logits():
    attack = functools.partial(apgd, steps=12)
    assert problems(health_of(large, attack, V, X)) == []


@pytest.mark.slow(reason="four more attacks, of another obstacle")
def test_a_staircase_has_no_slope_and_chance_is_better():
    """Rounding hides the gradient: a defense by obfuscation."""

    def staircase(v, x):
        steps = jnp.round(x * 2) / 2
        return jnp.concatenate([v - steps.sum(axis=1, keepdims=True), 0 * x[:, :2]], 1)

    x = jnp.full((2, 5), 0.3, jnp.float32)
    health = health_of(
        staircase, short_pgd, 2.6, x, threat=linf(0.5, bounds=(0.0, 1.0)), n_random=40
    )
    assert {"no gradient", "stuck", "random is better", "missed what is there"} <= set(
        problems(health)
    )
    assert "hidden by scale" not in problems(health)


@pytest.mark.slow(reason="four more attacks, of another obstacle")
def test_too_few_steps_are_found():
    slow = functools.partial(pgd, steps=20, step_size=1e-4, restarts=None)
    health = health_of(models.mlp, slow, V, X)
    assert "not converged" in problems(health)
    assert "no gradient" not in problems(health)


@pytest.mark.slow(reason="four more attacks for a property of the outputs")
def test_probabilities_are_found():
    def softmax(v, x):
        return jax.nn.softmax(models.mlp(v, x), axis=1)

    health = health_of(softmax, short_pgd, V, X)
    assert "outputs are probabilities" in problems(health)


@pytest.mark.slow(reason="three more attacks for a check that is left out")
def test_without_bounds_one_check_cannot_be_asked():
    health = health_of(models.mlp, short_pgd, V, X, threat=linf(0.1, bounds=None))
    (check,) = [c for c in health.checks if c.name == "resists anything"]
    assert math.isnan(check.share)
    assert check.is_passed
    assert "not asked" in str(health)


def test_it_prints_as_a_table():
    checks = (Check("stuck", 0.5, 0.01, "it <is>"), Check("flat", 0.0, 0.01, "it"))
    health = AttackHealth(0.9, 0.25, checks)
    assert health.problems == checks[:1]
    lines = str(health).splitlines()
    assert lines[2].split() == ["stuck", "50.0%", "1.0%", "it", "<is>"]
    assert lines[3].split() == ["flat", "0.0%", "1.0%", "passed"]
    assert lines[4].startswith("accuracy 90.0%, under attack at most 25.0%; do not")
    assert "it &lt;is&gt;" in health._repr_html_()


def test_what_cannot_be_checked_is_an_error():
    with pytest.raises(ValueError, match=r"attack_health uses up a radius"):
        health_of(models.mlp, pgd, V, X, threat=linf())
    with pytest.raises(ValueError, match="`n_random` must be an integer of at least 2"):
        health_of(models.mlp, pgd, V, X, n_random=1)
    with pytest.raises(TypeError, match="needs one key"):
        health_of(models.mlp, pgd, V, X, key=None)
    with pytest.raises(TypeError, match="looks at results, and was given arrays that"):
        jax.jit(lambda x: health_of(models.mlp, pgd, V, x))(X)


def test_it_takes_what_makes_an_attack():
    model, x = (lambda w, x: x @ w), jnp.full((2, 3), 0.5)
    options = {"threat": linf(0.1), "key": jax.random.key(0)}
    for wrong in (fgsm(model, threat=linf(0.1)), 3):
        with pytest.raises(TypeError, match=r"`attack\(apply_fn, threat=threat\)`"):
            attack_health(model, wrong, jnp.eye(3), x, **options)
    with pytest.raises(TypeError, match="the target is class indices"):
        fgsm(model, threat=linf(0.1))(jnp.eye(3), x, "cat")

r"""Whether an attack failed because the model is robust, or because it was hindered.

A robust accuracy is an upper bound, as good as the attack. Each check here is one way
in which an attack fails silently.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.adversarial.contract import Attack, Perturbed, Stage, Victim, logits_of
from jaxinterp.adversarial.threat import NormBall
from jaxinterp.checks import check_function, check_outside, checked_integer
from jaxinterp.keys import check_key, folded
from jaxinterp.loop.chunks import over_units
from jaxinterp.objectives.score import margin
from jaxinterp.table import cell, format_table, html_table
from jaxinterp.types import ApplyFn, Inputs, Key, Target, Variables


class Check(NamedTuple):
    """One way in which an attack fails silently, and how often it did.

    Attributes:
        name: the name of the check.
        share: the share of the examples to which it happened; NaN if it cannot be
            asked.
        limit: the largest share that is in order.
        meaning: what a larger share means.
    """

    name: str
    share: float
    limit: float
    meaning: str

    @property
    def is_passed(self) -> bool:
        """Whether the share is in order; what cannot be asked is."""
        return not self.share > self.limit


@dataclasses.dataclass(frozen=True)
class AttackHealth:
    """What an attack did to a model, and whether that can be believed.

    Attributes:
        clean_accuracy: the share of the inputs that the model decides as the target
            says.
        robust_accuracy: the share of them that it still does after the attack: an upper
            bound of what the best attack would leave.
        checks: all checks.
    """

    clean_accuracy: float
    robust_accuracy: float
    checks: tuple[Check, ...]

    @property
    def problems(self) -> tuple[Check, ...]:
        """The checks that failed; if there are any, the robust accuracy is too high."""
        return tuple(check for check in self.checks if not check.is_passed)

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (
                check.name,
                cell(check.share, ".1%", undefined="not asked"),
                cell(check.limit, ".1%"),
                "passed" if check.is_passed else check.meaning,
            )
            for check in self.checks
        ]

    def __str__(self) -> str:
        verdict = (
            f"accuracy {self.clean_accuracy:.1%}, under attack at most "
            f"{self.robust_accuracy:.1%}"
        )
        if self.problems:
            names = ", ".join(check.name for check in self.problems)
            verdict += f"; do not report that, see: {names}"
        return f"{format_table(_HEAD, self._rows(), right=(1, 2))}\n{verdict}"

    def _repr_html_(self) -> str:
        return html_table(_HEAD, self._rows())


_HEAD = ("check", "share", "limit", "result")


def attack_health(
    apply_fn: ApplyFn,
    attack: Callable[..., Attack],
    variables: Variables,
    inputs: Inputs,
    target: Target = None,
    *,
    threat: NormBall,
    key: Key,
    n_random: int = 100,
) -> AttackHealth:
    r"""Runs an attack, and checks that it did not fail silently.

    Each check is a share of the examples:

    - *no gradient*: the gradient of the loss was exactly 0 at a step from which the
      attack moved on, before the model was fooled.
    - *stuck*: not fooled, and no point has a higher loss than the input.
    - *not converged*: not fooled, and the highest loss still rose by a hundredth of its
      whole rise in the last tenth of the steps.
    - *hidden by scale*: not fooled, but by the same attack once the logits of each
      example are divided by the standard deviation that they have at the input, which
      changes no decision.
    - *random is better*: not fooled, but by one of `n_random` random points in the
      ball.
    - *resists anything*: not fooled even if the ball covers all inputs there are. The
      limit is chance.
    - *missed what is there*: a boundary was drawn across the outputs, so that of
      `n_random` random points exactly one is known to be on the other side; the attack
      did not find the other side.
    - *outputs are probabilities*: the outputs of an example lie in [0, 1] and add up to
      1; attacks need logits.

    Cost: four attacks, and 2 `n_random` forward passes.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`, of logits
            `(batch, classes)`.
        attack: a function `attack(apply_fn, threat=threat)` that returns an attack,
            such as `pgd`, or `functools.partial(pgd, steps=100)`; not a targeted one.
        variables: the weights of the model.
        inputs: a batch of the model's inputs.
        target: the right class of each example, `(batch,)`; by default those that the
            model gives.
        threat: what the attacker may do, of finite radius.
        key: the random key of the attack and of the random points.
        n_random: the number of random points for each example.

    Returns:
        The accuracy under attack, and the checks; it prints as a table.

    Raises:
        TypeError: if `key` is no random key, `attack` does not make an attack, or
            arrays are traced.
        ValueError: if the radius is infinite or `n_random` is less than 2; and what the
            attack raises.

    References:
        Carlini et al., 2019 [carlini2019evaluating]; Pintor et al., 2022
        [pintor2022indicators]; Zimmermann et al., 2022 [zimmermann2022increasing],
        whose boundary lies between features, not outputs.

    Example:
        >>> from jaxinterp.adversarial import linf, fgsm
        >>> w, x = jnp.eye(2), jnp.array([[1.0, 0.5], [0.25, 0.75]])
        >>> health = attack_health(lambda w, x: 10_000 * (x @ w), fgsm, w, x,
        ...                        threat=linf(0.3), key=jax.random.key(0), n_random=5)
        >>> [check.name for check in health.problems][:3]
        ['no gradient', 'stuck', 'hidden by scale']
    """
    name = "attack_health"
    check_outside(name, "looks at results", variables, inputs, target)
    check_key(name, key)
    n_random = checked_integer("n_random", n_random, 2, call=name)
    _check_attack(attack)
    stage = Stage.of(name, apply_fn, margin, threat)
    scene = stage.scene(variables, inputs, target)
    attack_key, random_key = folded(key, 0), folded(key, 1)

    def run(model: ApplyFn, weights: Any, threat: NormBall, target: Any) -> Perturbed:
        return attack(model, threat=threat)(weights, inputs, target, attack_key)

    result = run(apply_fn, variables, threat, scene.target)
    survives = ~np.asarray(result.is_adversarial)
    logits = logits_of(_outputs(scene.victim, variables, scene.rows))
    spread = logits.std(axis=1, keepdims=True)
    scales = jnp.where(spread > 0, spread, 1)
    scaled = run(_rescaled(apply_fn), (variables, scales), threat, scene.target)
    fooled, planted = _random_points(
        scene.victim, scene.constants, random_key, n_random
    )
    weights, zeros = (variables, planted), jnp.zeros_like(scene.target)
    missed = run(_planted(apply_fn), weights, threat, zeros)
    widest, resists = _widest(scene.threat, scene.rows), math.nan
    if widest is not None:
        anything = dataclasses.replace(threat, radius=widest)
        free = run(apply_fn, variables, anything, scene.target)
        resists = _share(~free.is_adversarial)
    shares = {
        "no gradient": _share(_is_flat_before_success(result)),
        **{what: _share(survives & made) for what, made in _trace(result).items()},
        "hidden by scale": _share(survives & np.asarray(scaled.is_adversarial)),
        "random is better": _share(survives & np.asarray(fooled)),
        "resists anything": resists,
        "missed what is there": _share(~missed.is_adversarial),
        "outputs are probabilities": _share(_are_probabilities(logits)),
    }
    limits = {**_LIMITS, "resists anything": 1 / logits.shape[1]}
    checks = [
        Check(what, share, limits[what], _MEANINGS[what])
        for what, share in shares.items()
    ]
    clean = _share(scene.clean.lead < 0)
    return AttackHealth(clean, _share(survives), tuple(checks))


def _check_attack(attack: Any) -> None:
    example = "attack(apply_fn, threat=threat)"
    check_function("attack", attack, example, call="attack_health")
    names = inspect.signature(attack).parameters.values()
    if not any(n.name == "threat" or n.kind is n.VAR_KEYWORD for n in names):
        raise TypeError(
            "attack_health attacks several models, and takes the function that makes "
            f"an attack, `{example}`, such as `pgd` or `functools.partial(pgd, "
            "steps=100)`; what was given takes no `threat`."
        )


_LIMITS = {
    "no gradient": 0.01,
    "stuck": 0.01,
    "not converged": 0.1,
    "hidden by scale": 0.01,
    "random is better": 0.002,
    "missed what is there": 0.05,
    "outputs are probabilities": 0.5,
}
_MEANINGS = {
    "no gradient": "the loss is flat: take a scale-free score, or more bits",
    "stuck": "the loss never rises: the gradient is useless, or steps are too long",
    "not converged": "the loss still rises: take more steps",
    "hidden by scale": "large logits hide the gradient: take a scale-free score",
    "random is better": "chance finds what the gradient does not: it is masked",
    "resists anything": "any image at all would do: the attack does not work",
    "missed what is there": "it misses adversarial examples that are known to be there",
    "outputs are probabilities": "give the attack the logits, before the softmax",
}


def _share(is_so: Any) -> float:
    values = np.asarray(is_so)
    return float(values.mean()) if values.size else math.nan


def _are_probabilities(logits: Any) -> np.ndarray:
    """Whether the outputs of each example lie in [0, 1] and add up to 1."""
    values = np.asarray(logits, np.float64)
    is_one = np.abs(values.sum(axis=1) - 1) < 1e-5
    return ((values >= 0) & (values <= 1)).all(axis=1) & is_one


def _is_flat_before_success(result: Perturbed) -> np.ndarray:
    """Whether an example that was not fooled had no slope, at any step."""
    survives = ~np.asarray(result.is_adversarial)
    return np.asarray(result.is_flat).any(axis=1) & survives


def _trace(result: Perturbed) -> dict[str, np.ndarray]:
    """What the losses say: whether they never rose, and whether they rise still."""
    losses = np.nan_to_num(np.asarray(result.losses, np.float64), nan=-math.inf)
    highest = np.maximum.accumulate(losses, axis=1)
    first, last = highest[:, 0], highest[:, -1]
    n_late = max(losses.shape[1] // 10, 1)
    late = last - highest[:, -1 - n_late]
    has_late = losses.shape[1] >= 10  # of fewer steps the last is a tenth or more
    return {
        "stuck": ~(last > first),
        "not converged": has_late & (late > 0.01 * (last - first)),
    }


def _widest(threat: NormBall, rows: Any) -> Any:
    """The radius within which all inputs lie; `None` if there are no bounds."""
    low, high = threat.bounds
    width = jnp.maximum(high - rows, rows - low)
    return threat.size(width) if bool(jnp.isfinite(width).all()) else None


# --- Models that decide alike, or as is known -----------------------------------------


def _rescaled(apply_fn: ApplyFn) -> ApplyFn:
    """A model whose logits are divided by a number for each example, `(batch, 1)`."""

    def rescaled(variables: tuple[Variables, Any], inputs: Inputs) -> Any:
        weights, spread = variables
        return apply_fn(weights, inputs) / spread

    return rescaled


class _Planted(NamedTuple):
    """A boundary for each example: the other side is where `weight @ outputs > bias`.

    Attributes:
        weight: the direction of the outputs, `(batch, classes)`.
        bias: how far along it the boundary is, `(batch, 1)`.
        depth: how far from it the inputs are, `(batch, 1)`.
    """

    weight: Any
    bias: Any
    depth: Any


def _planted(apply_fn: ApplyFn) -> ApplyFn:
    """A model of two classes that a planted boundary of the outputs parts.

    A third one, which never leads, is there for scores that need three.
    """

    def planted(variables: tuple[Variables, _Planted], inputs: Inputs) -> Any:
        weights, boundary = variables
        outputs = apply_fn(weights, inputs)
        along = (boundary.weight * outputs).sum(axis=1, keepdims=True) - boundary.bias
        last = jnp.minimum(along, 0) - boundary.depth
        return jnp.concatenate([jnp.zeros_like(along), along, last], axis=1)

    return planted


def _random_points(
    victim: Victim, constants: Any, key: Key, n_random: int
) -> tuple[Any, _Planted]:
    """Whether one of many random points fools the model, and what to plant."""
    weight, start = _direction(victim, constants, key)

    def at(numbers: Any) -> Any:
        return _of_point(victim, constants, key, weight, jnp.asarray(numbers))

    return _boundary(weight, start, *over_units(at, n_random, 1, is_inner=False))


@functools.partial(jax.jit, static_argnums=0)
def _outputs(victim: Victim, variables: Variables, rows: Any) -> Any:
    return victim.outputs(variables, rows)


def _logits(victim: Victim, constants: Any, rows: Any) -> tuple[Any, Any]:
    """The logits of some points, and the lead of another class."""
    variables, _, _, target = constants
    outputs = victim.outputs(variables, rows)
    return logits_of(outputs), victim.judge(outputs, target).lead


@functools.partial(jax.jit, static_argnums=0)
def _direction(victim: Victim, constants: Any, key: Key) -> tuple[Any, Any]:
    """A direction of the outputs, and how far along it the inputs are."""
    _, threat, rows, _ = constants
    clean, _ = _logits(victim, constants, rows)
    other, _ = _logits(victim, constants, threat.random(folded(key, 0), rows))
    weight = other - clean
    return weight, (weight * clean).sum(axis=1)


@functools.partial(jax.jit, static_argnums=0)
def _of_point(
    victim: Victim, constants: Any, key: Key, weight: Any, number: Any
) -> tuple[Any, Any]:
    """Of one random point: the lead of another class, and how far along it is."""
    _, threat, rows, _ = constants
    point = threat.random(folded(key, number[0]), rows)
    logits, lead = _logits(victim, constants, point)
    return lead[None], (weight * logits).sum(axis=1)[None]


@jax.jit
def _boundary(weight: Any, start: Any, leads: Any, along: Any) -> tuple[Any, _Planted]:
    *_, second, first = jnp.sort(along, axis=0)
    bias = (first + jnp.maximum(second, start)) / 2  # the input stays on its side
    depth = bias - start
    planted = _Planted(weight, bias[:, None], depth[:, None])
    return (leads > 0).any(axis=0), planted

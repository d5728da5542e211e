r"""TCAV: how sensitive a class is to a concept, with a test whose errors are known.

$h$ is the score as a function of the activation $a$ at a site, $v$ the direction of a
concept, and $S(x) = \nabla h(a(x))^\top v$ the sensitivity of an example.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.attribution import gradient
from jaxinterp.checks import (
    check_choice,
    check_outside,
    checked_integer,
    checked_real,
    is_traced,
    shown,
)
from jaxinterp.concepts.concept_vector import Method, concept_vector, fitted
from jaxinterp.keys import check_key, each_folded, folded
from jaxinterp.loop.chunks import over_units
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, logit
from jaxinterp.table import cell, format_table, html_table
from jaxinterp.tracing.call import check_batch, trace_call
from jaxinterp.tracing.select import select_one
from jaxinterp.tracing.split import read_channels_last
from jaxinterp.types import ApplyFn, Inputs, Key, Sites, Target, Variables

# What of a concept is compared with that of random sets.
Statistic = Literal["effect", "score"]


class Significance(NamedTuple):
    """The sensitivity of a class to a concept, and its p value.

    Attributes:
        score: the share of examples whose score rises with the concept (TCAV).
        magnitude: the mean sensitivity over the mean length of the gradient, signed,
            between -1 and 1.
        effect: the mean change of the score, to first order, where activations move
            along the concept as far as its examples are from the others on average;
            in units of the score.
        p_value: the share of random sets that do at least as well as the concept.
    """

    score: Any
    magnitude: Any
    effect: Any
    p_value: Any


def rank_test(
    gradients: Any,
    positives: Any,
    others: Any,
    *,
    key: Key,
    method: Method = "pattern",
    penalty: float = 1.0,
    statistic: Statistic = "effect",
    nulls: int = 999,
) -> Significance:
    r"""Tests the sensitivity to a concept against that to random sets of its size.

    $$p = \frac{1 + \#\{m : |T_m| \ge |T|\}}{M + 1}$$

    The concept's examples and the others are put together. Each of $M$ pseudo-concepts
    is a random set of them, as large as the concept's, whose vector is fitted against
    all that are left, as the concept's is. If the concept's examples are like the
    others, all of these sets are alike, and $p \le \alpha$ has the probability $\alpha$
    or less, for any number of examples.

    The paper's t test repeats random negatives with the same positives, and counts
    these repetitions as samples of the concept: with a concept that is none it finds
    one in 35 % of cases at 10 repetitions and $\alpha = 0.05$, and more with more.

    Args:
        gradients: the gradient of the score in the activation, of examples of the
            class, `(examples, d)`.
        positives: activations of examples that show the concept, `(n, d)`.
        others: activations of random examples, `(m, d)`.
        key: the random key of the pseudo-concepts.
        method: how directions are fitted.
        penalty: the penalty on the coefficients of the two regressions.
        statistic: $T$, the effect, or the score minus one half. The score depends on
            the direction alone, and random sets have directions too: where the score of
            the model is nearly linear in the activation, that of any direction is 0 or
            1. The effect also depends on how far a set is from the others, which random
            ones are not.
        nulls: $M$, the number of pseudo-concepts; no p value is below $1 / (M + 1)$.

    Returns:
        Score, magnitude, effect and p value.

    Raises:
        TypeError: if `key` is no random key.
        ValueError: if a hyperparameter is out of range, or shapes disagree.

    References:
        Kim et al., 2018 [kim2018interpretability], for the score and their test. The
        test here is one by permutation.

    Example:
        >>> noise = jax.random.normal(jax.random.key(0), (300, 4))
        >>> concept = noise[:50] + jnp.array([[2.0, 0.0, 0.0, 0.0]])
        >>> slopes = jnp.tile(jnp.array([[1.0, 0.0, 0.0, 0.0]]), (10, 1))
        >>> result = rank_test(slopes, concept, noise[50:], key=jax.random.key(1))
        >>> float(result.score), round(float(result.p_value), 4)
        (1.0, 0.001)
    """
    check_key("rank_test", key)
    check_choice("method", method, get_args(Method), call="rank_test")
    check_choice("statistic", statistic, get_args(Statistic), call="rank_test")
    nulls = checked_integer("nulls", nulls, 1, call="rank_test")
    penalty = checked_real("penalty", penalty, 0, call="rank_test")
    shapes = [np.shape(x) for x in (gradients, positives, others)]
    if any(len(s) != 2 or s[1] != shapes[0][1] or not s[0] for s in shapes):
        raise ValueError(
            "rank_test takes gradients (examples, d), positives (n, d) and others "
            f"(m, d), and was given {', '.join(map(str, shapes))}."
        )
    wide = jnp.promote_types(jnp.result_type(positives, others), jnp.float32)
    a = jnp.concatenate([jnp.asarray(x, wide) for x in (positives, others)])
    g = jnp.asarray(gradients, wide)
    is_concept = jnp.arange(len(a)) < len(positives)

    def measured(is_positive: Any) -> tuple[Any, Any, Any]:
        every = jnp.ones(len(a), bool)
        v = fitted(a, is_positive, every, method, penalty).coefficients
        along = jnp.matmul(a, v, precision="highest")
        plus, minus = (
            along.mean(where=chosen) for chosen in (is_positive, ~is_positive)
        )
        return _measured(g, v, plus - minus)

    def of_random_set(key: Key) -> tuple[Any, Any, Any]:
        return measured(jax.random.permutation(key, is_concept))

    score, magnitude, effect = measured(is_concept)
    keys = each_folded(key, jnp.arange(nulls))
    scores, _, effects = jax.lax.map(of_random_set, keys)
    pairs = {"effect": (effect, effects), "score": (score - 0.5, scores - 0.5)}
    own, random = pairs[statistic]
    # The same set of examples in another order is rounded otherwise.
    slack = 1e-5 * jnp.abs(own)
    n_reaching = (jnp.abs(random) >= jnp.abs(own) - slack).sum().astype(wide)
    p_value = jnp.where(jnp.isnan(own), jnp.nan, (1 + n_reaching) / (nulls + 1))
    return Significance(score, magnitude, effect, p_value)


def _measured(gradients: Any, direction: Any, distance: Any) -> tuple[Any, Any, Any]:
    """The score, the magnitude and the effect of a direction."""
    s = jnp.matmul(gradients, direction, precision="highest")
    lengths = jnp.linalg.norm(gradients, axis=1).mean()
    score = jnp.where(jnp.isnan(s).any(), jnp.nan, (s > 0).mean(dtype=s.dtype))
    magnitude = s.mean() / jnp.where(lengths > 0, lengths, jnp.nan)
    return score, magnitude, s.mean() * distance


def holm(p_values: Any) -> Any:
    r"""Returns p values of several tests, corrected for their number.

    $$\tilde p_{(i)} = \max_{j \le i} \min(1, (k - j + 1)\,p_{(j)})$$

    With these the probability of any false finding among $k$ tests is at most
    $\alpha$, however the tests depend on one another.

    Args:
        p_values: the p value of each test, `(k,)`; NaN stays NaN, and counts as a test.

    Raises:
        ValueError: if they are not one number in [0, 1] for each test; under `jit` only
            the shape is checked.

    References:
        Holm, 1979 [holm1979simple].

    Example:
        >>> [round(p, 3) for p in holm(jnp.array([0.01, 0.04, 0.03])).tolist()]
        [0.03, 0.06, 0.06]
    """
    p = jnp.asarray(p_values)
    is_wrong = p.ndim != 1
    if not is_wrong and not is_traced(p):
        is_wrong = bool(((p < 0) | (p > 1)).any())
    if is_wrong:
        raise ValueError(
            "holm takes one p value in [0, 1] for each test, (k,), and was given "
            f"{shown(p_values)}."
        )
    order = jnp.argsort(p)
    factors = (p.shape[0] - jnp.arange(p.shape[0])).astype(p.dtype)
    corrected = jax.lax.cummax(jnp.minimum(1, factors * p[order]))
    return jnp.zeros_like(p).at[order].set(corrected)


@dataclasses.dataclass(frozen=True, eq=False)
class TCAV:
    """The sensitivity of a class to several concepts; it prints as a table.

    Attributes:
        concepts: the names of the concepts.
        scores: the share of examples whose score rises with each, `(concepts,)`.
        magnitudes: the mean sensitivity over the mean length of the gradient, signed.
        effects: the mean change of the score, to first order, by as much of the concept
            as its examples have; in units of the score.
        p_values: corrected for the number of concepts, see `holm`.
        accuracies: how well its vector tells the concept from random examples that it
            was not fitted to; chance is 0.5, and at chance all else means nothing.
        directions: the vector of each concept, `(concepts, ...)`.
    """

    concepts: tuple[str, ...]
    scores: Any
    magnitudes: Any
    effects: Any
    p_values: Any
    accuracies: Any
    directions: Any

    _HEAD = ("concept", "score", "magnitude", "effect", "p value", "accuracy")

    def _rows(self) -> list[tuple[str, ...]]:
        columns = (
            *(self.scores, self.magnitudes, self.effects),
            *(self.p_values, self.accuracies),
        )
        forms = (".2f", "+.3f", "+.3g", ".3f", ".2f")
        return [
            (name, *(cell(float(c[i]), f) for c, f in zip(columns, forms, strict=True)))
            for i, name in enumerate(self.concepts)
        ]

    def __str__(self) -> str:
        return format_table(self._HEAD, self._rows(), right=(1, 2, 3, 4, 5))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html_table(self._HEAD, self._rows())


def tcav(
    apply_fn: ApplyFn,
    site: Sites,
    variables: Variables,
    inputs: Inputs,
    concepts: Mapping[str, Inputs],
    others: Inputs,
    *,
    key: Key,
    target: Target = None,
    score: Score | Objective | str = logit,
    pooled: bool = True,
    method: Method = "pattern",
    penalty: float = 1.0,
    statistic: Statistic = "effect",
    nulls: int = 999,
    batch_size: int = 64,
) -> TCAV:
    r"""Tests which concepts the score of a class is sensitive to at a site.

    $$\mathrm{TCAV} = \frac{|\{x : S(x) > 0\}|}{|\{x\}|}, \qquad
      S(x) = \nabla h(a(x))^\top v$$

    The score counts signs: near 0.5 with a large spread of $S$ it tells of a concept
    that works both ways, and where the score is nearly linear it is 0 or 1 for any
    direction, random ones too. So magnitude and effect stand beside it, and the effect
    is what is tested, see `rank_test`. A concept that is found need not be a cause: the
    class may react to what the concept's images share besides.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        site: whose activations concepts are directions of: an address, or a selector of
            one site.
        variables: the weights of the model.
        inputs: examples of the class, with the examples on the first axis.
        concepts: for the name of each concept, inputs that show it.
        others: random inputs, from which those of a concept are told apart; they went
            through the same preprocessing.
        key: the random key of the tests.
        target: the class, one for all inputs, or what else the score needs.
        score: which number per example is tested: a score of the outputs or its name,
            or an objective, which needs no target. Probabilities have no slope where
            the model is sure.
        pooled: whether a concept is a direction of channels, the last axis, at all
            positions alike, fitted to means over positions, and not one of the whole
            activation, which depends on where things are.
        method: how directions are fitted, see `concept_vector`.
        penalty: the penalty on the coefficients of the two regressions.
        statistic: what is tested, the effect or the score.
        nulls: the number of pseudo-concepts of each test; no p value is below
            `concepts / (nulls + 1)`.
        batch_size: the number of inputs that the model gets at once.

    Returns:
        A table of the concepts.

    Raises:
        AddressError: if there is no such site.
        AmbiguousAddressError: if there are several such sites.
        TypeError: if `key` is no random key, `concepts` no mapping, or arrays are
            traced.
        ValueError: if there is no concept, a set has fewer than two examples, a
            hyperparameter is out of range, the target does not fit the inputs or the
            outputs, or the score does not depend on the site.

    References:
        Kim et al., 2018 [kim2018interpretability], with patterns, all other examples as
        negatives and another test. Holm, 1979 [holm1979simple].

    Example:
        >>> model = lambda w, x: jnp.tanh(x) @ w
        >>> noise = jax.random.normal(jax.random.key(0), (400, 2))
        >>> shifts = 2 * jnp.eye(2)[:, None]
        >>> read, idle = noise[:50] + shifts[0], noise[50:100] + shifts[1]
        >>> result = tcav(model, "tanh", jnp.array([[1.0], [0.0]]), noise[:30],
        ...     {"read": read, "idle": idle}, noise[100:],
        ...     key=jax.random.key(1), target=0)
        >>> dict(zip(result.concepts, (result.p_values < 0.05).tolist()))
        {'read': True, 'idle': False}
    """
    check_outside("tcav", "draws sets on the host", variables, inputs, others)
    check_key("tcav", key)
    if not isinstance(concepts, Mapping):
        raise TypeError(
            "tcav: `concepts` maps names to inputs, `{'striped': images}`, and is "
            f"{type(concepts).__name__}."
        )
    if not concepts:
        raise ValueError("tcav: `concepts` is empty. Write `{'striped': images}`.")
    batch_size = checked_integer("batch_size", batch_size, 1, call="tcav")
    activations, slopes = _readers(apply_fn, site, variables, score, pooled)
    fitting = {"method": method, "penalty": penalty}
    fit = jax.jit(functools.partial(concept_vector, **fitting))
    test = jax.jit(
        functools.partial(rank_test, statistic=statistic, nulls=nulls, **fitting)
    )
    _check_sets(inputs, concepts, others)
    n_inputs = len(jax.tree.leaves(inputs)[0])
    if target is not None and np.ndim(target) == 0:
        target = jnp.full(n_inputs, target)
    random = _in_batches(activations, others, batch_size)
    slope = gradient(apply_fn, score=score, at=site)
    jax.eval_shape(lambda x: slope(variables, x, target), inputs)  # looks at the target
    gradients = _in_batches(slopes, (inputs, target), batch_size)
    tests, vectors = [], []
    for number, examples in enumerate(concepts.values()):
        own = _in_batches(activations, examples, batch_size)
        vectors.append(fit(own, random))
        rows = (array.reshape(len(array), -1) for array in (gradients, own, random))
        tests.append(test(*rows, key=folded(key, number)))
    tests, vectors = (
        jax.tree.map(lambda *v: np.stack(v), *r) for r in (tests, vectors)
    )
    return TCAV(
        concepts=tuple(concepts),
        scores=tests.score,
        magnitudes=tests.magnitude,
        effects=tests.effect,
        p_values=np.asarray(holm(tests.p_value)),
        accuracies=vectors.accuracy,
        directions=vectors.direction,
    )


def _check_sets(inputs: Inputs, concepts: Mapping[str, Inputs], others: Inputs) -> None:
    sets = {"inputs": inputs, "others": others}
    sets |= {f"concepts[{name!r}]": own for name, own in concepts.items()}
    for name, examples in sets.items():
        check_batch(examples)
        if not jax.tree.leaves(examples)[0].shape[0]:
            raise ValueError(f"tcav: `{name}` holds no example.")


def _readers(
    apply_fn: ApplyFn, site: Sites, variables: Variables, score: Any, pooled: bool
) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """The activation of inputs, and the slope of the score of inputs and targets."""
    encode = read_channels_last(apply_fn, site)
    slope = gradient(apply_fn, score=score, at=site)

    def along(array: Any, reduce: Callable[..., Any]) -> Any:
        array = array.astype(jnp.promote_types(array.dtype, jnp.float32))
        if pooled and array.ndim > 2:
            return reduce(array, axis=tuple(range(1, array.ndim - 1)))
        return array

    @jax.jit
    def activations(x: Any) -> Any:
        return along(encode(variables, x), jnp.mean)

    @jax.jit
    def slopes(pair: Any) -> Any:  # of a step of the mean: the same at all positions
        place = select_one(trace_call(apply_fn, variables, pair[0]).graph, site)
        return along(place.channels_last(slope(variables, *pair)), jnp.sum)

    return activations, slopes


def _in_batches(function: Callable[[Any], Any], data: Any, size: int) -> Any:
    """What a jitted function gives for all examples, a few of them at a time."""
    count = len(jax.tree.leaves(data)[0])

    def some(indices: Any) -> Any:
        return function(jax.tree.map(lambda leaf: leaf[indices], data))

    return over_units(some, count, min(size, max(count, 1)), is_inner=False)

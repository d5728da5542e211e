"""What every attack is, and how all of them look at a model.

An attack is `attack(apply_fn, *, threat, hyperparameters) -> perturb`, and
`perturb(variables, inputs, target=None, key=None)` returns a `Perturbed`. Called
eagerly on CPU its steps run in a host loop, inside of `jax.jit` and on accelerators in
one `scan`. Examples are independent: a batch gives what its examples give alone.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.adversarial.threat import NormBall
from jaxinterp.checks import is_staged, is_traced, shown
from jaxinterp.loop.static import hashable
from jaxinterp.objectives.explained import Observed, explained
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, check_score, margin
from jaxinterp.perturbation.baseline import fill_baseline
from jaxinterp.tracing.call import check_batch
from jaxinterp.types import ApplyFn, Inputs, Key, Target, Variables


class Perturbed(NamedTuple):
    """What an attack made of a batch.

    Attributes:
        inputs: the changed inputs, in the structure, shapes and dtypes of the inputs:
            adversarial ones if there were any, otherwise what each attack says.
        is_adversarial: whether the model decides otherwise, `(batch,)`: another class
            has a larger output than the target, or with `targeted` the target has the
            largest one, and the change is one that the threat allows.
        size: the norm of the change, `(batch,)`, in the units of the inputs; infinite
            where an attack that looks for the smallest change has none.
        n_queries: how many times the model was called, with or without a gradient.
        losses: what the attack raised, `(batch, points)`: minus the score of the
            target, or with `targeted` the score; first that of the inputs, then that
            of each point which was tried.
        is_flat: whether the attack had no slope to follow at a point that it moved on
            from, `(batch, steps)`.
    """

    inputs: Inputs
    is_adversarial: Any
    size: Any
    n_queries: int
    losses: Any
    is_flat: Any


@runtime_checkable
class Attack(Protocol):
    """A function that changes inputs so that a model decides otherwise."""

    def __call__(
        self,
        variables: Variables,
        inputs: Inputs,
        target: Target = None,
        key: Key = None,
    ) -> Perturbed:
        """Returns changed inputs, and what the model makes of them."""
        ...


# --- A batch as a matrix --------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a batch is laid out as a matrix with an example a row.

    Attributes:
        tree: the structure of the batch.
        shapes: the shape of one example of each leaf.
        dtypes: the dtype of each leaf.
    """

    tree: Any
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[Any, ...]

    @classmethod
    def of(cls, inputs: Inputs) -> Layout:
        """Returns the layout of a batch.

        Args:
            inputs: an array or a pytree of arrays, batch first.
        """
        leaves, tree = jax.tree.flatten(inputs)
        shapes = tuple(tuple(leaf.shape[1:]) for leaf in leaves)
        return cls(tree, shapes, tuple(np.dtype(leaf.dtype) for leaf in leaves))

    def rows(self, inputs: Inputs) -> Any:
        """Returns the matrix of a batch, in single precision at least.

        Args:
            inputs: a batch of this layout, with any number of examples.
        """
        dtype = functools.reduce(jnp.promote_types, self.dtypes, jnp.float32)
        leaves = [jnp.asarray(leaf, dtype) for leaf in jax.tree.leaves(inputs)]
        sizes = [math.prod(shape) for shape in self.shapes]
        rows = [x.reshape(x.shape[0], n) for x, n in zip(leaves, sizes, strict=True)]
        return rows[0] if len(rows) == 1 else jnp.concatenate(rows, axis=1)

    def inputs(self, rows: Any) -> Inputs:
        """Returns the batch of a matrix, in the dtypes of the inputs.

        Args:
            rows: a matrix with an example a row.
        """
        ends = np.cumsum([math.prod(shape) for shape in self.shapes])[:-1].tolist()
        parts = [rows] if not ends else jnp.split(rows, ends, axis=1)
        leaves = [
            part.reshape(rows.shape[0], *shape).astype(dtype)
            for part, shape, dtype in zip(parts, self.shapes, self.dtypes, strict=True)
        ]
        return jax.tree.unflatten(self.tree, leaves)

    def threat(self, threat: NormBall, inputs: Inputs) -> NormBall:
        """Returns a threat whose bounds broadcast against the matrix.

        Args:
            threat: what the attacker may do.
            inputs: the batch that is attacked.
        """

        def bound(value: Any) -> Any:
            if np.ndim(value) == 0 and not isinstance(value, dict | list | tuple):
                return value
            one = jax.tree.map(lambda leaf: leaf[:1], inputs)
            return self.rows(fill_baseline(value, one, None))

        low, high = threat.bounds
        return dataclasses.replace(threat, bounds=(bound(low), bound(high)))


# --- A model under attack -------------------------------------------------------------


class Looked(NamedTuple):
    """What an attack learns of some points.

    Attributes:
        loss: what the attack raises, `(batch,)`.
        lead: by how much the model decides otherwise, `(batch,)`: positive for an
            adversarial point.
    """

    loss: Any
    lead: Any


@dataclasses.dataclass(frozen=True)
class Victim:
    """A model under attack, as a function of rows.

    Attributes:
        model: the model, which may return activations as well.
        score: which number per example the attack lowers, or raises if targeted.
        is_targeted: whether the target is the class that the attack wants.
        layout: how a batch is laid out as a matrix.
    """

    model: ApplyFn
    score: Score
    is_targeted: bool
    layout: Layout

    def outputs(self, variables: Variables, rows: Any) -> Any:
        """Returns what the model returns.

        Args:
            variables: the weights of the model.
            rows: the points, `(batch, entries)`.
        """
        return self.model(variables, self.layout.inputs(rows))

    def judge(self, outputs: Any, target: Any) -> Looked:
        """Returns the loss, and by how much the model decides otherwise.

        Args:
            outputs: what `outputs` returned.
            target: a class for each example, `(batch,)`.

        Raises:
            ValueError: if the model has fewer than two classes, or the score is not one
                number per example.
        """
        logits = logits_of(outputs)
        lead, batch = margin(logits, target), logits.shape[0]
        value = self.score(outputs, target)
        check_score(value, batch, self.score)
        sign = 1 if self.is_targeted else -1
        return Looked(sign * value, sign * lead)

    def look(self, variables: Variables, rows: Any, target: Any) -> Looked:
        """Returns what the model makes of points.

        Args:
            variables: the weights of the model.
            rows: the points, `(batch, entries)`.
            target: a class for each example, `(batch,)`.
        """
        return self.judge(self.outputs(variables, rows), target)

    def slope(self, variables: Variables, rows: Any, target: Any) -> tuple[Looked, Any]:
        """Returns what the model makes of points, and the gradient of the loss.

        A gradient that is not finite is no direction, and counts as 0.

        Args:
            variables: the weights of the model.
            rows: the points, `(batch, entries)`.
            target: a class for each example, `(batch,)`.
        """

        def loss(rows: Any) -> Any:
            looked = self.look(variables, rows, target)
            return looked.loss.sum(), looked

        gradient, looked = jax.grad(loss, has_aux=True)(rows)
        is_finite = jnp.isfinite(gradient).all(axis=1, keepdims=True)
        return looked, jnp.where(is_finite, gradient, 0)


def logits_of(outputs: Any) -> Any:
    """Returns the logits that decide, of what a model returns.

    Args:
        outputs: the outputs, or what an objective reads beside them.

    Raises:
        ValueError: if there are fewer than two of them for an example.
    """
    logits = outputs.outputs if isinstance(outputs, Observed) else outputs
    if getattr(logits, "ndim", None) == 2 and logits.shape[1] < 2:
        raise ValueError(
            "An attack changes which class has the largest output, and the model has "
            f"outputs {tuple(logits.shape)}.\nOf a single logit make two, "
            "`lambda v, x: jnp.pad(apply_fn(v, x), ((0, 0), (1, 0)))`."
        )
    return logits


def _clean(
    victim: Victim, variables: Variables, rows: Any, target: Target
) -> tuple[Any, Any, Looked]:
    """The logits of the inputs, a class for each, and what the model makes of them."""
    outputs = victim.outputs(variables, rows)
    logits = logits_of(outputs)
    if target is None:
        margin(logits, 0)  # which says what is wrong with other outputs
        target = logits.argmax(axis=1)
    looked = victim.judge(outputs, target)
    target = jnp.broadcast_to(jnp.asarray(target), (rows.shape[0],))
    return logits, target, looked


_jitted_clean = jax.jit(_clean, static_argnums=0)


class Scene(NamedTuple):
    """Everything that the steps of an attack read.

    Attributes:
        victim: the model under attack.
        variables: the weights of the model.
        threat: what the attacker may do, of rows.
        rows: the inputs, `(batch, entries)`.
        target: a class for each example, `(batch,)`.
        clean: what the model makes of the inputs.
    """

    victim: Victim
    variables: Variables
    threat: NormBall
    rows: Any
    target: Any
    clean: Looked

    @property
    def constants(self) -> tuple[Any, ...]:
        """The arrays, all but the inputs' own judgement."""
        return self.variables, self.threat, self.rows, self.target


@dataclasses.dataclass(frozen=True)
class Stage:
    """A model, a score and a threat, waiting for a batch.

    Attributes:
        name: the name of the attack, for errors.
        model: the model, which may return activations as well.
        score: which number per example the attack lowers, or raises if targeted.
        threat: what the attacker may do.
        is_targeted: whether the target is the class that the attack wants.
    """

    name: str
    model: ApplyFn
    score: Score
    threat: NormBall
    is_targeted: bool

    @classmethod
    def of(
        cls,
        name: str,
        apply_fn: ApplyFn,
        score: Score | Objective | str,
        threat: NormBall,
        *,
        is_targeted: bool = False,
        is_bounded: bool = True,
    ) -> Stage:
        """Returns the stage of an attack, whose arguments are checked.

        Args:
            name: the name of the attack, for errors.
            apply_fn: the model.
            score: which number per example the attack lowers, or raises if targeted.
            threat: what the attacker may do.
            is_targeted: whether the target is the class that the attack wants.
            is_bounded: whether the attack needs a finite radius.

        Raises:
            TypeError: if the threat or the score is none.
            ValueError: if the radius is infinite and must not be.
        """
        if not isinstance(threat, NormBall):
            raise TypeError(
                f"{name}: `threat` says what the attacker may do, such as "
                f"`threat=linf(8 / 255)`, and is {shown(threat)}."
            )
        radius = threat.radius
        if is_bounded and not is_traced(radius) and not np.isfinite(radius).all():
            raise ValueError(
                f"{name} uses up a radius, and that of the threat is infinite. Write "
                f"`threat={threat.norm}(radius)`."
            )
        model, score_fn = explained(apply_fn, score)
        return cls(name, hashable(model), hashable(score_fn), threat, is_targeted)

    def scene(self, variables: Variables, inputs: Inputs, target: Target) -> Scene:
        """Returns what the steps read, and looks at the inputs once.

        Args:
            variables: the weights of the model.
            inputs: the batch that is attacked.
            target: class indices, `(batch,)`, or one class for all; `None` for the
                classes that the model gives.

        Raises:
            TypeError: if an input is not an array of real numbers, or the target not of
                integers.
            ValueError: if inputs disagree on the size of the batch, leave their range
                or are not a number, if there is not one radius or one for each example,
                if a target is missing or out of range, or if the outputs are not
                `(batch, classes)`.
            FloatingPointError: if an output for the inputs is not a number.
        """
        _check_inputs(self.name, inputs, variables)
        layout = Layout.of(inputs)
        rows, threat = layout.rows(inputs), layout.threat(self.threat, inputs)
        if any(isinstance(leaf, str) for leaf in jax.tree.leaves(target)):
            raise TypeError(
                f"{self.name}: the target is class indices, (batch,), and is "
                f"{shown(target)}."
            )
        _check_radius(self.name, rows, threat)
        _check_range(self.name, rows, threat)
        victim = Victim(self.model, self.score, self.is_targeted, layout)
        if target is None and self.is_targeted:
            raise ValueError(
                f"{self.name}: with `targeted=True` the target is the class that the "
                "attack wants. Write `perturb(variables, inputs, target)`."
            )
        traced = is_traced(variables, rows, target, threat)
        look = _clean if traced else _jitted_clean
        logits, classes, clean = look(victim, variables, rows, target)
        if not is_traced(target) and target is not None:  # a compiled call hides it
            jax.eval_shape(lambda y: margin(y, target), logits)
        _check_numbers(self.name, logits)
        return Scene(victim, variables, threat, rows, classes, clean)


def _check_inputs(name: str, inputs: Inputs, variables: Variables) -> None:
    check_batch(inputs, variables)
    for path, leaf in jax.tree.leaves_with_path(inputs):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            where = f"inputs{jax.tree_util.keystr(path)}"
            raise TypeError(
                f"{name} changes real numbers, and `{where}` has dtype {leaf.dtype}.\n"
                "Images convert with `inputs.astype(jnp.float32) / 255`; of tokens "
                "attack the embeddings."
            )


def _check_radius(name: str, rows: Any, threat: NormBall) -> None:
    shape = jnp.shape(threat.radius)
    if shape not in ((), (1,), rows.shape[:1]):
        raise ValueError(
            f"{name}: the radius of the threat is one number, or one for each of the "
            f"{rows.shape[0]} examples, and has the shape {shape}."
        )


def _check_numbers(name: str, logits: Any) -> None:
    if is_staged() or is_traced(logits) or not logits.size:
        return
    is_wrong = np.asarray(jnp.isnan(logits).any(axis=1))
    if is_wrong.any():  # no class leads, so that no change would count as a success
        raise FloatingPointError(
            f"{name}: the model's outputs for example {is_wrong.argmax()} (and "
            f"{is_wrong.sum() - 1} others) are not a number, so that nothing can be "
            "said of its decision.\nLook whether the weights are in order; leave the "
            "example out."
        )


def _check_range(name: str, rows: Any, threat: NormBall) -> None:
    if is_staged() or is_traced(rows, threat) or not rows.size:
        return
    low, high = threat.bounds
    is_outside = ~((rows >= low) & (rows <= high))  # which NaN is as well
    if bool(is_outside.any()):
        raise ValueError(
            f"{name}: the inputs lie between {float(rows.min()):g} and "
            f"{float(rows.max()):g}, outside of the bounds of the threat, "
            f"{shown((low, high))}.\nSay what an input may be, `threat={threat.norm}("
            "..., bounds=(low, high))`, or `bounds=None` for anything."
        )

"""Inverse-curvature products without the matrix, by passes over the training data."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import check_choice, checked_integer, checked_real
from jaxinterp.influence.curvature import Curvature, Kind, Solution
from jaxinterp.influence.training import (
    Parameters,
    Training,
    as_pair,
    check_rereadable,
    checked_vectors,
    chosen_paths,
    flat_parameters,
    with_parameters,
)
from jaxinterp.loop.progress import progress_bar
from jaxinterp.loop.stream import check_stream, everywhere, first_invalid, over_stream
from jaxinterp.objectives.score import Score
from jaxinterp.types import ApplyFn, Variables


@dataclasses.dataclass(frozen=True, eq=False)
class ConjugateGradient:
    """A curvature of which only products with vectors are ever computed.

    Attributes:
        training: the loss as a function of the parameters.
        variables: the weights of the model.
        batches: the training data, which every product reads once.
        kind: which curvature it is.
        tolerance: the relative residual at which a system counts as solved.
        steps: the largest number of products.
        preconditioner: another curvature, whose inverse is close to that of this one.
        progress: whether to show a progress bar.
    """

    training: Training
    variables: Any
    batches: Iterable[Any]
    kind: Kind
    tolerance: float
    steps: int
    preconditioner: Curvature | None
    progress: bool

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of the leaves of `variables` that are the parameters."""
        return self.training.paths

    def product(self, vectors: Any) -> Solution:
        """Returns the product of the curvature, without damping, with vectors.

        Args:
            vectors: the vectors, `(vectors, parameters)`.
        """

        def start(batch: Any) -> tuple[Any, Any]:
            as_pair("conjugate_gradient", batch)
            add = self._adder(everywhere(batch))

            def update(state: Any, batch: Any, count: Any) -> tuple[Any, Any]:
                n_examples, total = state
                total, invalid = add(total, vectors, self.variables, batch, count)
                return (n_examples + count, total), invalid

            return update, (np.int64(0), jnp.zeros_like(vectors))

        n_examples, total = over_stream(
            *("conjugate_gradient", self.batches, start),
            constants=self.variables,
            invalid="not finite",
            is_tree=True,
        )
        return Solution(total / n_examples, int(n_examples))

    @cached_property
    def _adder(self) -> Callable[[Any], Callable[..., Any]]:
        """What adds a batch to products, compiled once for all steps."""

        @functools.lru_cache
        def adder(sharding: Any) -> Callable[..., Any]:
            add = functools.partial(_with_batch, self.training, self.kind)
            return jax.jit(add, out_shardings=sharding)

        return adder

    def solve(self, vectors: Any, damping: float) -> Solution:
        """Returns the product of the inverse of the damped curvature with vectors.

        Args:
            vectors: the vectors, `(vectors, parameters)`.
            damping: what is added to each eigenvalue.

        Raises:
            ValueError: if the vectors have another length, or the damped curvature is
                not positive definite.
            RuntimeError: if a system is not solved after so many steps, or a vector is
                not finite.
        """
        size = flat_parameters(self.variables, self.paths).size
        vectors = checked_vectors(vectors, size)
        norms = jnp.linalg.norm(vectors, axis=1)
        x, residual = jnp.zeros_like(vectors), vectors
        z = self._preconditioned(residual, damping)
        direction, rho = z, (residual * z).sum(axis=1)
        with progress_bar(self.steps, "CG", is_shown=self.progress) as bar:
            for _ in range(self.steps):
                product, n_examples = self.product(direction)
                product = product + damping * direction
                curvature = (direction * product).sum(axis=1)
                self._check_positive(curvature, direction, damping)
                alpha = _ratio(rho, curvature)
                x = x + alpha * direction
                residual = residual - alpha * product
                bar.update()
                relative = _norm_ratio(residual, norms)
                if relative <= self.tolerance:
                    return Solution(x, n_examples)
                if np.isnan(relative):
                    raise RuntimeError(
                        "Conjugate gradients met a number that is not finite. Look "
                        "whether the vectors that are solved for are."
                    )
                z = self._preconditioned(residual, damping)
                before, rho = rho, (residual * z).sum(axis=1)
                direction = z + _ratio(rho, before) * direction
        raise RuntimeError(
            f"After {self.steps} steps of conjugate gradients the relative residual is "
            f"{relative:.2g}, and not {self.tolerance:g}. Allow more `steps`, a larger "
            "`tolerance` or more `damping`, or pass a `preconditioner` such as `ekfac`."
        )

    def _preconditioned(self, residual: Any, damping: float) -> Any:
        if self.preconditioner is None:
            return residual
        return self.preconditioner.solve(residual, damping).vectors

    def _check_positive(self, curvature: Any, direction: Any, damping: float) -> None:
        squares = np.asarray((direction**2).sum(axis=1))
        quotients = np.asarray(curvature)[squares > 0] / squares[squares > 0]
        if quotients.size and quotients.min() <= 0:
            hint = ""
            if self.kind == "hessian":
                hint = ' or take `kind="gauss_newton"`, which has no negative curvature'
            raise ValueError(
                f"Along some direction the curvature, with `damping={damping:g}`, is "
                f"{quotients.min():.3g}, and conjugate gradients need it to be "
                f"positive. Write a larger `damping`{hint}."
            )


def conjugate_gradient(
    apply_fn: ApplyFn,
    loss: Score,
    variables: Variables,
    batches: Iterable[Any],
    *,
    kind: Kind = "gauss_newton",
    parameters: Parameters = None,
    tolerance: float = 1e-5,
    steps: int = 200,
    preconditioner: Curvature | None = None,
    progress: bool = True,
) -> ConjugateGradient:
    r"""Returns a curvature that solves linear systems by conjugate gradients.

    Nothing is computed yet. Each `solve` of $(C + \lambda I) v = b$ reads the training
    data once per step, for all right-hand sides together, and stops when every residual
    is smaller than `tolerance` times its $b$.

    Cost: for each step, two passes forward and two backward over the data and each
    vector; memory for a few vectors of parameters.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        loss: the loss of each example, `loss(outputs, labels) -> (batch,)`, without
            weight decay.
        variables: the weights of the model.
        batches: pairs `(inputs, labels)`, the training data; they are read many times,
            so a generator will not do.
        kind: `"hessian"`, which has to be positive definite with its damping, or
            `"gauss_newton"`, which always is.
        parameters: globs on the paths of the leaves that are parameters, as in
            `hessian`.
        tolerance: the relative residual at which a system counts as solved.
        steps: the largest number of steps.
        preconditioner: another curvature, such as `ekfac`, which saves steps.
        progress: whether to show a progress bar.

    Returns:
        A curvature for `influence`.

    Raises:
        TypeError: if `batches` can be read only once, or `preconditioner` is none.
        ValueError: if a hyperparameter is out of range, or a glob matches nothing.

    Example:
        >>> x, y = jnp.array([[1.0], [3.0]]), jnp.array([[0.0], [1.0]])
        >>> model = lambda w, x: x * w
        >>> loss = ji.influence.squared_error
        >>> curvature = conjugate_gradient(model, loss, 0.5, [(x, y)])
        >>> solution = curvature.solve(jnp.ones((1, 1)), damping=0.0)
        >>> round(float(solution.vectors[0, 0]), 3)
        0.2

    References:
        Martens, 2010 [martens2010deep]; Koh and Liang, 2017 [koh2017understanding].
    """
    call = "conjugate_gradient"
    check_choice("kind", kind, get_args(Kind), call=call)
    tolerance = checked_real("tolerance", tolerance, 0, 1, call=call)
    steps = checked_integer("steps", steps, 1, call=call)
    if preconditioner is not None and not isinstance(preconditioner, Curvature):
        raise TypeError(
            f"{call}: `preconditioner` is another curvature, such as what ekfac() "
            f"returned, and is {type(preconditioner).__name__}."
        )
    check_stream(batches)
    check_rereadable(call, batches)
    training = Training.of(apply_fn, loss, chosen_paths(variables, parameters))
    return ConjugateGradient(
        *(training, variables, batches, kind, tolerance, steps),
        *(preconditioner, progress),
    )


def _with_batch(
    training: Training,
    kind: Kind,
    total: Any,
    vectors: Any,
    variables: Any,
    batch: Any,
    count: Any,
) -> tuple[Any, Any]:
    inputs, labels = batch
    flat = flat_parameters(variables, training.paths)
    losses = training.losses(flat, variables, inputs, labels)
    is_real = jnp.arange(losses.shape[0]) < count
    invalid = first_invalid(~jnp.isfinite(losses)[None], count)

    def loss_of(outputs: Any) -> Any:
        losses = training.loss(outputs, labels)
        return jnp.where(is_real, losses, 0).sum()

    def outputs(flat: Any) -> Any:
        return training.model(with_parameters(variables, training.paths, flat), inputs)

    def product(vector: Any) -> Any:
        vector = vector.astype(flat.dtype)
        if kind == "hessian":
            gradient = jax.grad(lambda flat: loss_of(outputs(flat)))
            return jax.jvp(gradient, (flat,), (vector,))[1]
        z, change = jax.jvp(outputs, (flat,), (vector,))
        _, curved = jax.jvp(jax.grad(loss_of), (z,), (change,))
        return jax.vjp(outputs, flat)[1](curved)[0]

    return total + jax.vmap(product)(vectors), invalid


def _ratio(numerator: Any, denominator: Any) -> Any:
    """A quotient for each vector; 0 for one that is solved already."""
    is_zero = denominator == 0
    return jnp.where(is_zero, 0, numerator / jnp.where(is_zero, 1, denominator))[
        :, None
    ]


def _norm_ratio(residual: Any, norms: Any) -> float:
    """The largest relative residual."""
    return float(_ratio(jnp.linalg.norm(residual, axis=1), norms).max(initial=0))

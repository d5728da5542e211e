r"""The curvature of a training loss as a matrix, and what every curvature can do.

A curvature is a matrix $C$ of the parameters, and `solve` is the product with
$(C + \lambda I)^{-1}$.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from functools import cached_property
from typing import Any, Literal, NamedTuple, Protocol, get_args, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import check_choice
from jaxinterp.influence.training import (
    Parameters,
    Training,
    as_pair,
    checked_vectors,
    chosen_paths,
    flat_parameters,
    multiply,
)
from jaxinterp.loop.chunks import over_units
from jaxinterp.loop.stream import everywhere, first_invalid, over_stream
from jaxinterp.objectives.score import Score
from jaxinterp.types import ApplyFn, Variables

Kind = Literal["hessian", "gauss_newton"]

# More parameters make a matrix of more than 800 MB in double precision.
MOST_PARAMETERS = 10_000


class Solution(NamedTuple):
    """The solution of linear systems.

    Attributes:
        vectors: one solution for each row, `(vectors, parameters)`.
        n_examples: the number of examples that the curvature is the mean over.
    """

    vectors: Any
    n_examples: int


@runtime_checkable
class Curvature(Protocol):
    """A curvature of the training loss, as `influence` takes it.

    Attributes:
        paths: the paths of the leaves of `variables` that are the parameters.
    """

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of the leaves of `variables` that are the parameters."""
        ...

    def solve(self, vectors: Any, damping: float) -> Solution:
        """Returns the product of the inverse of the damped curvature with vectors."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class Hessian:
    r"""The matrix of second derivatives of the mean loss, or its Gauss-Newton part.

    Attributes:
        total: the sum of the matrix over all examples, `(parameters, parameters)`.
        n_examples: the number of examples.
        paths: the paths of the leaves of `variables` that are the parameters.
        kind: which of the two it is.
    """

    total: Any
    n_examples: int
    paths: tuple[str, ...]
    kind: Kind

    @property
    def matrix(self) -> np.ndarray:
        """The mean over all examples, `(parameters, parameters)`, in float64."""
        matrix = np.asarray(self.total, np.float64) / self.n_examples
        return (matrix + matrix.T) / 2

    @cached_property
    def _spectrum(self) -> tuple[np.ndarray, np.ndarray]:
        return np.linalg.eigh(self.matrix)

    @property
    def eigenvalues(self) -> np.ndarray:
        """The eigenvalues, ascending; a negative one says that no minimum was reached.

        The model may stop at a saddle, or training may have ended too early.
        """
        return self._spectrum[0]

    def solve(self, vectors: Any, damping: float) -> Solution:
        """Returns the product of the inverse of the damped matrix with vectors.

        Args:
            vectors: the vectors, `(vectors, parameters)`.
            damping: what is added to each eigenvalue.

        Raises:
            ValueError: if the vectors have another length, or the damped matrix is not
                positive definite.
        """
        vectors = checked_vectors(vectors, self.total.shape[0])
        values, basis = self._spectrum
        smallest = values[0] + damping
        tolerance = len(values) * np.finfo(self.total.dtype).eps * np.abs(values).max()
        if smallest <= tolerance:
            hint = f"`damping={max(-2 * values[0], 1e-3 * values[-1]):.1g}`"
            if self.kind == "hessian":
                hint += ', or take `hessian(..., kind="gauss_newton")` and damp that'
            raise ValueError(
                f"The curvature has the eigenvalue {values[0]:.3g}, and with `damping="
                f"{damping:g}` it is not positive definite. Write {hint}."
            )
        basis = jnp.asarray(basis, vectors.dtype)
        scale = jnp.asarray(1 / (values + damping), vectors.dtype)
        coordinates = multiply(vectors, basis) * scale[None]
        return Solution(multiply(coordinates, basis.T), self.n_examples)


def hessian(
    apply_fn: ApplyFn,
    loss: Score,
    variables: Variables,
    batches: Iterable[Any],
    *,
    kind: Kind = "hessian",
    parameters: Parameters = None,
    resume: Hessian | None = None,
    progress: bool = True,
) -> Hessian:
    r"""Computes the curvature of the mean loss over a stream, exactly, as a matrix.

    $$H = \frac1n \sum_i \nabla^2 L_i(\theta), \qquad
    G = \frac1n \sum_i J_i^\top \nabla_z^2 L_i\, J_i$$

    $J_i$ is the Jacobian of the outputs $z$ in the parameters. The Gauss-Newton matrix
    $G$ has no negative eigenvalue if the loss is convex in the outputs, and equals $H$
    where the outputs are linear in the parameters.

    Cost: for each batch, as many backward passes as there are parameters (`"hessian"`)
    or outputs (`"gauss_newton"`); memory for the square of the parameters.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        loss: the loss of each example, `loss(outputs, labels) -> (batch,)`, without
            weight decay.
        variables: the weights of the model.
        batches: pairs `(inputs, labels)` of arrays with the examples on the first axis,
            the training data.
        kind: `"hessian"` for $H$, `"gauss_newton"` for $G$.
        parameters: globs on the paths of the leaves that are parameters. By default all
            floating-point leaves, or those of the collection `params` if there is one.
        resume: the curvature of the examples before, from the same arguments.
        progress: whether to show a progress bar, if `batches` has a length.

    Returns:
        The matrix, in the units of the loss per squared parameter.

    Raises:
        FloatingPointError: if a loss is not finite; the message names the example.
        TypeError: if a batch is no pair of arrays.
        ValueError: if there are more than 10 000 parameters or no example, if a glob
            matches nothing, or if `resume` is of another call.

    Example:
        >>> x, y = jnp.array([[1.0], [3.0]]), jnp.array([[0.0], [1.0]])
        >>> model = lambda w, x: x * w
        >>> curvature = hessian(model, ji.influence.squared_error, 0.5, [(x, y)])
        >>> curvature.matrix.tolist()
        [[5.0]]

    References:
        Koh and Liang, 2017 [koh2017understanding]; Martens, 2020 (the Gauss-Newton
        matrix) [martens2020new].
    """
    check_choice("kind", kind, get_args(Kind), call="hessian")
    paths = chosen_paths(variables, parameters)
    training = Training.of(apply_fn, loss, paths)
    size = flat_parameters(variables, paths).size
    if size > MOST_PARAMETERS:
        raise ValueError(
            f"The curvature of {size:,} parameters is a matrix of "
            f"{8e-9 * size**2:,.1f} GB. Choose some of them, `parameters='head/*'`, or "
            "take `ekfac` or `conjugate_gradient`."
        )

    def start(batch: Any) -> tuple[Any, Any]:
        as_pair("hessian", batch)
        add = jax.jit(
            lambda *arrays: _with_batch(training, kind, *arrays),
            out_shardings=everywhere(batch),
        )
        dtype = flat_parameters(variables, paths).dtype
        state = (np.int64(0), jnp.zeros((size, size), dtype))
        if resume is not None:
            _check_resume(resume, paths, kind, size)
            state = (np.int64(resume.n_examples), resume.total)

        def update(state: Any, batch: Any, count: Any) -> tuple[Any, Any]:
            total, invalid = add(state[1], variables, batch, count)
            return (state[0] + count, total), invalid

        return update, state

    n_examples, total = over_stream(
        *("hessian", batches, start),
        constants=variables,
        invalid="not finite",
        name="curvature" if progress else "",
        is_tree=True,
    )
    return Hessian(total, int(n_examples), paths, kind)


def _with_batch(
    training: Training, kind: Kind, total: Any, variables: Any, batch: Any, count: Any
) -> tuple[Any, Any]:
    inputs, labels = batch
    flat = flat_parameters(variables, training.paths)
    losses = training.losses(flat, variables, inputs, labels)
    is_real = jnp.arange(losses.shape[0]) < count
    invalid = first_invalid(~jnp.isfinite(losses)[None], count)
    if kind == "gauss_newton":
        roots = jax.vmap(lambda x, y: training.roots(variables, x, y))(inputs, labels)
        roots = jnp.where(is_real[:, None, None], roots, 0)

        def add(total: Any, vectors: Any) -> Any:
            return total + multiply(vectors.T, vectors)

        return training.over_columns(add, total, variables, batch, roots), invalid

    def summed(flat: Any) -> Any:
        losses = training.losses(flat, variables, inputs, labels)
        return jnp.where(is_real, losses, 0).sum()

    def rows(units: Any) -> Any:
        directions = jax.nn.one_hot(units, flat.size, dtype=flat.dtype)
        product = lambda v: jax.jvp(jax.grad(summed), (flat,), (v,))[1]  # noqa: E731
        return jax.vmap(product)(directions)

    return total + over_units(rows, flat.size, min(64, flat.size), is_inner=True), (
        invalid
    )


def _check_resume(resume: Any, paths: tuple[str, ...], kind: Kind, size: int) -> None:
    if not isinstance(resume, Hessian):
        raise TypeError(
            "`resume` is what an earlier call of hessian() returned, and is "
            f"{type(resume).__name__}."
        )
    before = len(resume.total)
    if (resume.paths, resume.kind, before) != (paths, kind, size):
        raise ValueError(
            f"`resume` is for kind={resume.kind!r} of {resume.paths}, {before} "
            f"parameters, and this call for kind={kind!r} of {paths}, {size} "
            "parameters.\nGo on with the earlier arguments."
        )

"""Conjugate gradients against the matrix."""

from typing import Any

import numpy as np
import pytest

from jaxinterp.influence.conjugate_gradient import conjugate_gradient
from jaxinterp.influence.curvature import hessian
from jaxinterp.influence.ekfac import ekfac
from jaxinterp.influence.influence_function import influence
from jaxinterp.influence.losses import cross_entropy
from tests.networks import functions

RNG = np.random.default_rng(0)
X, LABELS = RNG.normal(size=(11, 4)), RNG.integers(3, size=11)
LAYERS = functions.mlp_weights((4, 5, 3))
BATCHES = [(X[:4], LABELS[:4]), (X[4:], LABELS[4:])]
MODEL: Any = (functions.mlp, cross_entropy, LAYERS, BATCHES)


def test_it_solves_what_the_matrix_solves() -> None:
    vectors = RNG.normal(size=(3, 43))
    vectors[1] = 0  # solved before the first step
    for kind, damping in (("gauss_newton", 0.01), ("hessian", 1.0)):
        exact = hessian(*MODEL, kind=kind).solve(vectors, damping)
        found = conjugate_gradient(*MODEL, kind=kind, tolerance=1e-10).solve(
            vectors, damping
        )
        assert found.n_examples == 11
        np.testing.assert_allclose(found.vectors, exact.vectors, rtol=1e-6, atol=1e-9)


def test_a_preconditioner_saves_steps() -> None:
    vectors = RNG.normal(size=(3, 43))
    near = hessian(*MODEL, kind="gauss_newton")
    exact = near.solve(vectors, 1e-3).vectors
    solver = conjugate_gradient(*MODEL, steps=2, preconditioner=near)
    np.testing.assert_allclose(solver.solve(vectors, 1e-3).vectors, exact, rtol=1e-6)


@pytest.mark.slow(reason="compiles three curvatures")
def test_kronecker_factors_are_a_preconditioner() -> None:
    vectors = RNG.normal(size=(3, 43))
    exact = hessian(*MODEL, kind="gauss_newton").solve(vectors, 1e-3).vectors
    kronecker = conjugate_gradient(*MODEL, preconditioner=ekfac(*MODEL), tolerance=1e-9)
    found = kronecker.solve(vectors, 1e-3).vectors
    np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-6)


def test_all_steps_share_a_program() -> None:
    calls = []

    def model(layers: Any, x: Any) -> Any:
        calls.append(x.shape)
        return functions.mlp(layers, x)

    solver = conjugate_gradient(model, *MODEL[1:], tolerance=1e-8)
    solver.solve(RNG.normal(size=(3, 43)), 0.1)
    once = len(calls)
    solver.solve(RNG.normal(size=(3, 43)), 0.1)
    assert 0 < once == len(calls) < 8  # of a batch of each size that there is


@pytest.mark.slow(reason="compiles two curvatures and four streams")
def test_influence_takes_it() -> None:
    options: Any = {"damping": 0.1, "k": 11}
    for queries in ((X[:2], LABELS[:2]), None):
        found = influence(
            *MODEL,
            queries,
            curvature=conjugate_gradient(*MODEL, tolerance=1e-10),
            **options,
        )
        exact = influence(
            *MODEL, queries, curvature=hessian(*MODEL, kind="gauss_newton"), **options
        )
        np.testing.assert_allclose(found.by_example(), exact.by_example(), rtol=1e-6)


def test_what_is_wrong_is_said() -> None:
    vectors = RNG.normal(size=(3, 43))
    with pytest.raises(ValueError, match=r"larger `damping` or take `kind=\"gauss_n"):
        conjugate_gradient(*MODEL, kind="hessian").solve(vectors, 0.0)
    with pytest.raises(RuntimeError, match=r"After 2 steps .* relative residual is"):
        conjugate_gradient(*MODEL, steps=2).solve(vectors, 1e-3)
    with pytest.raises(TypeError, match="a generator is empty after the first"):
        conjugate_gradient(*MODEL[:3], iter(BATCHES))
    with pytest.raises(TypeError, match="`batches` are several arrays"):
        conjugate_gradient(*MODEL[:3], X)
    for wrong in ({"tolerance": 2.0}, {"steps": 0}, {"kind": "fisher"}):
        with pytest.raises(
            ValueError, match=f"conjugate_gradient: `{next(iter(wrong))}"
        ):
            conjugate_gradient(*MODEL, **wrong)
    with pytest.raises(ValueError, match="matches no leaf"):
        conjugate_gradient(*MODEL, parameters="none")


def test_vectors_and_preconditioners_are_checked() -> None:
    solver = conjugate_gradient(*MODEL)
    with pytest.raises(ValueError, match=r"vectors \(vectors, 43\), and was given"):
        solver.solve(np.ones((1, 42)), 0.1)
    with pytest.raises(RuntimeError, match="a number that is not finite"):
        solver.solve(np.full((1, 43), np.nan), 0.1)
    assert solver.solve(np.ones((0, 43)), 0.1).vectors.shape == (0, 43)
    with pytest.raises(TypeError, match="`preconditioner` is another curvature"):
        conjugate_gradient(*MODEL, preconditioner=3)  # pyright: ignore[reportArgumentType]  what is tested

"""Every pass over a stream of examples, run as a script for `test_dataset_passes.py`.

python -m tests.passes FILE                   on one device, the whole stream
python -m tests.passes FILE --spread          on all devices, stopped half-way
python -m tests.passes FILE --process 0 PORT  likewise, as the first of two processes
"""

import argparse
import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import jaxinterp as ji
from tests.networks import functions as models

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 4)).astype(np.float32)
Y = RNG.integers(3, size=64).astype(np.int32)
W = {
    "a": RNG.normal(size=(4, 5)).astype(np.float32),
    "b": RNG.normal(size=(5, 3)).astype(np.float32),
}
QUERIES = X[:3], Y[:3]
QUIET = {"progress": False}
SGD = optax.sgd(0.1)


class Pass(NamedTuple):
    """A pass over a stream.

    Attributes:
        run: the pass, a function of the batches and of what it returned before.
        data: what the stream is cut from, arrays with 64 examples on the first axis.
        resumes: whether it can go on from what it returned before.
    """

    run: Callable[[Iterable[Any], Any], Any]
    data: Any = (X, Y)
    resumes: bool = True


IMAGES = models.normal(60, 64, 6, 6, 2).astype(np.float32)
MASKS = {"a": RNG.random((64, 12, 12)) < 0.2}
CNN = jax.tree.map(np.float32, models.cnn_weights())


def model(w: Any, x: Any) -> Any:
    return jnp.tanh(x @ w["a"]) @ w["b"]


def passes() -> dict[str, Pass]:
    i, vis, loss = ji.influence, ji.featurevis, ji.influence.cross_entropy
    kept: Any = {"k": 64, **QUIET}
    exact = i.hessian(model, loss, W, [(X, Y)], kind="gauss_newton", **QUIET)
    in_basis = i.ekfac(model, loss, W, [(X[:8], Y[:8])], **QUIET)
    dissected = ji.concepts.dissect(
        models.cnn, "relu", CNN, [(IMAGES[:8], {"a": MASKS["a"][:8]})], **QUIET
    )

    def labels_of(batches: Any, before: Any) -> Any:
        start = 0 if before is None else int(before.counts.sum())
        return Y[start : start + sum(len(batch) for batch in batches)]

    return {
        "dataset_examples": Pass(
            lambda batches, before: vis.dataset_examples(
                *(model, "tanh:*", W, batches),
                resume=None if before is None else before.state,
                **kept,
            ),
            X,
        ),
        "activation_distribution": Pass(
            lambda batches, before: vis.activation_distribution(
                model, "tanh:*", W, batches, resume=before, **QUIET
            ),
            X,
        ),
        "train_dictionary": Pass(
            lambda batches, before: ji.mechanistic.train_dictionary(
                *(model, "tanh", W, batches),
                key=jax.random.key(0),
                features=6,
                optimizer=SGD,
                resume=before,
                **QUIET,
            ),
            X,
        ),
        "hessian": Pass(
            lambda batches, before: i.hessian(
                *(model, loss, W, batches), kind="gauss_newton", resume=before, **QUIET
            ),
        ),
        "ekfac": Pass(
            lambda batches, before: i.ekfac(
                *(model, loss, W, batches), resume=before or in_basis, **QUIET
            ),
        ),
        "ekfac's bases": Pass(
            lambda batches, _: i.ekfac(model, loss, W, batches, **QUIET), resumes=False
        ),
        "conjugate_gradient": Pass(
            lambda batches, _: i.conjugate_gradient(
                model, loss, W, batches, tolerance=1e-6, **QUIET
            ).solve(np.ones((1, 35), np.float32), damping=0.1),
            resumes=False,
        ),
        "influence": Pass(
            lambda batches, before: i.influence(
                *(model, loss, W, batches, QUERIES),
                curvature=exact,
                damping=0.1,
                resume=before,
                **kept,
            ),
        ),
        "trac_in": Pass(
            lambda batches, before: i.trac_in(
                *(model, loss, [W, W], batches, QUERIES),
                rates=0.1,
                resume=before,
                **kept,
            ),
        ),
        "fit_patterns": Pass(
            lambda batches, before: ji.attribution.fit_patterns(
                models.cnn, CNN, batches, resume=before, **QUIET
            ),
            IMAGES,
        ),
        "relevance_examples": Pass(
            lambda batches, before: ji.attribution.relevance_examples(
                *(model, "tanh", W, batches), k=64, resume=before, **QUIET
            ),
        ),
        "dissect": Pass(
            lambda batches, before: ji.concepts.dissect(
                *(models.cnn, "relu", CNN, batches),
                resume=dissected if before is None else before,
                **QUIET,
            ),
            (IMAGES, MASKS),
        ),
        "dissect's thresholds": Pass(
            lambda batches, _: ji.concepts.dissect(
                models.cnn, "relu", CNN, batches, quantile=0.05, **QUIET
            ),
            (IMAGES, MASKS),
            resumes=False,
        ),
        "fit_gaussians": Pass(
            lambda batches, before: ji.adversarial.fit_gaussians(
                *(model, "tanh", W, batches, labels_of(batches, before)), resume=before
            ),
            X,
        ),
        "knn_shapley": Pass(
            lambda batches, before: i.knn_shapley(
                X, Y, batches, k=3, resume=before, **QUIET
            ),
        ),
        "suspicious_labels": Pass(
            lambda batches, before: ji.labels.suspicious_labels(
                model, W, batches, resume=before, **kept
            ),
        ),
    }


def batches(one: Pass, rows: slice, mesh: Mesh | None) -> list[Any]:
    """Returns some of the examples as batches of 16, spread if there is a mesh."""

    def cut(start: int, array: Any) -> Any:
        batch = array[start : start + 16]
        if mesh is None:
            return batch
        sharding = NamedSharding(mesh, PartitionSpec("batch"))
        return jax.make_array_from_callback(batch.shape, sharding, batch.__getitem__)

    return [
        jax.tree.map(functools.partial(cut, start), one.data)
        for start in range(rows.start, rows.stop, 16)
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--spread", action="store_true")
    parser.add_argument("--process", type=int, nargs=2, metavar=("NUMBER", "PORT"))
    options = parser.parse_args()
    if options.process:
        number, port = options.process
        jax.distributed.initialize(f"localhost:{port}", 2, number)
    is_spread = options.spread or options.process
    mesh = Mesh(np.array(jax.devices()), ("batch",)) if is_spread else None
    saved = {}
    for name, one in passes().items():
        half = slice(0, 32) if mesh is not None and one.resumes else slice(0, 0)
        before = one.run(batches(one, half, mesh), None) if half.stop else None
        result = one.run(batches(one, slice(half.stop, 64), mesh), before)
        leaves = jax.tree.leaves(result)
        arrays = [leaf for leaf in leaves if isinstance(leaf, jax.Array | np.ndarray)]
        for i, array in enumerate(arrays):
            saved[f"{name} {i}"] = np.asarray(array)
    np.savez(options.file, **saved)


if __name__ == "__main__":
    main()

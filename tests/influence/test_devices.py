"""Passes over examples that are spread over eight devices give what one gives."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SPREAD = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
import jaxinterp as ji

assert jax.device_count() == 8
rng = np.random.default_rng(0)
x, y = rng.normal(size=(40, 4)).astype("f"), rng.integers(3, size=40)
x[35:], y[35:] = x[34], y[34]
w = {"a": rng.normal(size=(4, 5)).astype("f"), "b": rng.normal(size=(5, 3)).astype("f")}
loss = ji.influence.cross_entropy

def model(w, x):
    return jnp.tanh(x @ w["a"]) @ w["b"]

def passes(batches):
    queries = x[:3], y[:3]
    arguments = model, loss, w, batches
    results = []
    for curvature in (
        ji.influence.hessian(*arguments, kind="gauss_newton"),
        ji.influence.ekfac(*arguments),
        ji.influence.conjugate_gradient(*arguments, tolerance=1e-6),
    ):
        options = {"curvature": curvature, "damping": 0.1, "k": 40}
        results.append(ji.influence.influence(*arguments, queries, **options))
    results.append(ji.influence.influence(*arguments, **options))
    results.append(
        ji.influence.trac_in(model, loss, [w, w], batches, queries, rates=0.1, k=40)
    )
    results.append(ji.labels.suspicious_labels(model, w, batches, k=40))
    shapley = ji.influence.knn_shapley(x, y, batches, k=3)
    return [r.by_example() for r in results] + [shapley.values], results

mesh = Mesh(np.array(jax.devices()), ("data",))
rows = NamedSharding(mesh, P("data"))
spread = [
    (jax.device_put(x[i : i + 16], rows), jax.device_put(y[i : i + 16], rows))
    for i in (0, 16)
] + [(jax.device_put(x[32:40], rows), jax.device_put(y[32:40], rows))]
one, _ = passes([(x[i : i + 16], y[i : i + 16]) for i in (0, 16, 32)])
many, results = passes(spread)
assert all(len(r.highest.scores.sharding.device_set) == 8 for r in results)
for a, b in zip(one, many, strict=True):
    np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-5)
print("same")
"""


@pytest.mark.slow(reason="compiles all passes twice in a process with eight devices")
def test_spread_over_devices_it_is_the_same() -> None:
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8 "
        "--xla_backend_optimization_level=0",
        "JAX_PLATFORMS": "cpu",
    }
    run = subprocess.run(
        [sys.executable, "-c", SPREAD],
        cwd=Path(__file__).resolve().parents[2],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (0, "same\n"), run.stderr[-3000:]

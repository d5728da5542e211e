"""Passes over images that are spread over eight devices give what one gives."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SPREAD = """
import jax, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
import jaxinterp as ji
from tests.networks import functions as models

jax.config.update("jax_enable_x64", True)
assert jax.device_count() == 8
mesh = Mesh(np.array(jax.devices()), ("data",))
rng = np.random.default_rng(0)
images = [models.normal(60, 16, 6, 6, 2), models.normal(61, 8, 6, 6, 2)]
masks = [{"a": rng.random((len(x), 12, 12)) < 0.2} for x in images]
weights = models.cnn_weights()

def passes(weights, images, masks):
    fitted = ji.attribution.fit_patterns(models.cnn, weights, images)
    pairs = list(zip(images, masks))
    dissected = ji.concepts.dissect(models.cnn, "relu", weights, pairs, quantile=0.05)
    return fitted, dissected.iou

spread = jax.device_put((images, masks), NamedSharding(mesh, P("data")))
copied = jax.device_put(weights, NamedSharding(mesh, P()))
one, many = passes(weights, images, masks), passes(copied, *spread)
assert len(jax.tree.leaves(many[0])[0].sharding.device_set) == 8
for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(many), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
print("same")
"""


@pytest.mark.slow(reason="compiles both passes twice in a process with eight devices")
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
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout.split()[-1] == "same"

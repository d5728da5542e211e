"""Every dataset pass is the same on one device, on eight, and on two processes.

On several it is stopped half-way and gone on with, if the pass can be.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]


def started(file: Path, *options: str, devices: int = 1) -> subprocess.Popen[str]:
    flags = f"--xla_force_host_platform_device_count={devices}"
    return subprocess.Popen(
        [sys.executable, "-m", "tests.passes", str(file), *options],
        cwd=ROOT,
        env={
            **os.environ,
            "XLA_FLAGS": f"{flags} --xla_backend_optimization_level=0",
            "JAX_PLATFORMS": "cpu",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def results(file: Path, *processes: subprocess.Popen[str]) -> dict[str, np.ndarray]:
    for process in processes:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output[-3000:]
    with np.load(file) as arrays:
        return dict(arrays)


def free_port() -> str:
    with socket.socket() as one:
        one.bind(("localhost", 0))
        return str(one.getsockname()[1])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    file = tmp_path_factory.mktemp("passes") / "one.npz"
    return results(file, started(file))


@pytest.mark.slow(reason="compiles every pass in processes of their own")
@pytest.mark.parametrize("where", ["eight devices", "two processes"])
def test_spread_and_resumed_it_is_the_same(
    where: str, whole: dict[str, np.ndarray], tmp_path: Path
) -> None:
    file = tmp_path / "many.npz"
    if where == "eight devices":
        spread = results(file, started(file, "--spread", devices=8))
    else:
        port = free_port()
        both = [
            started(tmp_path / name, "--process", str(i), port, devices=2)
            for i, name in enumerate(["many.npz", "other.npz"])
        ]
        spread = results(file, *both)
    assert spread.keys() == whole.keys()
    for name, array in whole.items():
        np.testing.assert_allclose(
            spread[name], array, rtol=2e-3, atol=1e-5, err_msg=name
        )

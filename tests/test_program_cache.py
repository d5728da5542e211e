"""What is kept of compiled programs between runs, and where it cannot be."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests import program_cache

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = """
import warnings
warnings.simplefilter("error")
warnings.filterwarnings("ignore", IGNORED)
from tests import program_cache
program_cache.switch_on()
import jax
print(jax.jit(lambda x: 2 * x)(3))
"""


def test_the_programs_read_last_are_kept(tmp_path: Path) -> None:
    for age, name in enumerate(["newest", "newer", "older", "oldest"]):
        (tmp_path / name).write_bytes(bytes(10))
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    program_cache.prune(tmp_path, 25)
    assert {path.name for path in tmp_path.iterdir()} == {"newest", "newer"}
    program_cache.prune(tmp_path, 20)
    assert len(list(tmp_path.iterdir())) == 2
    program_cache.prune(tmp_path / "absent")


def compiled_in(folder: Path, **environment: str) -> str:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    filters = settings["tool"]["pytest"]["ini_options"]["filterwarnings"]
    error, ignored = filters
    assert error == "error"
    pattern = ignored.removeprefix("ignore:")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("IGNORED", repr(pattern))],
        cwd=ROOT,
        env={
            **os.environ,
            "JAX_COMPILATION_CACHE_DIR": str(folder),
            "JAX_PLATFORMS": "cpu",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_program_is_kept_unless_the_variable_says_no(tmp_path: Path) -> None:
    assert compiled_in(tmp_path, JAX_ENABLE_COMPILATION_CACHE="0") == "6\n"
    assert not list(tmp_path.iterdir())
    assert compiled_in(tmp_path / "new") == "6\n"
    assert list((tmp_path / "new").glob("*-cache"))


def test_a_folder_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert compiled_in(tmp_path / "file" / "programs") == "6\n"


@pytest.mark.slow(reason="starts two processes that import JAX")
def test_a_program_that_was_written_in_part_is_compiled_again(tmp_path: Path) -> None:
    compiled_in(tmp_path)
    programs = list(tmp_path.glob("*-cache"))
    for path in programs:
        path.write_bytes(path.read_bytes()[:99])
    assert compiled_in(tmp_path) == "6\n"
    assert programs

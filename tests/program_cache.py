"""JAX's persistent compilation cache for the tests: the second run compiles little.

It lies in the user's cache folder. `JAX_ENABLE_COMPILATION_CACHE=0` turns it off, and
`JAX_COMPILATION_CACHE_DIR` names another folder, which is then never pruned. Where the
folder cannot be written, the tests run without. Several processes may write to it at
once: a program that one reads while another writes it does not decompress, and is
compiled again; JAX's warning of that is no error, see `pyproject.toml`.
"""

import hashlib
import os
import platform
import tempfile
from pathlib import Path

import jax
import platformdirs

MOST_BYTES = 2_000_000_000


def processor() -> str:
    """What tells processors apart that cannot run one another's programs."""
    text = platform.machine() + platform.processor()
    if (description := Path("/proc/cpuinfo")).exists():
        lines = description.read_text().splitlines()
        text += "".join(sorted({line for line in lines if line.startswith("flags")}))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def own_folder() -> Path:
    """The folder that is used, and pruned, if no other is named."""
    return Path(platformdirs.user_cache_dir("jaxinterp")) / "programs" / processor()


def can_be_written(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"programs")
    except OSError:
        return False
    return True


def switch_on() -> None:
    """Keeps every program, of this process and of those that tests start."""
    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR", str(own_folder()))
    if not can_be_written(Path(folder)):
        os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "0"
        jax.config.update("jax_enable_compilation_cache", False)
        return
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def prune(folder: Path, most_bytes: int = MOST_BYTES) -> None:
    """Deletes the programs that have not been read for longest, if they are too many.

    Args:
        folder: where they lie.
        most_bytes: how much is kept.
    """
    files = []
    for path in folder.glob("*"):
        try:
            files.append((path.stat(), path))
        except OSError:  # another process deleted it meanwhile
            continue
    files.sort(key=lambda pair: max(pair[0].st_atime, pair[0].st_mtime), reverse=True)
    kept = 0
    for status, path in files:
        kept += status.st_size
        if kept > most_bytes:
            try:
                path.unlink()
            except OSError:
                return

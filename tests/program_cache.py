"""JAX's persistent compilation cache for the tests: the second run compiles little.

It lies in the user's cache folder. `JAX_ENABLE_COMPILATION_CACHE=0` turns it off, and
`JAX_COMPILATION_CACHE_DIR` names another folder.
"""

import hashlib
import os
import platform
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


def switch_on() -> None:
    """Keeps every program, of this process and of those that tests start."""
    default = Path(platformdirs.user_cache_dir("jaxinterp")) / "programs" / processor()
    folder = os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(default))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def prune(most_bytes: int = MOST_BYTES) -> None:
    """Deletes the programs that have not been read for longest, if they are too many.

    Args:
        most_bytes: how much is kept.
    """
    folder = Path(os.environ["JAX_COMPILATION_CACHE_DIR"])
    files = [(path.stat(), path) for path in folder.rglob("*") if path.is_file()]
    files.sort(key=lambda pair: max(pair[0].st_atime, pair[0].st_mtime), reverse=True)
    kept = 0
    for status, path in files:
        kept += status.st_size
        if kept > most_bytes:
            path.unlink(missing_ok=True)

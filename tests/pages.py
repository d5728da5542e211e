"""Pages of Markdown whose Python blocks are run, as a reader runs them.

A `text` block is what the Python block before it prints; a line of three dots in it
stands for lines that are left out.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SEPARATOR = "=== end of block ==="
LEFT_OUT = re.escape("...") + "\n"


def examples(page: str) -> list[tuple[str, str]]:
    """Pairs of Python block and what it should print."""
    blocks = [(match[1], match[2]) for match in BLOCK.finditer(page)]
    pairs = zip(blocks, [*blocks[1:], ("", "")], strict=True)
    return [
        (code, following if language == "text" else "")
        for (kind, code), (language, following) in pairs
        if kind == "python"
    ]


def check_examples(page: str, folder: Path = ROOT) -> None:
    """Runs the examples of a page in one process, and compares what they print.

    Args:
        page: the text of the page.
        folder: the folder in which they run, where their files are written.
    """
    pairs = examples(page)
    script = "".join(f"{code}\nprint({SEPARATOR!r})\n" for code, _ in pairs)
    # Another process: a reader has float32, and none of the switches of the tests.
    environment = {k: v for k, v in os.environ.items() if k != "JAX_ENABLE_X64"}
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env=environment | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    printed = run.stdout.split(SEPARATOR)[:-1]
    for (code, expected), found in zip(pairs, printed, strict=True):
        pattern = map(re.escape, stripped(expected))
        pattern = "".join(f"{line}\n" for line in pattern).replace(LEFT_OUT, "(.*\n)+")
        printed_lines = "".join(f"{line}\n" for line in stripped(found))
        assert re.fullmatch(pattern, printed_lines), f"{code}\nprints\n{found}"


def stripped(text: str) -> list[str]:
    """Lines without what stands at their ends, where editors remove it too."""
    return [line.rstrip() for line in text.strip().splitlines()]

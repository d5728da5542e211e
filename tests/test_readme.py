"""What the README shows is what happens: its Python blocks run, as a reader runs them.

A `text` block is what the Python block before it prints.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SEPARATOR = "=== end of block ==="


def examples() -> list[tuple[str, str]]:
    """Pairs of Python block and what it should print."""
    blocks = [(match[1], match[2]) for match in BLOCK.finditer(README)]
    pairs = zip(blocks, [*blocks[1:], ("", "")], strict=True)
    return [
        (code, following if language == "text" else "")
        for (kind, code), (language, following) in pairs
        if kind == "python"
    ]


def stripped(text: str) -> list[str]:
    """Lines without what stands at their ends, where editors remove it too."""
    return [line.rstrip() for line in text.strip().splitlines()]


@pytest.mark.slow(reason="trains, explains and visualizes in a process of its own")
def test_its_examples_run_and_print_what_they_show() -> None:
    shown = examples()
    assert len(shown) >= 4
    script = "".join(f"{code}\nprint({SEPARATOR!r})\n" for code, _ in shown)
    # Another process: a reader has float32, and none of the switches of the tests.
    environment = {k: v for k, v in os.environ.items() if k != "JAX_ENABLE_X64"}
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environment | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    printed = run.stdout.split(SEPARATOR)[:-1]
    for (code, expected), found in zip(shown, printed, strict=True):
        assert stripped(found) == stripped(expected), f"{code}\nprints\n{found}"


def test_its_links_lead_to_files() -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", README)
    local = [link for link in links if "://" not in link]
    assert len(local) >= 5
    missing = [link for link in local if not (ROOT / link).exists()]
    assert not missing, missing


def test_the_two_commands_are_those_of_the_promise() -> None:
    commands = [code.strip() for kind, code in BLOCK.findall(README) if kind == "bash"]
    assert commands == [
        "pip install -e . && python -m experiments.quickstart",
        'pip install -e ".[test]" && pytest',
    ]

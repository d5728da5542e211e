"""Executes every notebook from top to bottom, each in a kernel of its own, two at once.

A failing cell fails the run, and so does a notebook stored with outputs: what it shows
is made by running it. `--check` looks for stored outputs only. The executed copies lie
in `executed/`, which git ignores; the documentation shows them.
"""

import argparse
import functools
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

FOLDER = Path(__file__).resolve().parent
EXECUTED = FOLDER / "executed"
CELL_SECONDS = 300


def stored_outputs(notebook: nbformat.NotebookNode) -> bool:
    """Whether any code cell was saved with an output or an execution count."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return any(cell.outputs or cell.execution_count is not None for cell in code)


def run(notebook: nbformat.NotebookNode) -> str | None:
    """Returns what went wrong, if anything did."""
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(FOLDER)}},
    )
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        return str(error)
    return None


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only look for outputs")
    only_check = parser.parse_args().check
    with ThreadPoolExecutor(2) as pool:
        one = functools.partial(checked, only_check=only_check)
        return int(not all(pool.map(one, sorted(FOLDER.glob("*.ipynb")))))


def checked(path: Path, only_check: bool) -> bool:
    """Whether a notebook is as it should be; what is wrong is printed."""
    start = time.perf_counter()
    notebook = nbformat.read(path, as_version=4)
    error = "it is stored with outputs" if stored_outputs(notebook) else None
    if error is None and not only_check:
        error = run(notebook)
        if error is None:
            EXECUTED.mkdir(exist_ok=True)
            nbformat.write(notebook, EXECUTED / path.name)
    seconds = time.perf_counter() - start
    status = f"FAILED\n{error}" if error else "ok"
    print(f"{path.name} ({seconds:.0f} s): {status}", flush=True)
    return error is None


if __name__ == "__main__":
    sys.exit(main())

"""Writes networks into the package: their weights, checksums, and a README."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import jax
import numpy as np
from safetensors.numpy import save

from experiments.zoo.recipe import Trained
from experiments.zoo.table import measured, n_parameters
from jaxinterp.models.weights.pretrained import CHECKSUMS

README = """\
# Trained networks

The weights that `jaxinterp.models.pretrained(name)` reads. This folder is made by

```bash
python -m experiments.zoo --ship
```

from a checkout. What is not in the cache of the zoo is trained first, in a few minutes
on two cores. The same code on the same machine gives the same bytes. `sha256sum -c
SHA256SUMS` verifies the files, and `pretrained` does so whenever it reads one.

| network | module | figures | steps of training | parameters | kB |
|---|---|---|--:|--:|--:|
{rows}

Figures were measured on examples that were not trained on. `random patch` and `no
patch` are accuracies where the patch does not give the answer away: that network is
meant to fail at them. [The zoo](../../../../experiments/zoo/README.md) says what each
network is trained on, and when training stops.

## License

The weights are licensed under Apache-2.0, as all of this package. They began at random,
not from weights of others. All networks but two saw nothing but data that
`jaxinterp.data` draws at random. Two were trained on sets that scikit-learn distributes
with itself under BSD-3-Clause, both of them copies from the UCI Machine Learning
Repository; their examples are not in these files:

- `digits_cnn`: *Optical Recognition of Handwritten Digits*, E. Alpaydin and C. Kaynak,
  1998, the test set.
- `tabular_breast_cancer`: *Breast Cancer Wisconsin (Diagnostic)*, W. H. Wolberg,
  W. N. Street and O. L. Mangasarian, 1995.
"""


def ship(networks: Iterable[Trained], folder: Path) -> None:
    """Writes one file a network, the checksums of all files, and a README.

    Args:
        networks: in the order of the README's table.
        folder: where to write.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows, checksums = [], []
    for network in networks:
        content = save(_tensors(network.variables))
        path = folder / f"{network.name}.safetensors"
        path.write_bytes(content)
        checksums.append(f"{hashlib.sha256(content).hexdigest()}  {path.name}\n")
        cells = (
            f"`{network.name}`",
            f"`{type(network.module).__name__}`",
            measured(network),
            f"{network.figures['steps']:.0f}",
            n_parameters(network),
            f"{len(content) / 1000:.0f}",
        )
        rows.append(f"| {' | '.join(cells)} |")
    (folder / CHECKSUMS.name).write_text("".join(checksums), "utf-8")
    (folder / "README.md").write_text(README.format(rows="\n".join(rows)), "utf-8")


def _tensors(variables: object) -> dict[str, np.ndarray]:
    """Returns the arrays of a network by the path of each, joined with slashes."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
        for path, leaf in jax.tree.leaves_with_path(variables)
    }

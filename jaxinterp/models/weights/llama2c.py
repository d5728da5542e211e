"""The checkpoint format of llama2.c, version 0: seven integers, then floats.

The integers are `dim`, `hidden_dim`, `n_layers`, `n_heads`, `n_kv_heads`, `vocab_size`
and `max_seq_len`; a negative `vocab_size` says that the output matrix is not the
embedding. There is no magic number, so a file counts as llama2.c's only if its
header is plausible *and* its length is exactly the one that follows from the header.

The format is that of `export.py` in https://github.com/karpathy/llama2.c.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np

_INTEGERS = struct.Struct("<7i")


class Header(NamedTuple):
    """The header of a file.

    Attributes:
        dim: how many features the residual stream has.
        hidden_dim: how many neurons each MLP has.
        n_layers: how many blocks there are.
        n_heads: how many query heads there are.
        n_kv_heads: how many key heads, and value heads, there are.
        vocab_size: how many different tokens there are; negative if the output matrix
            is stored.
        max_seq_len: how many tokens a text may have.
    """

    dim: int
    hidden_dim: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    vocab_size: int
    max_seq_len: int


def read_header(head: bytes) -> Header | None:
    """Returns the header at the start of a file, `None` if it is not plausible.

    Args:
        head: the first bytes of the file.
    """
    if len(head) < _INTEGERS.size:
        return None
    header = Header(*_INTEGERS.unpack_from(head))
    if min(header._replace(vocab_size=abs(header.vocab_size))) < 1:
        return None
    if header.dim % header.n_heads or header.n_heads % header.n_kv_heads:
        return None
    return header


def n_bytes(header: Header) -> int:
    """Returns how many bytes a file with a given header has.

    Args:
        header: the header of the file.
    """
    numbers = sum(count * math.prod(shape) for _, count, shape in _kinds(header))
    return _INTEGERS.size + 4 * numbers


def read(path: Path, header: Header) -> dict[str, np.ndarray]:
    """Returns the tensors of a file by name, as they are stored.

    Args:
        path: the path of the file, of as many bytes as `n_bytes` returns.
        header: the header of the file.

    Returns:
        Vectors, and matrices of shape `(out, in)`, in float32. The names of tensors of
        a layer contain the number of the layer, `layers.0.wq`.
    """
    floats = np.fromfile(path, "<f4", offset=_INTEGERS.size)
    tensors, start = {}, 0
    for name, count, shape in _kinds(header):
        for i in range(count):
            end = start + math.prod(shape)
            tensors[name.format(i)] = floats[start:end].reshape(shape)
            start = end
    return tensors


def _kinds(header: Header) -> list[tuple[str, int, tuple[int, ...]]]:
    """Returns names, counts and shapes of tensors, in the order of the file.

    The tensors of all layers with one name are stored one after the other.
    """
    d, hidden, n = header.dim, header.hidden_dim, header.n_layers
    head = d // header.n_heads
    kv = head * header.n_kv_heads
    vocabulary = abs(header.vocab_size)
    is_untied = header.vocab_size < 0
    return [
        ("tok_embeddings", 1, (vocabulary, d)),
        ("layers.{}.attention_norm", n, (d,)),
        ("layers.{}.wq", n, (d, d)),
        ("layers.{}.wk", n, (kv, d)),
        ("layers.{}.wv", n, (kv, d)),
        ("layers.{}.wo", n, (d, d)),
        ("layers.{}.ffn_norm", n, (d,)),
        ("layers.{}.w1", n, (hidden, d)),
        ("layers.{}.w2", n, (d, hidden)),
        ("layers.{}.w3", n, (hidden, d)),
        ("norm", 1, (d,)),
        ("freq_cis_real", 1, (header.max_seq_len, head // 2)),
        ("freq_cis_imag", 1, (header.max_seq_len, head // 2)),
        ("output", int(is_untied), (vocabulary, d)),
    ]

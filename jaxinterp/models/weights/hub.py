"""Weights from the Hugging Face hub: only on request, verified, cached.

The cache is the hub's own (`HF_HOME` moves it), so that a file which another library
has downloaded is found. A file is verified against the SHA-256 that the caller gives,
or else against the one that the hub states, under which its cache stores large files. A
cache without links (Windows without developer mode) keeps no such record: give the
checksum there.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any, NamedTuple

from jaxinterp.models.weights.names import WeightsError

_SHA256 = re.compile(r"[0-9a-f]{64}")


class HubFile(NamedTuple):
    """A file on the hub.

    Attributes:
        repository: owner and name, such as `"timm/resnet18.tv_in1k"`.
        filename: path in the repository.
        revision: commit, tag or branch; only a commit is always the same file.
    """

    repository: str
    filename: str = "model.safetensors"
    revision: str = "main"


def fetch(file: HubFile, *, download: bool, sha256: str | None = None) -> Path:
    """Returns a local copy of a file on the hub.

    Args:
        file: which one.
        download: whether to download it, if it is not in the cache; the network is not
            touched otherwise.
        sha256: the checksum that the file must have.

    Returns:
        The path in the hub's cache.

    Raises:
        ValueError: if `sha256` is no checksum.
        ImportError: if `huggingface_hub` is not installed.
        FileNotFoundError: if the file is not in the cache and `download` is false.
        ConnectionError: if the hub cannot be reached, or refuses the file.
        WeightsError: if the checksum is another one.

    Example:
        >>> fetch(HubFile("timm/resnet18.tv_in1k"), download=True)  # doctest: +SKIP
    """
    check_sha256(sha256)
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError(
            "Weights from the Hugging Face hub need huggingface_hub: "
            "`pip install 'jaxinterp[hub]'`. A file that you have is read with "
            "`load(path, model=...)`."
        ) from error
    where = (
        f"{file.filename} of https://huggingface.co/{file.repository} "
        f"(revision {file.revision})"
    )

    def ask(is_online: bool) -> Path:
        path = huggingface_hub.hf_hub_download(
            file.repository,
            file.filename,
            revision=file.revision,
            local_files_only=not is_online,
        )
        return Path(path)

    # The network is used for nothing that is there already. All errors of the hub are
    # OSErrors, whichever HTTP library it uses.
    try:
        path = ask(is_online=False)
    except OSError as missing:
        if not download:
            raise FileNotFoundError(
                f"{where} is not in the cache of the hub, and nothing is downloaded "
                "unless asked. Write `load(..., download=True)`, or give a file that "
                "you have: `load(path, model=...)`."
            ) from missing
        try:
            path = ask(is_online=True)
        except OSError as error:
            raise ConnectionError(
                f"{where} cannot be downloaded: {error}\n"
                "Without a connection, download it elsewhere and give the file: "
                "`load(path, model=...)`."
            ) from error
    stated = path.resolve().name  # the cache links to a file named by its checksum
    if sha256 is None and _SHA256.fullmatch(stated):
        sha256 = stated
    if sha256 is not None:
        verify(path, sha256)
    return path


def check_sha256(sha256: Any) -> None:
    """Raises if something is no checksum.

    Args:
        sha256: 64 hexadecimal digits, or `None` for no checksum.

    Raises:
        ValueError: if it is neither.
    """
    is_text = isinstance(sha256, str)
    if sha256 is None or (is_text and _SHA256.fullmatch(sha256.lower())):
        return
    raise ValueError(
        f"A SHA-256 checksum has 64 hexadecimal digits, and `sha256` is {sha256!r}. "
        "Write `hashlib.sha256(content).hexdigest()`, or leave it out."
    )


def verify(path: Path, sha256: str) -> None:
    """Raises if the content of a file is not what a checksum says.

    Args:
        path: the file.
        sha256: its checksum, 64 hexadecimal digits.

    Raises:
        ValueError: if `sha256` is no such checksum.
        WeightsError: if the file has another one.
        IsADirectoryError: if `path` is a folder, which has none.
    """
    check_sha256(sha256)
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256.lower():
        raise WeightsError(
            f"{path} is not the file that was asked for, or is damaged.\n"
            f"    expected SHA-256 {sha256.lower()}\n"
            f"    found    SHA-256 {found}\n"
            "Delete it and download it again."
        )

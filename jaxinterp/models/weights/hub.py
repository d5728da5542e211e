"""Files of the Hugging Face hub: downloaded on request alone, verified, cached.

The cache is that of the hub (`HF_HOME` says where), so that a file which another
library has downloaded is found. A file is verified against the SHA-256 of the caller,
or else against the one that the hub states, under which its cache stores large files. A
cache without links (Windows without developer mode) does not record it: give the
checksum there.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any, NamedTuple

from jaxinterp.models.weights.name_map import WeightsError

_SHA256 = re.compile(r"[0-9a-f]{64}")


class HubFile(NamedTuple):
    """A file on the hub.

    Attributes:
        repository: owner and name of the repository, `"timm/resnet18.tv_in1k"`.
        filename: the path of the file in the repository.
        revision: the commit, tag or branch of the repository; only a commit is always
            the same file.
    """

    repository: str
    filename: str = "model.safetensors"
    revision: str = "main"


def fetch(file: HubFile, *, download: bool, sha256: str | None = None) -> Path:
    """Returns a local copy of a file on the hub.

    Args:
        file: the repository, path and revision of the file.
        download: whether to download the file if it is not in the cache; otherwise the
            network is not used.
        sha256: the checksum that the file must have.

    Returns:
        The path of the file in the cache of the hub.

    Raises:
        ValueError: if `sha256` is no checksum.
        ImportError: if `huggingface_hub` is not installed.
        FileNotFoundError: if the file is not in the cache and `download` is false.
        ConnectionError: if the hub cannot be reached, or refuses the file.
        WeightsError: if the file has another checksum.

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

    def local_path(is_online: bool) -> Path:
        path = huggingface_hub.hf_hub_download(
            file.repository,
            file.filename,
            revision=file.revision,
            local_files_only=not is_online,
        )
        return Path(path)

    # The network is not used for a file that is in the cache. All errors of the hub are
    # OSErrors, whichever HTTP library it uses.
    try:
        path = local_path(is_online=False)
    except OSError as missing:
        if not download:
            raise FileNotFoundError(
                f"{where} is not in the cache of the hub, and nothing is downloaded "
                "unless asked. Write `load(..., download=True)`, or give a file that "
                "you have: `load(path, model=...)`."
            ) from missing
        try:
            path = local_path(is_online=True)
        except OSError as error:
            raise ConnectionError(
                f"{where} cannot be downloaded: {error}\n"
                "Without a connection, download it elsewhere and give the file: "
                "`load(path, model=...)`."
            ) from error
    checksum = path.resolve().name  # the cache links to a file of that name
    if sha256 is None and _SHA256.fullmatch(checksum):
        sha256 = checksum
    if sha256 is not None:
        verify(path, sha256)
    return path


def check_sha256(sha256: Any) -> None:
    """Raises if an argument is no checksum.

    Args:
        sha256: 64 hexadecimal digits, or `None` for no checksum.

    Raises:
        ValueError: if the argument is neither.
    """
    is_text = isinstance(sha256, str)
    if sha256 is None or (is_text and _SHA256.fullmatch(sha256.lower())):
        return
    raise ValueError(
        f"A SHA-256 checksum has 64 hexadecimal digits, and `sha256` is {sha256!r}. "
        "Write `hashlib.sha256(content).hexdigest()`, or leave it out."
    )


def verify(
    path: Path, sha256: str, *, remedy: str = "Delete it and download it again."
) -> None:
    """Raises if a file has another checksum than it should have.

    Args:
        path: the path of the file.
        sha256: the checksum that the file should have, 64 hexadecimal digits.
        remedy: the last line of the error message, which says what to do.

    Raises:
        ValueError: if `sha256` is no checksum.
        WeightsError: if the file has another checksum.
        IsADirectoryError: if `path` is a folder.
    """
    check_sha256(sha256)
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != sha256.lower():
        raise WeightsError(
            f"{path} is another file than expected, or is damaged.\n"
            f"    expected SHA-256 {sha256.lower()}\n"
            f"    found    SHA-256 {actual}\n"
            f"{remedy}"
        )

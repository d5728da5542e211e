"""The progress bar of a long loop."""

from __future__ import annotations

from tqdm import tqdm

# From so many iterations on, a host loop shows its progress.
SHOWN = 20


def progress_bar(total: int, name: str, *, is_shown: bool = True) -> tqdm:
    """Returns a progress bar, to be used in a `with` statement.

    Args:
        total: how many steps there are; few are not worth a bar.
        name: what it says.
        is_shown: whether it is wanted at all.
    """
    return tqdm(total=total, desc=name, disable=not is_shown or total < SHOWN)

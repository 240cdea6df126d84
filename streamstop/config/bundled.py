"""Finds what comes with streamstop: recipes in `pipelines/`, recordings in `recordings/`.

Guarantees:

- The same result from a checkout, an editable install and an installed wheel.

Does not:

- Read them, except the notes on data at the head of a recipe.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

from streamstop.config.uri_paths import split_uri
from streamstop.errors import SourceError, UsageError


def bundled_path(name: str) -> Path:
    """The path of a bundled file or folder: "recordings", "pipelines", or a path inside one.

    An installed package has its own copy; in a checkout it is the folder of the repository.

    Raises
    ------
    SourceError
        This installation has no such file.
    """
    package = Path(__file__).parents[1]
    for root in (package / "_bundled", package.parent):
        # An installed package lies among others; only a checkout has pyproject.toml.
        ours = root.name == "_bundled" or (root / "pyproject.toml").is_file()
        if ours and (root / name).exists():
            return root / name
    raise SourceError(f"This installation of streamstop lacks a bundled file; reinstall it: {name}")


def find_recipe(word: Path | str, under: str = "pipelines") -> Path:
    """The path of a recipe: `word` itself where it is a file, else the bundled recipe of that name.

    Parameters
    ----------
    word : Path or str
        Path, or name of a bundled recipe.
    under : str
        The folder of bundled recipes, "pipelines" or "pipelines/train".

    Raises
    ------
    UsageError
        There is neither; the message suggests what may have been meant.
    """
    path = Path(word)
    is_toml = path.suffix == ".toml"
    if is_toml and path.is_file():
        return path
    bundled = {found.stem: found for found in sorted(bundled_path(under).glob("*.toml"))}
    # "demo", "demo.toml" and "pipelines/demo.toml" all work where the package is installed too.
    plain = path.parent in (Path(), Path(under)) and path.suffix in ("", ".toml")
    if plain and path.stem in bundled and not path.exists():
        return bundled[path.stem]
    near = difflib.get_close_matches(path.stem, bundled, n=1) if plain else []
    sources = [] if is_toml or under != "pipelines" else [f"--source {word}"]
    meant = sources + [f"the recipe {name}.toml" for name in near]
    raise UsageError(
        f"{'This is not a recipe' if path.exists() else 'There is no such recipe'}"
        + (f" (did you mean {', or '.join(meant)}?)" if meant else "")
        + f". A recipe is a .toml file, or one that comes with streamstop: {', '.join(bundled)}."
        + f" You gave: {word}"
    )


_NOTE = re.compile(r"# (data|from|give): +(.+)")
_GOES_ON = re.compile(r"#   +(\S.*)")


def data_note(recipe: Path | str, under: str = "pipelines") -> str | None:
    """The note on data at the head of a recipe, as three lines: what, from where, what to give.

    In the recipe it is the comments `# data: ...`, `# from: ...` and `# give: ...` before the first
    setting; a line that begins with `#` and three spaces continues the one above it.

    Parameters
    ----------
    recipe, under
        As in `find_recipe`.

    Returns
    -------
    note : str or None
        None for a recipe that has no such note: its data come with streamstop, or are the user's.

    Raises
    ------
    UsageError
        If there is no such recipe.

    Examples
    --------
    >>> print(data_note("nmnist"))
      data: N-MNIST (Orchard et al. 2015), a folder per digit; 1.2 GB, CC BY-SA 4.0; ...
      from: https://www.garrickorchard.com/datasets/n-mnist, Train.zip, unpacked
      give: --source DIR
    >>> data_note("demo") is None
    True
    """
    notes: dict[str, str] = {}
    last = ""
    for line in find_recipe(recipe, under).read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if new := _NOTE.fullmatch(line):
            last = new[1]
            notes[last] = new[2]
        elif last and (more := _GOES_ON.fullmatch(line)):
            notes[last] += " " + more[1]
        else:
            last = ""
    return "\n".join(f"  {key}: {text}" for key, text in notes.items()) or None


def check_data_present(
    recipe: Path | str, uris: Sequence[str], under: str = "pipelines", *, otherwise: str
) -> None:
    """Raise SourceError, with the recipe's note on data, where a path of the recipe does not exist.

    Parameters
    ----------
    recipe, under
        As in `find_recipe`.
    uris
        What the recipe names as its data; not what the user named instead.
    otherwise
        What can be done without the data, as a last line.
    """
    missing = [uri for uri in uris if (path := split_uri(uri)[1]) and not Path(path).exists()]
    if missing and (note := data_note(recipe, under)):
        raise SourceError(
            f"The recipe's data are not in the place it names: {missing[0]}\n{note}\n  {otherwise}"
        )

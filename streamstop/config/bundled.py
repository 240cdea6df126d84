"""Finds what comes with streamstop: recipes in `pipelines/`, recordings in `recordings/`.

Guarantees:

- The same result from a checkout, an editable install and an installed wheel.
"""

from __future__ import annotations

import difflib
from pathlib import Path

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

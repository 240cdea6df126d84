"""Puts `pipelines/` and `recordings/` into the wheel, as streamstop/_bundled/.

Not into an editable install, which finds them in the checkout: a copy there would only go stale.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUNDLED = ("pipelines", "recordings")


class BundledFiles(BuildHookInterface):
    """Hatchling's hook; see `streamstop.config.bundled.bundled_path` for the other end."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling with version "standard" or "editable"."""
        if version == "editable":
            return
        for folder in BUNDLED:
            source = str(Path(self.root, folder))
            build_data["force_include"][source] = f"streamstop/_bundled/{folder}"

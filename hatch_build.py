"""Has Lark make the tables of the Dockerfile grammar when the package is built."""

from __future__ import annotations

import os
import sys
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class TablesHook(BuildHookInterface):  # type: ignore[type-arg]
    """Writes grammars/dockerfile.tables; the wheel takes the whole folder."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        sys.path.insert(0, self.root)
        try:
            from buildkit_py.dockerfile.tables import write
        finally:
            sys.path.remove(self.root)
        path = write(os.path.join(self.root, "grammars", "dockerfile.lark"))
        # It is ignored by Git, and would be left out with that.
        build_data["artifacts"].append(os.path.relpath(path, self.root))

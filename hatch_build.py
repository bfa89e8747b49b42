"""Has Lark make the tables of the Dockerfile grammar when the package is built."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class TablesHook(BuildHookInterface):  # type: ignore[type-arg]
    """Writes grammars/dockerfile.tables; the wheel takes the whole folder."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        sys.path.insert(0, self.root)
        try:
            from buildkit_py.dockerfile.tables import tables_path, write
        finally:
            sys.path.remove(self.root)
        grammar = os.path.join(self.root, "grammars", "dockerfile.lark")
        try:
            path = write(grammar)
        except OSError:
            if os.path.exists(tables_path(grammar)):
                return  # in a checkout of somebody else, made before; what is stale is not used
            folder = tempfile.mkdtemp(prefix="buildkit-py-tables-")
            path = write(shutil.copy(grammar, folder))
            build_data["force_include"][path] = "buildkit_py/grammars/dockerfile.tables"
            return
        # It is ignored by Git, and would be left out with that.
        build_data["artifacts"].append(os.path.relpath(path, self.root))

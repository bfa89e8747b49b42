"""The project's own files, as the house tests read them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent.parent
PACKAGE = TREE / "buildkit_py"


def modules(folder: Path = PACKAGE) -> Iterator[tuple[Path, ast.Module]]:
    """Give every module with its syntax tree."""
    for path in sorted(folder.rglob("*.py")):
        yield path.relative_to(TREE), ast.parse(path.read_text())


def imports(module: ast.Module) -> set[str]:
    """Return the top-level names of what a module imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found

"""What a project decides for the rules that ask. Rules that nothing is decided for do not run."""

from __future__ import annotations

from buildkit_py.core.tuples import NamedTuple

LABEL_KINDS = ("text", "url", "semver", "hash", "rfc3339", "spdx", "email")
"""What the text of a label can be asked to be."""


class Settings(NamedTuple):
    """
    trusted_registries: where images may come from; `*` at an end stands for anything
    label_schema: the labels that an image has, each with one of LABEL_KINDS
    strict_labels: it has no others
    comments: comments may leave findings out
    """

    trusted_registries: tuple[str, ...] = ()
    label_schema: tuple[tuple[str, str], ...] = ()
    strict_labels: bool = False
    comments: bool = True

    def labels(self, kind: str) -> frozenset[str]:
        """Return the names of the labels of one kind."""
        return frozenset(name for name, each in self.label_schema if each == kind)


NOTHING = Settings()
"""Nothing is decided."""

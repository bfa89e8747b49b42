"""Complaints about compose files and what belongs to them. Exit code 2, as for all input."""

from __future__ import annotations

from buildkit_py.core.errors import InputError


class ComposeError(InputError):
    """Something in a compose file is wrong; `at` is the place in it."""

    code = "compose/invalid"


class NoFile(ComposeError):
    """No compose file was named, and none was found."""

    code = "compose/no-file"


class Unreadable(ComposeError):
    """A file that was asked for cannot be read."""

    code = "compose/unreadable"


class BadYaml(ComposeError):
    """The text is no YAML, or YAML that a compose file may not have."""

    code = "compose/bad-yaml"


class DuplicateKey(ComposeError):
    """A mapping has one key twice."""

    code = "compose/duplicate-key"


class TooLarge(ComposeError):
    """Aliases make the file larger, or deeper, than anyone wrote it."""

    code = "compose/too-large"


class BadVariable(ComposeError):
    """A `${...}` is not written as one may be."""

    code = "compose/bad-variable"


class MissingVariable(ComposeError):
    """A variable that must have a value has none."""

    code = "compose/missing-variable"


class BadValue(ComposeError):
    """A value cannot be what its key needs."""

    code = "compose/bad-value"


class UnknownKey(ComposeError):
    """The Compose Specification has no such key here."""

    code = "compose/unknown-key"


class MissingKey(ComposeError):
    """A key that must be there is not."""

    code = "compose/missing-key"


class CannotMerge(ComposeError):
    """A later file gives a value of another kind."""

    code = "compose/cannot-merge"


class BadExtends(ComposeError):
    """`extends` names what is not there, or leads back to itself."""

    code = "compose/bad-extends"


class BadInclude(ComposeError):
    """`include` names what cannot be included, or leads back to itself."""

    code = "compose/bad-include"


class Inconsistent(ComposeError):
    """Two parts of the project contradict each other, or one is missing."""

    code = "compose/inconsistent"


class BadName(ComposeError):
    """The project's name is not one."""

    code = "compose/bad-name"


class BadEnvFile(ComposeError):
    """A line of an environment file is wrong."""

    code = "compose/bad-env-file"


class NoService(ComposeError):
    """There is no service of that name."""

    code = "compose/no-service"

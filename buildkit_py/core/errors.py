"""The tree of errors, one branch per exit code.

    BuildkitError
    ├── InputError    2   what was written is wrong: Dockerfile, option, reference
    ├── BuildFailed   1   the program of a step failed
    ├── HostError     3   this machine cannot: a call, a feature, a missing helper
    ├── RemoteError   4   a registry or another peer said no
    ├── StateError    5   our own records disagree
    └── Bug          70   we are wrong: asks for a report

Every error has a stable `code` (`room/complaint`, explained in docs/errors.md), a message in
lower case without a full stop, and may have a place (`at`), a `label` for that place and a
`hint`. A complaint is a class of its own beside the code that raises it, or, where nothing will
ever catch it by type, a plain branch class with `code=` given.

`core.draw` turns an error into text. Nothing here prints. This module is on the no-op path:
it must import nothing heavy.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.core.source import Span


class BuildkitError(Exception):
    """Any error of ours.

    message: what is wrong, lower case, names in back-ticks, no full stop
    code: stable name, `room/complaint`; a class attribute when the complaint has a class
    at: the characters at fault, when the fault is in something the user wrote
    label: what to write under the underlined characters
    hint: what to do about it
    notes: further lines that belong to the message, such as the last output of a step
    """

    exit_code = 70
    code = "core/error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        at: Span | None = None,
        label: str = "",
        hint: str | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        self.at = at
        self.label = label
        self.hint = hint
        self.notes = tuple(notes)


class InputError(BuildkitError):
    exit_code = 2
    code = "input/invalid"


class InputErrors(InputError):
    """Several complaints about one input: parsers and validators collect them all."""

    code = "input/several"

    def __init__(self, errors: Sequence[InputError]) -> None:
        super().__init__(f"{len(errors)} errors in the input")
        self.errors = tuple(errors)


class BuildFailed(BuildkitError):
    exit_code = 1
    code = "build/failed"


class HostError(BuildkitError):
    exit_code = 3
    code = "host/cannot"


class RemoteError(BuildkitError):
    exit_code = 4
    code = "remote/refused"


class StateError(BuildkitError):
    exit_code = 5
    code = "state/inconsistent"


class Bug(BuildkitError):
    exit_code = 70
    code = "bug"

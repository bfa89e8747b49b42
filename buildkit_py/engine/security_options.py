"""docker's `--security-opt`: what of it we act on."""

from __future__ import annotations

from collections.abc import Sequence

from buildkit_py.core.errors import InputError

_NO_NEW = {
    "no-new-privileges": True, "no-new-privileges:true": True, "no-new-privileges:false": False,
}  # fmt: skip


class BadSecurityOption(InputError):
    code = "engine/bad-security-option"


def is_known(option: str) -> bool:
    return option.replace("=", ":", 1) in _NO_NEW


def no_new_privileges(options: Sequence[str]) -> bool:
    """Tell whether programs may gain no rights; the last word counts. Raises BadSecurityOption."""
    found = False
    for option in options:
        if not is_known(option):
            raise BadSecurityOption(
                f"the security option `{option}` is not supported",
                hint="`no-new-privileges` is",
            )
        found = _NO_NEW[option.replace("=", ":", 1)]
    return found

"""`--chmod`: octal modes, and symbolic ones as chmod(1) has them."""

from __future__ import annotations

from buildkit_py.core.errors import InputError

_WHO = {"u": 0o700, "g": 0o070, "o": 0o007, "a": 0o777}
_BITS = {"r": 0o444, "w": 0o222, "x": 0o111}


class BadMode(InputError):
    """A mode is neither octal up to 7777 nor symbolic."""

    code = "build/bad-mode"


def check_mode(text: str) -> None:
    """Raise BadMode unless `apply_mode` would take the text."""
    apply_mode(text, 0, directory=False)


def apply_mode(text: str, mode: int, *, directory: bool) -> int:
    """Return what `text` makes of the permission bits `mode`.

    text: `0644`, or clauses such as `u=rwX,go=rX,+x`
    X means x for directories and for files that have an x already.
    """
    if text.isdigit():
        if len(text) > 5 or set(text) - set("01234567") or int(text, 8) > 0o7777:
            raise BadMode(f"invalid mode `{text}`", hint="octal modes go up to 7777")
        return int(text, 8)
    for clause in text.split(","):
        mode = _apply_clause(text, clause, mode, directory)
    return mode


def _apply_clause(text: str, clause: str, mode: int, directory: bool) -> int:
    def bad() -> BadMode:
        return BadMode(
            f"invalid mode `{text}`",
            hint="write an octal number such as `0644`, or clauses such as `u=rwX,go=rX`",
        )

    at = 0
    who = 0
    while at < len(clause) and clause[at] in _WHO:
        who |= _WHO[clause[at]]
        at += 1
    who = who or 0o777
    if at == len(clause) or clause[at] not in "+-=":
        raise bad()
    while at < len(clause):
        operator = clause[at]
        at += 1
        bits = 0
        while at < len(clause) and clause[at] not in "+-=":
            letter = clause[at]
            at += 1
            if letter in _BITS:
                bits |= _BITS[letter] & who
            elif letter == "X":
                bits |= 0o111 & who if directory or mode & 0o111 else 0
            elif letter == "s":
                bits |= (0o4000 if who & 0o700 else 0) | (0o2000 if who & 0o070 else 0)
            elif letter == "t":
                bits |= 0o1000
            elif letter in "ugo":
                shift = {"u": 6, "g": 3, "o": 0}[letter]
                each = mode >> shift & 0o7
                bits |= (each << 6 | each << 3 | each) & who
            else:
                raise bad()
        if operator == "+":
            mode |= bits
        elif operator == "-":
            mode &= ~bits
        else:
            special = (0o4000 if who & 0o700 else 0) | (0o2000 if who & 0o070 else 0)
            mode = mode & ~(who | special) | bits
    return mode

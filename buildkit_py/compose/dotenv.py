r"""Environment files: `.env`, `env_file`, `label_file`.

    KEY=value   KEY: value   export KEY=value     unquoted: to the line's end, or to ` #`
    KEY='literal'                                  may run over lines; `\'` is a quote
    KEY="text"                                     may run over lines; escapes \n \t \" \\ \$ \0NNN
    KEY                                            the value it has around; nothing if it has none

Unquoted and double-quoted values may name variables. The format `raw` is docker's `--env-file`:
no quotes, no variables. Sources: compose-go dotenv/parser.go, docker/cli opts/file.go.
"""

from __future__ import annotations

from buildkit_py.compose.errors import BadEnvFile
from buildkit_py.compose.interpolate import complaint, part_of
from buildkit_py.compose.template import TemplateError, substitute
from buildkit_py.core.patterns import later
from buildkit_py.core.source import Source, Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Callable

    from buildkit_py.compose.template import Lookup

_ESCAPE = later(r"\\(?:[abcfnrtv$\"\\]|0[0-9]{0,3})")
_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_BLANKS = "\t\v\f\r \x85\xa0"
"""White space without line ends."""


def parse(
    source: Source,
    lookup: Lookup,
    values: dict[str, str],
    warn: Callable[[str], None],
) -> None:
    """Read a file's lines into `values`, which also answers for earlier keys.

    lookup: values from around the file, which win over the file's own keys in variables
    Raises BadEnvFile, BadVariable, MissingVariable.
    """
    _Parser(source, lookup, values, warn).run()


def parse_raw(source: Source, lookup: Lookup, values: dict[str, str]) -> None:
    """Read a file of docker's own format: nothing is quoted, nothing replaced."""
    at = 0
    for line in source.text.removeprefix("\ufeff").split("\n"):
        start, at = at, at + len(line) + 1
        text = line.removesuffix("\r").lstrip()
        if not text or text[0] == "#":
            continue
        key, equals, value = text.partition("=")
        if not key or any(c.isspace() for c in key):
            raise BadEnvFile(
                f"line {source.line_number(start)}: `{key}` is no name of a variable",
                at=Span(source, start, start + len(line)),
            )
        if equals:
            values[key] = value
        elif (inherited := lookup(key)) is not None:
            values[key] = inherited


class _Parser:
    def __init__(
        self,
        source: Source,
        lookup: Lookup,
        values: dict[str, str],
        warn: Callable[[str], None],
    ) -> None:
        self.source = source
        self.text = source.text
        self.lookup = lookup
        self.values = values
        self.warn = warn
        self.at = 1 if self.text.startswith("\ufeff") else 0

    def run(self) -> None:
        text = self.text
        while True:
            while self.at < len(text) and text[self.at].isspace():
                self.at += 1
            if self.at >= len(text):
                return
            if text[self.at] == "#":
                self._skip_line()
                continue
            key, bare = self._key()
            if bare:
                if (value := self.lookup(key)) is not None:
                    self.values[key] = value
            else:
                self.values[key] = self._value()

    def _skip_line(self) -> None:
        end = self.text.find("\n", self.at)
        self.at = len(self.text) if end < 0 else end

    def _key(self) -> tuple[str, bool]:
        """Read a key; return it, and whether it stands alone."""
        text = self.text
        if text.startswith("export", self.at) and text[self.at + 6 : self.at + 7].isspace():
            self.at += 6
            while self.at < len(text) and text[self.at] in _BLANKS:
                self.at += 1
        start = at = self.at
        end = -1
        while at < len(text):
            character = text[at]
            if character in "=:\n":
                end = at
                break
            if not (
                character in _BLANKS
                or character in "_.-[]"
                or character.isalpha()
                or character.isnumeric()
            ):
                raise BadEnvFile(
                    f"line {self.source.line_number(at)}: unexpected character `{character}`"
                    " in the name of a variable",
                    at=Span(self.source, at, at + 1),
                )
            at += 1
        # Without a line end behind it, a bare key at the end of the file counts, too.
        bare = end < 0 or text[end] == "\n"
        stop = len(text) if end < 0 else end
        key = text[start:stop].rstrip()
        if " " in key:
            raise BadEnvFile(
                f"line {self.source.line_number(start)}: a key cannot contain a space",
                at=Span(self.source, start, start + len(key)),
            )
        self.at = stop + (0 if end < 0 else 1)
        if not bare:
            while self.at < len(text) and text[self.at] in _BLANKS:
                self.at += 1
        return key, bare

    def _value(self) -> str:
        text = self.text
        start = self.at
        quote = text[start : start + 1]
        if quote not in ("'", '"') or not quote:
            end = text.find("\n", start)
            end = len(text) if end < 0 else end
            self.at = min(end + 1, len(text))
            return self._expanded(text[start:end].partition(" #")[0].rstrip(), start, end)
        out: list[str] = []
        at = start + 1
        while at < len(text):
            character = text[at]
            if character == "\\" and at + 1 < len(text):
                following = text[at + 1]
                out.append(following if following == quote else character + following)
                at += 2
                continue
            if character == quote:
                self.at = at + 1
                value = "".join(out)
                if quote == "'":
                    return value
                return self._expanded(_ESCAPE.sub(_unescaped, value), start, at + 1)
            out.append(character)
            at += 1
        line_end = text.find("\n", start)
        raise BadEnvFile(
            f"line {self.source.line_number(start)}: unterminated quoted value",
            at=Span(self.source, start, len(text) if line_end < 0 else line_end),
        )

    def _expanded(self, value: str, start: int, end: int) -> str:
        if "$" not in value:
            return value
        wrong: list[TemplateError] = []

        def find(name: str) -> str | None:
            around = self.lookup(name)
            return self.values.get(name) if around is None else around

        def unset(name: str) -> None:
            self.warn(f"the `{name}` variable is not set, defaulting to a blank string")

        out = substitute(value, find, wrong, unset)
        if wrong:
            span = part_of(Span(self.source, start, max(end, start + 1)), wrong[0].text)
            raise complaint(wrong[0], span, self.source.name)
        return out


def _unescaped(found: re.Match[str]) -> str:
    what = found[0][1:]
    if what == "$":
        return "$$"
    if what[0] == "0":
        # Three octal digits make a byte; fewer, or too large a number, stay as they are.
        digits = what[1:]
        fits = len(digits) == 3 and all(d in "01234567" for d in digits) and int(digits, 8) < 256
        return chr(int(digits, 8)) if fits else found[0]
    return _SIMPLE.get(what, what if what in '"\\' else found[0])

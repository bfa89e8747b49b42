"""hadolint's configuration: `.hadolint.yaml` and the variables `HADOLINT_*`.

    ignored: [DL3008]                     HADOLINT_IGNORE=DL3008,...
    override: {info: [DL3015]}            HADOLINT_OVERRIDE_INFO=DL3015,...
    trustedRegistries: [docker.io]        HADOLINT_TRUSTED_REGISTRIES=docker.io,...
    label-schema: {version: semver}       HADOLINT_REQUIRE_LABELS=version:semver,...
    strict-labels: true                   HADOLINT_STRICT_LABELS=true
    failure-threshold: info               HADOLINT_FAILURE_THRESHOLD=info
    format: json, formats: [json]         HADOLINT_FORMAT=json,...
    disable-ignore-pragma: true           HADOLINT_DISABLE_IGNORE_PRAGMA=true
    no-fail: true                         HADOLINT_NOFAIL=true
    verbose: true                         HADOLINT_VERBOSE=true
    no-color: true                        NO_COLOR

Lists of both add up; of single values that of the file counts. Unlike hadolint, which passes over
what it does not understand, we point at it. Places are kept: a variable is a text like a file.
"""

from __future__ import annotations

from buildkit_py.core.errors import InputError
from buildkit_py.core.source import Source, Span
from buildkit_py.core.text import did_you_mean
from buildkit_py.core.tuples import NamedTuple
from buildkit_py.dockerfile.lint.settings import LABEL_KINDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from buildkit_py.compose.tree import Node

FORMATS = {
    "tty": "full",
    "json": "json",
    "sarif": "sarif",
    "gnu": "gnu",
    "checkstyle": "checkstyle",
    "codeclimate": "codeclimate",
    "gitlab_codeclimate": "gitlab",
    "junit": "junit",
    "sonarqube": "sonarqube",
    "codacy": "codacy",
}
"""hadolint's names of formats, and ours."""

LEVELS = ("error", "warning", "info", "style")
THRESHOLDS = (*LEVELS, "ignore", "none")

VARIABLES = {
    "HADOLINT_IGNORE": ("ignored", "list"),
    "HADOLINT_OVERRIDE_ERROR": ("override.error", "list"),
    "HADOLINT_OVERRIDE_WARNING": ("override.warning", "list"),
    "HADOLINT_OVERRIDE_INFO": ("override.info", "list"),
    "HADOLINT_OVERRIDE_STYLE": ("override.style", "list"),
    "HADOLINT_TRUSTED_REGISTRIES": ("trustedRegistries", "list"),
    "HADOLINT_REQUIRE_LABELS": ("label-schema", "pairs"),
    "HADOLINT_STRICT_LABELS": ("strict-labels", "flag"),
    "HADOLINT_FAILURE_THRESHOLD": ("failure-threshold", "text"),
    "HADOLINT_FORMAT": ("formats", "list"),
    "HADOLINT_DISABLE_IGNORE_PRAGMA": ("disable-ignore-pragma", "flag"),
    "HADOLINT_NOFAIL": ("no-fail", "flag"),
    "HADOLINT_VERBOSE": ("verbose", "flag"),
}
_TRUE = ("1", "y", "on", "true", "yes")
_FALSE = ("", "0", "n", "off", "false", "no")


class BadHadolint(InputError):
    """hadolint's configuration has a key or a value that means nothing."""

    code = "lint/bad-config"


class Hadolint(NamedTuple):
    """What it says. None and empty: nothing."""

    ignored: tuple[str, ...] = ()
    override: tuple[tuple[str, str], ...] = ()
    trusted: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    formats: tuple[str, ...] = ()
    strict_labels: bool | None = None
    no_comments: bool | None = None
    no_fail: bool | None = None
    no_color: bool | None = None
    verbose: bool | None = None
    threshold: str | None = None

    def over(self, other: Hadolint) -> Hadolint:
        """Return both together; single values of this one count."""

        def one(mine: bool | None, theirs: bool | None) -> bool | None:
            return theirs if mine is None else mine

        return Hadolint(
            (*other.ignored, *self.ignored),
            (*other.override, *self.override),
            (*other.trusted, *self.trusted),
            (*other.labels, *self.labels),
            (*other.formats, *self.formats),
            one(self.strict_labels, other.strict_labels),
            one(self.no_comments, other.no_comments),
            one(self.no_fail, other.no_fail),
            one(self.no_color, other.no_color),
            one(self.verbose, other.verbose),
            self.threshold or other.threshold,
        )


def from_file(path: str, data: bytes) -> Hadolint:
    """Read a file; raises InputError, or InputErrors, with the places of all that is wrong."""
    from buildkit_py.compose.reading import read

    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadHadolint(f"`{path}` is not UTF-8: {error.reason}") from None
    try:
        documents = read(Source(path, text))
    except ImportError:
        raise BadHadolint(
            f"`{path}` can only be read with PyYAML",
            hint="install it, write `pybuild.toml`, or use `--isolated`",
        ) from None
    except InputError as error:
        raise BadHadolint(error.message, at=error.at, label=error.label, hint=error.hint) from None
    return _Reading().all(documents[0].root) if documents else Hadolint()


def from_environment(environment: Mapping[str, str]) -> Hadolint | None:
    """Read the variables; None when there is none of them."""
    names = [name for name in VARIABLES if name in environment]
    if not names:
        return None
    from buildkit_py.compose.tree import Node

    root = Node({}, Source("", "").span(0, 0))
    for name in names:
        path, form = VARIABLES[name]
        node = _variable(Source(name, environment[name]), form)
        at = root
        *above, last = path.split(".")
        for part in above:
            at = at.value.setdefault(part, Node({}, node.span))
        at.value[last] = node
    return _Reading().all(root)


def _variable(source: Source, form: str) -> Node:
    """Return the value of a variable as the file would have it."""
    from buildkit_py.compose.tree import Node

    text = source.text
    whole = source.span(0, len(text))
    if form == "flag":
        known = dict.fromkeys(_TRUE, True) | dict.fromkeys(_FALSE, False)
        return Node(known.get(text.lower(), text), whole)
    if form == "text":
        return Node(text, whole)
    parts: list[Node] = []
    at = 0
    for part in text.split(","):
        start = at + len(part) - len(part.lstrip())
        if part.strip():
            parts.append(Node(part.strip(), source.span(start, start + len(part.strip()))))
        at += len(part) + 1
    if form == "list":
        return Node(parts, whole)
    pairs: dict[str, Node] = {}
    for each in parts:
        name, colon, kind = each.value.partition(":")
        start = each.span.start
        key = source.span(start, start + len(name))
        pairs[name] = Node(kind, source.span(key.end + len(colon), each.span.end), key)
    return Node(pairs, whole)


class _Reading:
    """Reads a mapping, and collects what is wrong with it."""

    def __init__(self) -> None:
        self.errors: list[InputError] = []

    def all(self, root: Node) -> Hadolint:
        if root.value is None:
            return Hadolint()
        read: dict[str, Callable[[str, Node], Any]] = {
            "ignored": self.codes,
            "override": self.override,
            "trustedRegistries": self.texts,
            "label-schema": self.labels,
            "strict-labels": self.flag,
            "disable-ignore-pragma": self.flag,
            "no-fail": self.flag,
            "no-color": self.flag,
            "verbose": self.flag,
            "failure-threshold": self.threshold,
            "format": self.one_format,
            "formats": self.many_formats,
        }
        found: dict[str, Any] = {}
        for name, node in self.mapping("the configuration", root).items():
            if name in read:
                found[name] = read[name](name, node)
            else:
                self.unknown(f"key `{name}`", node.place, name, read)
        if self.errors:
            if len(self.errors) == 1:
                raise self.errors[0]
            from buildkit_py.core.errors import InputErrors

            raise InputErrors(self.errors)
        return Hadolint(
            ignored=found.get("ignored", ()),
            override=found.get("override", ()),
            trusted=found.get("trustedRegistries", ()),
            labels=found.get("label-schema", ()),
            formats=(*found.get("formats", ()), *found.get("format", ())),
            strict_labels=found.get("strict-labels"),
            no_comments=found.get("disable-ignore-pragma"),
            no_fail=found.get("no-fail"),
            no_color=found.get("no-color"),
            verbose=found.get("verbose"),
            threshold=found.get("failure-threshold"),
        )

    def wrong(self, message: str, at: Span, hint: str | None = None) -> None:
        # A value that is missing is pointed at where it would be.
        self.errors.append(BadHadolint(message, at=at, hint=hint))

    def unknown(
        self, what: str, at: Span, name: str, known: Mapping[str, Any] | tuple[str, ...]
    ) -> None:
        self.wrong(f"unknown {what}", at, did_you_mean(name, known) or _one_of(known))

    def is_text(self, name: str, node: Node) -> bool:
        if type(node.value) is str:
            return True
        self.wrong(f"`{name}` is a text, not {_kind(node)}", node.span)
        return False

    def mapping(self, name: str, node: Node) -> dict[str, Node]:
        if type(node.value) is dict:
            return node.value
        if node.value is not None:
            self.wrong(f"{name} is a mapping, not {_kind(node)}", node.span)
        return {}

    def texts(self, name: str, node: Node) -> tuple[str, ...]:
        return tuple(each.value for each in self.items(name, node))

    def items(self, name: str, node: Node) -> list[Node]:
        """Return the items of a list of texts."""
        if node.value is None:
            return []
        if type(node.value) is not list:
            hint = f"write `{name}: [{node.value}]`" if type(node.value) is str else None
            self.wrong(f"`{name}` is a list of texts, not {_kind(node)}", node.span, hint)
            return []
        for each in node.value:
            if type(each.value) is not str:
                self.wrong(f"`{name}` is a list of texts; this is {_kind(each)}", each.span)
        return node.texts()

    def codes(self, name: str, node: Node) -> tuple[str, ...]:
        from buildkit_py.dockerfile.lint.select import rule_hint

        items = self.items(name, node)
        for each in items:
            hint = rule_hint(each.value)
            if hint is not None:
                self.wrong(f"unknown rule `{each.value}`", each.span, hint)
        return tuple(each.value for each in items)

    def override(self, name: str, node: Node) -> tuple[tuple[str, str], ...]:
        found: list[tuple[str, str]] = []
        for level, each in self.mapping(f"`{name}`", node).items():
            if level in LEVELS:
                found += [(code, level) for code in self.codes(level, each)]
            else:
                self.unknown(f"level `{level}`", each.place, level, LEVELS)
        return tuple(found)

    def labels(self, name: str, node: Node) -> tuple[tuple[str, str], ...]:
        found: list[tuple[str, str]] = []
        for label, each in self.mapping(f"`{name}`", node).items():
            kind = each.value or "text"
            if kind in LABEL_KINDS:
                found.append((label, kind))
            elif self.is_text(label, each):
                self.unknown(f"kind of label `{kind}`", each.span, kind, LABEL_KINDS)
        return tuple(found)

    def flag(self, name: str, node: Node) -> bool | None:
        if type(node.value) is not bool:
            self.wrong(f"`{name}` is `true` or `false`, not {_kind(node)}", node.span)
            return None
        return node.value

    def threshold(self, name: str, node: Node) -> str | None:
        if not self.is_text(name, node):
            return None
        if node.value not in THRESHOLDS:
            self.unknown(f"`{name}` `{node.value}`", node.span, node.value, THRESHOLDS)
            return None
        # With these two hadolint fails on whatever it finds.
        return "style" if node.value in ("ignore", "none") else str(node.value)

    def one_format(self, name: str, node: Node) -> tuple[str, ...]:
        if not self.is_text(name, node):
            return ()
        if node.value not in FORMATS:
            self.unknown(f"format `{node.value}`", node.span, node.value, FORMATS)
            return ()
        return (FORMATS[node.value],)

    def many_formats(self, name: str, node: Node) -> tuple[str, ...]:
        return tuple(
            form for each in self.items(name, node) for form in self.one_format(name, each)
        )


def _kind(node: Node) -> str:
    from buildkit_py.compose.tree import kind

    return kind(node.value)


def _one_of(known: Mapping[str, Any] | tuple[str, ...]) -> str:
    return f"one of {', '.join(known)}"

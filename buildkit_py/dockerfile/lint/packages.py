"""What package managers are told to install. Shared by the rules about them.

Words with a variable in them are never reported: what they hold is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from buildkit_py.dockerfile.lint.facts import File, Program, Run
from buildkit_py.dockerfile.shell.calls import operands
from buildkit_py.dockerfile.shell.script import ShellWord

APT_VALUED = (
    "t", "target-release", "default-release", "o", "option", "c", "config-file", "a",
    "host-architecture",
)  # fmt: skip
APK_VALUED = (
    "t", "virtual", "X", "repository", "p", "root", "keys-dir", "repositories-file", "arch",
    "cache-dir", "cache-max-age", "wait", "timeout",
)  # fmt: skip
YUM_VALUED = (
    "c", "config", "d", "debuglevel", "e", "errorlevel", "x", "exclude", "R", "randomwait",
    "enablerepo", "disablerepo", "repo", "repoid", "installroot", "releasever", "setopt",
)  # fmt: skip
ZYPPER_VALUED = (
    "C", "D", "R", "c", "config", "cache-dir", "from", "installroot", "p", "plus-repo", "r",
    "releasever", "reposd-dir", "repo", "root", "t", "type",
)  # fmt: skip
NPM_VALUED = (
    "cache", "cwd", "loglevel", "omit", "prefix", "registry", "userconfig", "w", "workspace",
)  # fmt: skip
GEM_VALUED = (
    "B", "bindir", "build-root", "i", "install-dir", "n", "P", "platform", "s", "source",
    "trust-policy", "v", "version", "use-system-libraries",
)  # fmt: skip
GO_VALUED = ("C", "ldflags", "gcflags", "mod", "modfile", "o", "p", "tags")
PIP_VALUED = (
    "abi", "b", "build", "c", "constraint", "cache-dir", "cert", "e", "editable",
    "exists-action", "extra-index-url", "f", "find-links", "global-option", "group", "i",
    "implementation", "index-url", "install-option", "log", "no-binary", "only-binary",
    "platform", "prefix", "progress-bar", "proxy", "python", "python-version", "r",
    "requirement", "retries", "root", "root-user-action", "src", "t", "target", "timeout",
    "trusted-host", "upgrade-strategy",
)  # fmt: skip


def installs(
    file: File, names: tuple[str, ...], verbs: tuple[str, ...], valued: tuple[str, ...]
) -> Iterator[tuple[Run, Program, list[ShellWord]]]:
    """Yield the calls that install something, with the words behind the verb."""
    for run, program in file.calls(*names):
        words = operands(program.call.arguments, valued)
        at = next((at for at, word in enumerate(words) if word.value in verbs), None)
        if at is not None:
            yield run, program, words[:at] + words[at + 1 :]


def pip_installs(file: File) -> Iterator[tuple[Run, Program, tuple[ShellWord, ...]]]:
    """Yield what calls `pip install`, also as `python -m pip`, with all that follows the verb."""
    for name in file.programs:
        is_pip = name.startswith("pip") and not name.startswith("pipenv")
        if not is_pip and not name.startswith("python"):
            continue
        for run, program in file.programs[name]:
            arguments = program.call.arguments
            if not is_pip:
                values = program.call.values
                if values[:2] != ("-m", "pip"):
                    continue
                arguments = arguments[2:]
            at = next((at for at, word in enumerate(arguments) if word.value == "install"), None)
            if at is not None:
                yield run, program, arguments[:at] + arguments[at + 1 :]


def asks(
    file: File,
    names: tuple[str, ...],
    verbs: tuple[str, ...],
    answers: tuple[str, ...],
    valued: tuple[str, ...],
) -> Iterator[tuple[Program, ShellWord]]:
    """Yield what would ask before it does what a verb says, with the verb.

    answers: options with which it does not
    """
    for run, program in file.calls(*names):
        words = operands(program.call.arguments, valued)
        verb = next((word for word in words if word.value in verbs), None)
        if verb is None or program.call.has_flag(*answers):
            continue
        if not any(each.name == "yes" for each in run.programs):
            yield program, verb


def verb_of(program: Program, valued: tuple[str, ...]) -> str:
    """Return the first word that is no option and no option's value."""
    words = operands(program.call.arguments, valued)
    return words[0].value if words else ""


def uncleaned(
    file: File,
    installs: Callable[[Program], bool],
    cleans: Callable[[Program], bool],
    *places: str,
) -> Iterator[Program]:
    """Yield the last call of each RUN that installs, where none behind it cleans up.

    places: where a cache mount keeps what is loaded out of the image
    """
    for run in file.runs:
        programs = run.programs
        at = [number for number, each in enumerate(programs) if installs(each)]
        if not at or not run.stage.is_kept or run.is_cached(*places):
            continue
        if not any(cleans(each) for each in programs[at[-1] + 1 :]):
            yield programs[at[-1]]


def unpinned_rpms(
    file: File, names: tuple[str, ...]
) -> Iterator[tuple[Run, Program, list[ShellWord]]]:
    """Yield what installs packages without a version, or modules without a stream."""
    for run, program, words in installs(file, names, ("install",), YUM_VALUED):
        if program.call.has("group"):
            continue
        if words and words[0].value == "module":
            loose = [word for word in words[1:] if word.literal and ":" not in word.value]
        else:
            loose = [word for word in words if word.literal and not is_rpm_pinned(word.value)]
        yield run, program, loose


def first_by_run(
    found: Iterator[tuple[Run, Program, list[ShellWord]]],
) -> Iterator[tuple[Run, Program, list[ShellWord]]]:
    """Keep of each RUN only the first, with the words of all of its calls."""
    by_run: dict[int, tuple[Run, Program, list[ShellWord]]] = {}
    for run, program, words in found:
        if words:
            kept = by_run.setdefault(id(run), (run, program, []))
            kept[2].extend(words)
    yield from by_run.values()


def named(words: list[ShellWord]) -> str:
    """Return up to three words for a message."""
    shown = ", ".join(f"`{word.value}`" for word in words[:3])
    return shown + (f" and {len(words) - 3} more" if len(words) > 3 else "")


def is_rpm_pinned(value: str) -> bool:
    """Tell whether a word of yum or dnf names a version: `curl-7.76.1-26.el9`."""
    if value.endswith(".rpm") or value.startswith(("@", "/", "http://", "https://")):
        return True
    _, *parts = value.split("-")
    allowed = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.~^_:+*")
    return (
        bool(parts)
        and all(part and allowed.issuperset(part) for part in parts)
        and any(part[0].isdigit() for part in parts)
    )

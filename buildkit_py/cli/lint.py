"""`pybuild lint [PATH...]`: what is wrong with Dockerfiles that build.

Exit 0 when nothing is as grave as `--fail-on`, 1 when something is, 2 when the command line, a
configuration or a file is wrong. Findings go to stdout, all else to stderr. Imports follow the
work: a file whose answer is in the cache is not even parsed.
"""

from __future__ import annotations

import gc
import os
import sys

from buildkit_py.cli.common import report, report_bug
from buildkit_py.cli.reader import Command, HelpWanted, Option, read
from buildkit_py.core.errors import BuildkitError, InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.cli.lint_config import Config
    from buildkit_py.cli.reader import Value
    from buildkit_py.dockerfile.lint.report import Checked, Folders
    from buildkit_py.dockerfile.lint.run import Find

FORMATS = ("full", "concise", "json", "github", "sarif", "gitlab", "checkstyle", "codacy",
           "codeclimate", "gnu", "junit", "sonarqube")  # fmt: skip
FAIL_ON = ("error", "warning", "info", "style", "never")

LINT = Command(
    "pybuild lint",
    "Find what is wrong with Dockerfiles. A PATH is a file, a directory or `-`; without any, the"
    " current directory.",
    (
        Option("--config", "text", "Read this configuration and no other", metavar="FILE"),
        Option("--context", "text", "Build context, for its .dockerignore (default: where the"
               " Dockerfile is)", metavar="DIR"),
        Option("--exclude", "list", "Pass over paths that match, in directories", metavar="GLOB"),
        Option("--explain", "text", "Print the page of a rule", metavar="RULE"),
        Option("--fail-on", "text", "error, warning (default), info, style or never",
               metavar="LEVEL"),
        Option("-f --format", "text", "full, concise, json, github, sarif, gitlab, checkstyle,"
               " codacy, codeclimate, gnu, junit or sonarqube", metavar="FORMAT"),
        Option("--ignore", "list", "Leave rules out", metavar="RULE,..."),
        Option("--isolated", "flag", "Read no configuration"),
        Option("--list-rules", "flag", "Print all rules"),
        Option("--no-cache", "flag", "Look at files again that have not changed"),
        Option("--preset", "text", "default, hadolint, buildkit or strict", metavar="PRESET"),
        Option("-q --quiet", "flag", "Print no summary"),
        Option("--resolve", "flag", "Look base images up in the local store"),
        Option("--root", "text", "State root (BUILDKIT_PY_ROOT)", metavar="DIR"),
        Option("--select", "list", "Run these rules only, or besides --preset",
               metavar="RULE,..."),
        Option("--stdin-filename", "text", "Name of what comes from standard input",
               metavar="PATH"),
    ),
    arguments="[PATH...]",
    unsupported=("--fix", "--diff", "--baseline", "--watch", "--output"),
)  # fmt: skip


class BadFile(InputError):
    """A path cannot be linted; others can."""

    code = "lint/bad-file"


def run(argv: Sequence[str]) -> int:
    """Run `pybuild lint` and return its exit code."""
    try:
        return _run(argv)
    except HelpWanted:
        from buildkit_py.cli.help import print_help

        print_help(LINT)
        return 0
    except BuildkitError as error:
        return report(error)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except Exception as error:
        return report_bug(error)


def _run(argv: Sequence[str]) -> int:
    # What is imported and parsed stays; looking for circles in it takes 2 ms of a first lint.
    gc.set_threshold(50_000)
    values, paths = read(LINT, argv)
    if values["list_rules"]:
        from buildkit_py.dockerfile.lint.pages import listing

        print(listing(), end="")
        return 0
    if values["explain"] is not None:
        from buildkit_py.dockerfile.lint.pages import explain

        print(explain(str(values["explain"])), end="")
        return 0
    if values["format"] is not None:
        _choice("--format", values["format"], FORMATS)
    if values["fail_on"] is not None:
        _choice("--fail-on", values["fail_on"], FAIL_ON)
    return _lint(values, paths or ["."])


def _lint(values: dict[str, Value], paths: Sequence[str]) -> int:
    from buildkit_py.cli.lint_config import Configs
    from buildkit_py.cli.lint_files import discover

    configs = Configs(values)
    checked: list[Checked] = []
    errors: list[InputError] = []
    failing = 0
    find = None
    if values["resolve"]:
        from buildkit_py.cli.lint_bases import find_in

        find = find_in(values)
    for path in paths:
        for name in discover(path, configs, errors):
            config = configs.of(name)
            if config.verbose:
                used = configs.path_of(name) or "no configuration file"
                print(f"{name}: {used}", file=sys.stderr)
            try:
                file = check_file(name, config, values, find)
            except BadFile as error:
                errors.append(error)
                continue
            checked.append(file)
            failing += _failing(file, config.fail_on)
    if not checked:
        configs.check()
    here = configs.of("-")
    if here.no_color:
        from buildkit_py.cli.paint import choose

        choose("never")
    _print(checked, [str(values["format"])] if values["format"] else here.formats)
    for each in errors:
        report(each)
    if not values["quiet"]:
        print(_summary(checked), file=sys.stderr)
    return 2 if errors else int(failing > 0)


def _print(checked: Sequence[Checked], forms: Sequence[str]) -> None:
    """Print the reports in each of the formats, or in what suits standard output."""
    from buildkit_py.cli.paint import painter
    from buildkit_py.dockerfile.lint.formats import show

    folders = _folders()
    for form in forms or [_default_format()]:
        sys.stdout.write(show(checked, form, paint=painter(sys.stdout), folders=folders))
    sys.stdout.flush()


def _folders() -> Folders:
    """Return the working directory and the repository's: what services want paths relative to."""
    from buildkit_py.dockerfile.lint.report import Folders

    here = os.getcwd()
    for name in ("GITHUB_WORKSPACE", "CI_PROJECT_DIR"):
        root = os.path.normpath(os.environ.get(name) or ".")
        if os.path.isabs(root) and f"{here}/".startswith(root.rstrip("/") + "/"):
            return Folders(here, root)
    folder = here
    while not os.path.exists(os.path.join(folder, ".git")):
        parent = os.path.dirname(folder)
        if parent == folder:
            return Folders(here, here)
        folder = parent
    return Folders(here, folder)


def check_file(
    name: str, config: Config, values: dict[str, Value], find: Find | None = None
) -> Checked:
    """Lint one file, or take what is remembered of it."""
    from buildkit_py.cli import lint_cache
    from buildkit_py.cli.lint_files import ignore_text, read_file
    from buildkit_py.core.source import Source
    from buildkit_py.dockerfile.lint.report import Checked

    shown = str(values["stdin_filename"] or name) if name == "-" else name
    data = read_file(name)
    context = values["context"]
    ignored = ignore_text(name, None if context is None else str(context))
    entry = None
    if name != "-" and not values["no_cache"] and find is None:
        entry = lint_cache.Entry(name, data, ignored[1] if ignored else b"", config)
        if (known := entry.load(shown)) is not None:
            return known
    from buildkit_py.dockerfile.ignore import Patterns
    from buildkit_py.dockerfile.lint.run import broken, lint
    from buildkit_py.dockerfile.parse import source_of

    try:
        source = source_of(shown, data)
    except InputError as error:
        empty = Source(shown, "")
        return Checked(empty, (broken(empty, error),))
    patterns = None
    if ignored is not None:
        try:
            patterns = Patterns.parse(Source(ignored[0], ignored[1].decode("utf-8", "replace")))
        except InputError as error:
            raise BadFile(error.message, at=error.at, label=error.label, hint=error.hint) from None
    platform = None
    if find is not None:
        from buildkit_py.cli.lint_bases import this_platform

        platform = this_platform()
    reports = lint(source, config.selection(), ignore=patterns, find=find, platform=platform)
    file = Checked(source, tuple(reports))
    if entry is not None:
        entry.keep(file)
    return file


def _failing(file: Checked, fail_on: str) -> int:
    from buildkit_py.dockerfile.lint.report import count_from

    return 0 if fail_on == "never" else count_from([file], fail_on)


def _summary(checked: Sequence[Checked]) -> str:
    """Return how many findings there are, by level, and in how many files."""
    from buildkit_py.dockerfile.lint.report import LEVELS

    files = f"{len(checked)} file{'s' * (len(checked) != 1)}"
    counts = dict.fromkeys(reversed(LEVELS), 0)
    for file in checked:
        for each in file.reports:
            counts[each.level] += 1
    total = sum(counts.values())
    if not total:
        return f"nothing to say about {files}" if checked else "no Dockerfile was found"
    parts = ", ".join(f"{count} {level}" for level, count in counts.items() if count)
    return f"{total} finding{'s' * (total != 1)} in {files}: {parts}"


def _default_format() -> str:
    if os.environ.get("GITHUB_ACTIONS") == "true":
        return "github"
    return "full" if sys.stdout.isatty() else "concise"


def _choice(option: str, value: Value, known: Sequence[str]) -> str:
    if value not in known:
        from buildkit_py.core.text import did_you_mean

        raise InputError(
            f"unknown `{option}` `{value}`",
            code="lint/unknown-choice",
            hint=did_you_mean(str(value), known) or f"one of {', '.join(known)}",
        )
    return str(value)

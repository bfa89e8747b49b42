"""What our programs share: errors drawn, mistakes of ours reported, an end in order."""

from __future__ import annotations

import os
import sys

from buildkit_py.core.errors import BuildkitError


class Terminated(BaseException):
    """SIGTERM or SIGHUP came: everything that runs is ended in order, as for Ctrl-C."""


def prepare() -> None:
    """Make the process one that the rest may rely on, whoever started it and however.

    Descriptors 0, 1 and 2 are open: else the next file of ours would be one of them, and what is
    printed would end in it. Names of files are bytes in UTF-8, whatever the locale is.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one
            os.set_inheritable(number, True)
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        arguments = [sys.executable, "-X", "utf8", *sys.orig_argv[1:]]
        os.execve(sys.executable, arguments, {**os.environ, "PYTHONUTF8": "1"})


def open_many() -> None:
    """Let this process have as many open files as it may: a walk holds one for each level.

    After the zygote was started: containers keep the limit that the caller has.
    """
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def end_in_order() -> None:
    """Let SIGTERM and SIGHUP raise Terminated in the main thread, unless they are ignored."""
    import signal

    def stop(number: int, frame: object) -> None:
        raise Terminated

    for each in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(each) is signal.SIG_DFL:
            signal.signal(each, stop)


def end_unread() -> int:
    """Return the exit code for when nobody reads our output any more; what follows goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    return 141


def report(error: BuildkitError) -> int:
    """Draw an error on stderr and return its exit code."""
    from buildkit_py.cli.paint import painter
    from buildkit_py.core.draw import draw

    print(draw(error, paint=painter(sys.stderr)), file=sys.stderr)
    return error.exit_code


def report_refused(error: BuildkitError) -> int:
    """Report why a program cannot begin in a container; return docker's exit code, or raise it.

    Its user and its directory are docker's 126, whatever else we make of a wrong input.
    """
    if error.code not in ("runtime/unknown-account", "runtime/cwd"):
        raise error
    report(error)
    return 126


def report_bug(error: Exception) -> int:
    """Write the traceback to a file, say where it is, and return 70.

    What this machine refused, a full disk for one, is told as that. So is Ctrl-C where Python makes
    another error of it: before 3.12 while a class is being made.
    """
    if isinstance(error.__cause__, KeyboardInterrupt):
        print("\ninterrupted", file=sys.stderr)
        return 130
    import errno

    from buildkit_py.core.system import of_system

    if isinstance(error, MemoryError) or "can't start new thread" in str(error):
        error = OSError(errno.ENOMEM, "not enough memory or processes")
    if isinstance(error, OSError) and (told := of_system(error)) is not None:
        return report(told)
    import tempfile
    import traceback

    from buildkit_py import __version__
    from buildkit_py.core.draw import printable

    title = f"buildkit_py {__version__}, Python {sys.version}\n"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="buildkit-py-bug-", suffix=".txt", delete=False, errors="backslashreplace"
        ) as file:
            file.write(title)
            traceback.print_exception(error, file=file)
        place = file.name
    except OSError:
        print(title + printable("".join(traceback.format_exception(error))), file=sys.stderr)
        place = "the lines above"
    print(
        f"error[bug]: {type(error).__name__}: {printable(str(error))}\n\n"
        f"hint: this is a mistake of ours; please report it with {place}",
        file=sys.stderr,
    )
    return 70

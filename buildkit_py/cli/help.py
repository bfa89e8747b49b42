"""`--help`, drawn by Typer from the declaration that `cli.reader` reads: the only door to Typer."""

from __future__ import annotations

import contextlib
import io
import sys

from buildkit_py.cli.reader import Command


def print_help(command: Command, *, epilog: str = "") -> None:
    """Print the help of a command on standard output."""
    import inspect
    from typing import Any

    try:
        import typer
    except ImportError:  # as with `python -S`, by which engines may start a runtime
        print(_plain(command, epilog), flush=True)
        return

    types: dict[str, Any] = {"flag": bool, "text": str, "list": list[str], "number": int}
    parameters = []
    for option in command.options:
        default = typer.Option(
            False if option.kind == "flag" else None,
            *option.names,
            help=option.help,
            metavar=None if option.kind == "flag" else option.metavar or "TEXT",
            show_default=False,
        )
        parameters.append((option.name, types[option.kind], default))
    if command.arguments:
        argument = typer.Argument(None, metavar=command.arguments, hidden=True)
        parameters.append(("arguments", list[str], argument))

    def show(**values: Any) -> None:
        """Never called: `--help` ends before."""

    keyword = inspect.Parameter.KEYWORD_ONLY
    signature = [
        inspect.Parameter(name, keyword, default=default, annotation=kind)
        for name, kind, default in parameters
    ]
    setattr(show, "__signature__", inspect.Signature(signature))  # noqa: B010
    show.__annotations__ = {name: kind for name, kind, _ in parameters}
    application = typer.Typer(add_completion=False, rich_markup_mode=None)
    application.command(help=command.help, epilog=epilog or None)(show)
    drawn = io.StringIO()
    with contextlib.redirect_stdout(drawn):
        application(args=["--help"], prog_name=command.name, standalone_mode=False)
    # Written by us: Click would end the program its own way when nobody reads.
    sys.stdout.write(drawn.getvalue())
    sys.stdout.flush()


def _plain(command: Command, epilog: str) -> str:
    """Return the help without Typer: the same facts, drawn by nobody."""
    lines = [f"Usage: {command.name} [OPTIONS] {command.arguments}".rstrip(), "", command.help]
    rows = [
        (", ".join(option.names), "" if option.kind == "flag" else option.metavar or "TEXT",
         option.help)
        for option in command.options
    ]  # fmt: skip
    rows.append(("--help", "", "Show this message and exit."))
    width = max(len(f"{names} {value}") for names, value, _ in rows)
    lines += ["", "Options:"]
    lines += [f"  {f'{names} {value}':{width}}  {text}" for names, value, text in rows]
    return "\n".join([*lines, *(("", epilog) if epilog else ())])

"""CMD and ENTRYPOINT are JSON arrays.

In the shell form, a shell is started that starts the program. That shell is process 1 and passes
no signals on: `docker stop` waits ten seconds and kills. A file that sets SHELL has chosen, so it
is left alone, and so are stages that start from such a one. hadolint also complains about those,
and about HEALTHCHECK, whose command gets no signals anyway.

Bad:
    FROM debian:12
    CMD nginx -g "daemon off;"

Good:
    FROM debian:12
    CMD ["nginx", "-g", "daemon off;"]

Good:
    FROM debian:12
    SHELL ["/bin/bash", "-c"]
    CMD exec nginx
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Finding, Severity

name = "JSONArgsRecommended"
alias = "DL3025"
severity = Severity.WARNING


def check(file: File) -> Iterator[Finding]:
    for stage in file.stages:
        base = file.base_config(stage)
        has_shell = base is not None and bool(base.config.shell)
        has_shell = has_shell or (stage.parent is not None and stage.parent.shell is not None)
        for instruction in stage.body:
            if isinstance(instruction, ast.Shell):
                has_shell = True
            elif (
                isinstance(instruction, ast.Cmd | ast.Entrypoint)
                and isinstance(instruction.command, ast.ShellForm)
                and not has_shell
            ):
                keyword = instruction.keyword.text.upper()
                yield Finding(
                    instruction.span,
                    f"`{keyword}` in shell form gets no signals; write it as a JSON array",
                )

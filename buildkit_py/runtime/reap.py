"""Process 1 of a container with `init`: reaps orphans, hands signals on, ends as its program ends.

What tini does for docker. The program is its child, so signals that it does not handle end it, as
anywhere else and unlike process 1, for which the kernel ignores them.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable

from buildkit_py.runtime.kernel import command_line
from buildkit_py.runtime.kernel.command_line import Memory
from buildkit_py.runtime.kernel.syscalls import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_NOT_HANDED_ON = frozenset(
    {
        signal.SIGCHLD,
        # Faults are the faulting process's own.
        signal.SIGFPE,
        signal.SIGILL,
        signal.SIGSEGV,
        signal.SIGBUS,
        signal.SIGABRT,
        signal.SIGTRAP,
        signal.SIGSYS,
        signal.SIGTTIN,
        signal.SIGTTOU,
        signal.SIGTSTP,
    }
)


_SHOWN = "/sbin/docker-init"
"""What tools that look for the first process of docker's containers know."""


def be_first_process(
    execute: Callable[[], int], *, memory: Memory, args: tuple[str, ...], env: tuple[str, ...]
) -> NoReturn:
    """Run the program as a child and look after all that it leaves. Never returns.

    execute: becomes the program, or returns the exit code of its failure
    memory: of this process; args, env: of the program, with which this one is shown, too
    """
    # A kernel without CONFIG_CHECKPOINT_RESTORE cannot, and only our looks suffer.
    with contextlib.suppress(KernelError):
        command_line.show(memory, name="docker-init", args=[_SHOWN, "--", *args], env=list(env))
    handled = signal.valid_signals() - _NOT_HANDED_ON | {signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, handled)
    program = os.fork()  # not clone3, which docker's filter forbids
    if program == 0:
        # In a group of its own that owns the terminal, Ctrl-C is for it.
        os.setpgid(0, 0)
        if os.isatty(0):
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            os.tcsetpgrp(0, os.getpgrp())
            signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os._exit(execute())
    # Nothing of ours stays open in here: whoever reads our pipes must see their end.
    os.closerange(0, 1 << 16)
    while True:
        seen = signal.sigwaitinfo(handled)
        if seen.si_signo != signal.SIGCHLD:
            try:
                os.kill(program, seen.si_signo)
            except ProcessLookupError:
                continue
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid == program:
                code = os.waitstatus_to_exitcode(status)
                os._exit(128 - code if code < 0 else code)

"""What is told of containers that are made and started: what this machine cannot give them."""

from __future__ import annotations

from buildkit_py.cli.paint import print_notice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.engine.client import Engine
    from buildkit_py.engine.containers import ContainerSpec
    from buildkit_py.engine.events import News


def tell_unkept(engine: Engine, spec: ContainerSpec) -> None:
    """Say what a container that was just made will not have: users, limits."""
    from buildkit_py.engine.limit_checks import hint

    for text in engine.host.lacks:
        print_notice(text)
    for text in spec.warnings:
        print_notice(text, hint(engine.host) if text == spec.warnings[-1] else "")


def tell_news(news: News) -> None:
    """Say what its supervisor found at its start."""
    for text in news.take():
        print_notice(text)

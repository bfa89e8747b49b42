"""One state root, open: content, images, snapshots."""

from __future__ import annotations

from types import TracebackType

from buildkit_py.store.content import Content
from buildkit_py.store.images import Images
from buildkit_py.store.layers.marks import Overlay
from buildkit_py.store.session import Session, open_session
from buildkit_py.store.snapshots import Snapshots


class Store:
    """A state root that this process uses. Any number of processes may, at once."""

    def __init__(self, session: Session, *, overlay: Overlay, single_id: bool) -> None:
        self.session = session
        self.root = session.root
        self.content = Content(session)
        self.images = Images(session, self.content)
        self.snapshots = Snapshots(session, self.content, overlay=overlay, single_id=single_id)

    @classmethod
    def open(cls, root: str, *, overlay: Overlay, single_id: bool = False) -> Store:
        """Open a state root, which is made where there is none.

        overlay: how snapshots are stacked on this machine
        single_id: chown cannot work here (a user namespace with one id)
        """
        return cls(open_session(root), overlay=overlay, single_id=single_id)

    def close(self) -> None:
        """Remove what was not finished. Snapshots still active must not be mounted any more."""
        self.session.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

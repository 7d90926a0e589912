"""How root runs Postgres, which refuses to run as root: in a user namespace, else as another user.

Both ways need only util-linux. No account is made, and a home below a closed ``/root`` works.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from hl_pipeline.model.failure import NeedsAPerson

#: "nobody", on every Linux of today; initdb wants a user that has a name.
NOBODY = 65534
_USER_NAMESPACE = ("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}")
_ANOTHER_USER = (
    "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
    "--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Way:
    """How a program of Postgres's is started.

    ``prefix`` stands before its command; ``owner`` is the user whom its files must belong to, null for an ordinary
    user, whose they are anyway.
    """

    prefix: tuple[str, ...]
    owner: int | None


def choose() -> Way:
    """The way that works for this user, on this system.

    Raises:
        NeedsAPerson: this is root, and neither way works.
    """
    if os.geteuid() != 0:
        return Way((), None)
    # In a namespace of its own the process counts as another user, yet root's files still are its own.
    if _works(_USER_NAMESPACE):
        return Way(_USER_NAMESPACE, 0)
    # Containers often forbid namespaces. As another user it needs the right to pass through root's folders.
    if _works(_ANOTHER_USER):
        return Way(_ANOTHER_USER, NOBODY)
    raise NeedsAPerson(
        "Postgres refuses to run as root, and this system lets root neither make a user namespace (unshare) nor start "
        "a program as another user (setpriv): run hl as an ordinary user, or set HL_DATABASE_URL to a server of your "
        "own"
    )


def hand_over(folder: Path, owner: int) -> None:
    """Give root's or nobody's ``folder``, and all in it, to ``owner``, one of the two: the other way was used before.

    The folder itself comes last, so that who was killed halfway begins again. Anybody else's is left alone.
    """
    if folder.lstat().st_uid == owner or folder.lstat().st_uid not in (0, NOBODY):
        return
    for inside in folder.rglob("*"):
        os.chown(inside, owner, owner, follow_symlinks=False)
    os.chown(folder, owner, owner, follow_symlinks=False)


def stands_in(pid: int, folder: Path) -> bool:
    """Whether the process's working directory is ``folder``; false for a dead one and for another user's.

    In a container root often may not look at other users' processes (CAP_SYS_PTRACE), so it is asked as nobody.
    """
    place = Path(f"/proc/{pid}/cwd")
    try:
        return place.samefile(folder)
    except PermissionError:
        return os.geteuid() == 0 and _seen_by_nobody(place) == _identity(folder)
    except OSError:
        return False


def _seen_by_nobody(place: Path) -> str:
    # our own command line; the number in it is a pid
    asked = subprocess.run(  # noqa: S603
        [*_ANOTHER_USER, "stat", "--dereference", "--format=%d:%i", str(place)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return asked.stdout.strip()


def _identity(folder: Path) -> str:
    found = folder.stat()
    return f"{found.st_dev}:{found.st_ino}"


def _works(prefix: tuple[str, ...]) -> bool:
    if shutil.which(prefix[0]) is None:
        return False
    return subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0  # noqa: S603

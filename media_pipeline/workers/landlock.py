"""What a worker may open: Landlock, the kernel's own sandbox for ordinary processes.

Without it a decoder that was taken over could read what the run's user can read: another
upload, a token in /proc/<run>/environ. With it, it can read libraries and its own scratch
directory, signal nobody outside, and use no TCP. Needs Linux 5.13 and no privilege.
Source: Linux, Documentation/userspace-api/landlock.rst.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Sequence

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_VERSION_FLAG = 1
_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_FIRST_ABI_RIGHTS = (1 << 13) - 1
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_READ = _EXECUTE | _READ_FILE | _READ_DIR
#: ABI version from which each exists.
_ABI_REFER, _ABI_TRUNCATE, _ABI_NET, _ABI_IOCTL, _ABI_SCOPE = 2, 3, 4, 5, 6
_BIND_AND_CONNECT_TCP = 3
_SCOPE_ABSTRACT_UNIX_AND_SIGNALS = 3


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("fs", ctypes.c_uint64),
        ("net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def abi() -> int:
    """The kernel's Landlock version; 0 where there is none."""
    libc = ctypes.CDLL(None, use_errno=True)
    return max(0, int(libc.syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG)))


def restrict(readable: Sequence[str], writable: Sequence[str]) -> bool:
    """Confine this process and all it starts; False where the kernel has no Landlock.

    `readable` paths may be read and run from, `writable` ones also changed; paths that do not
    exist are left out. Needs no_new_privs. OSError when the kernel refuses the rules.
    """
    version = abi()
    if not version:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    handled = _FIRST_ABI_RIGHTS
    handled |= _REFER if version >= _ABI_REFER else 0
    handled |= _TRUNCATE if version >= _ABI_TRUNCATE else 0
    handled |= _IOCTL_DEV if version >= _ABI_IOCTL else 0
    rules = _Ruleset(
        fs=handled,
        net=_BIND_AND_CONNECT_TCP if version >= _ABI_NET else 0,
        scoped=_SCOPE_ABSTRACT_UNIX_AND_SIGNALS if version >= _ABI_SCOPE else 0,
    )
    size = 8 if version < _ABI_NET else 16 if version < _ABI_SCOPE else 24
    ruleset = _checked(libc.syscall(_CREATE_RULESET, ctypes.byref(rules), size, 0))
    try:
        for path in readable:
            _allow(libc, ruleset, path, _READ & handled)
        for path in writable:
            _allow(libc, ruleset, path, (handled & ~_IOCTL_DEV) | _READ)
        _checked(libc.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)
    return True


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        if not stat.S_ISDIR(os.fstat(parent).st_mode):
            rights &= _OF_FILES
        rule = _PathBeneath(allowed=rights, parent=parent)
        _checked(libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0))
    finally:
        os.close(parent)


def _checked(answer: int) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"landlock: {os.strerror(number)}")
    return answer

"""What a worker may ask of the kernel: a seccomp filter that refuses what no decoder needs.

Sockets, other processes' memory, namespaces, mounts, kernel modules, keys, BPF, io_uring; and
starting programs, except in workers whose processor needs one (OCR). Refused calls answer
EPERM, so that a library that merely tries goes on. Needs no_new_privs and no privilege.
Source: Linux, Documentation/userspace-api/seccomp_filter.rst and the system call tables.
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Mapping

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM = 1
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4
#: x86-64 processes can also call by the x32 table, whose numbers have this bit.
_X32_BIT = 0x40000000

#: Architecture -> its audit id, then system calls by number there. Numbers from 424 on are
#: shared by all.
_ARCHITECTURES: Mapping[str, int] = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_CALLS: Mapping[str, Mapping[str, int]] = {
    "x86_64": {
        "socket": 41, "connect": 42, "accept": 43, "bind": 49, "listen": 50, "socketpair": 53,
        "accept4": 288, "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311,
        "unshare": 272, "setns": 308, "mount": 165, "umount2": 166, "pivot_root": 155,
        "chroot": 161, "bpf": 321, "perf_event_open": 298, "keyctl": 250, "add_key": 248,
        "request_key": 249, "userfaultfd": 323, "init_module": 175, "finit_module": 313,
        "delete_module": 176, "kexec_load": 246, "reboot": 169, "swapon": 167,
        "settimeofday": 164, "clock_settime": 227, "open_by_handle_at": 304, "mknod": 133,
        "mknodat": 259,
    },
    "aarch64": {
        "socket": 198, "connect": 203, "accept": 202, "bind": 200, "listen": 201,
        "socketpair": 199, "accept4": 242, "ptrace": 117, "process_vm_readv": 270,
        "process_vm_writev": 271, "unshare": 97, "setns": 268, "mount": 40, "umount2": 39,
        "pivot_root": 41, "chroot": 51, "bpf": 280, "perf_event_open": 241, "keyctl": 219,
        "add_key": 217, "request_key": 218, "userfaultfd": 282, "init_module": 105,
        "finit_module": 273, "delete_module": 106, "kexec_load": 104, "reboot": 142,
        "swapon": 224, "settimeofday": 170, "clock_settime": 112, "open_by_handle_at": 265,
        "mknodat": 33,
    },
}  # fmt: skip
_NEW_CALLS: Mapping[str, int] = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428,
    "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
    "pidfd_open": 434, "pidfd_getfd": 438, "process_madvise": 440, "mount_setattr": 442,
}  # fmt: skip
_EXECUTE: Mapping[str, tuple[int, ...]] = {"x86_64": (59, 322), "aarch64": (221, 281)}


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("if_true", ctypes.c_uint8),
        ("if_false", ctypes.c_uint8),
        ("operand", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("first", ctypes.POINTER(_Instruction)))


def refused_calls(machine: str, *, may_execute: bool) -> list[int]:
    """Numbers of the system calls that the filter refuses on that architecture."""
    numbers = {*_CALLS[machine].values(), *_NEW_CALLS.values()}
    return sorted(numbers if may_execute else numbers | set(_EXECUTE[machine]))


def restrict(*, may_execute: bool) -> bool:
    """Filter this process and all it starts; False on architectures without a table.

    OSError when the kernel refuses the filter.
    """
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        return False
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_JUMP_EQUAL, 1, 0, _ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_JUMP_AT_LEAST, 0, 1, _X32_BIT),
        (_RETURN, 0, 0, _ERRNO | _EPERM),
    ]
    for number in refused_calls(machine, may_execute=may_execute):
        steps += [(_JUMP_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | _EPERM)]
    steps.append((_RETURN, 0, 0, _ALLOW))
    instructions = (_Instruction * len(steps))(*[_Instruction(*step) for step in steps])
    program = _Program(len(steps), ctypes.cast(instructions, ctypes.POINTER(_Instruction)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp: {os.strerror(number)}")
    return True

"""What PID 1 does to itself before anything else runs: unreadable, unprivileged, unsignalled, filtered.

The filter is stacked on top of whatever the engine applies, because engines differ: Docker 20.10 lets a container
open AF_VSOCK sockets, which reach the hypervisor whatever the network mode, and use io_uring, which no filter sees
into; one without a filter lets anybody make a user namespace, who has every capability in it; and gVisor's kernel
does not keep signals from PID 1 as Linux does, so that a tool could stop it, and it would not see its host die. Every
process in the container inherits it.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct

_PR_SET_DUMPABLE = 4
_PR_SET_SECCOMP = 22
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_MODE_FILTER = 2

_AF_ALLOWED = (1, 2, 10, 16)  # UNIX, INET, INET6, NETLINK: not VSOCK (40), ALG (38), PACKET (17)

_EPERM = 1
_ENOSYS = 38
_EAFNOSUPPORT = 97

_X32_BIT = 0x40000000

# The calls that make or change mounts by descriptor have the same numbers everywhere: open_tree, move_mount, fsopen,
# fsconfig, fsmount, fspick, mount_setattr.
_MOUNTS = (428, 429, 430, 431, 432, 433, 442)
_CLONE3 = 435
# Flags of clone that ask for a namespace, whichever; threads and children have none of them.
_NAMESPACES = 0x7E020000

_SIGSTOP = 19

# Numbers of: socket | clone
# | ptrace, keyctl family, bpf, userfaultfd, perf_event_open, process_vm_*, io_uring, mount, umount2, pivot_root,
#   unshare, setns
# | prlimit64, sched_setparam, sched_setscheduler, sched_setattr | setpriority
# | kill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo, pidfd_open | tkill
# The last two groups are for anybody but PID 1, who is their first argument; tkill names one of its threads, and which
# those are a filter does not know, so that one is for all signals but the one that stops.
# The two before are for oneself only, who is 0 in the first or second argument. All in the container are one user,
# which is all that the kernel asks for: a limit of one second killed PID 1, and the idle class would keep it from its
# deadline.
_TABLES = {
    "x86_64": (
        0xC000003E,
        41,
        56,
        (101, 248, 249, 250, 321, 323, 298, 310, 311, 425, 426, 427, 165, 166, 155, 272, 308, *_MOUNTS),
        (302, 142, 144, 314),
        (141,),
        (62, 234, 129, 297, 434),
        200,
    ),
    "aarch64": (
        0xC00000B7,
        198,
        220,
        (117, 217, 218, 219, 280, 282, 241, 270, 271, 425, 426, 427, 40, 39, 41, 97, 268, *_MOUNTS),
        (261, 118, 119, 274),
        (140,),
        (129, 131, 138, 240, 434),
        130,
    ),
}

_LD_W_ABS = 0x20
_JEQ = 0x15
_JGE = 0x35
_JSET = 0x45
_RET = 0x06
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000

_OFFSET_NR = 0
_OFFSET_ARCH = 4
_OFFSET_ARG0 = 16
_OFFSET_ARG1 = 24


class _Program(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def harden() -> None:
    """Close PID 1 to the rest of the container; must run before any thread or child exists.

    Raises:
        OSError: If the kernel refuses the filter, or the processor is not one that it is written for.
    """
    for number in (
        signal.SIGINT,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGALRM,
        signal.SIGTSTP,
        signal.SIGTTIN,
        signal.SIGTTOU,
    ):
        # Python's own SIGINT handler would let any tool in the container end PID 1. Handled, not ignored: what is
        # ignored stays so in every program that is started, and a project's tests may want to be interrupted.
        signal.signal(number, _do_nothing)
    libc = ctypes.CDLL(None, use_errno=True)
    # Unreadable: no other process can open /proc/1/fd and hold the link open after we are gone.
    _prctl(libc, _PR_SET_DUMPABLE, 0)
    _prctl(libc, _PR_SET_NO_NEW_PRIVS, 1)
    code = build_filter(platform.machine())
    program = _Program(len(code) // 8, code)
    _prctl(libc, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program))


def _do_nothing(_number: int, _frame: object) -> None:
    """A signal from inside that means nothing to us."""


def build_filter(machine: str) -> bytes:
    """The BPF program for a processor, as the kernel takes it.

    Args:
        machine: As `platform.machine()` names it.

    Raises:
        OSError: If there is no table for that processor.
    """
    if machine not in _TABLES:
        msg = f"no seccomp table for {machine}; the image is for x86_64 and aarch64"
        raise OSError(msg)
    arch, socket, clone, denied, own_first, own_second, signals, tkill = _TABLES[machine]
    head = [
        (_LD_W_ABS, 0, 0, _OFFSET_ARCH),
        (_JEQ, 1, 0, arch),
        (_RET, 0, 0, _ERRNO | _EPERM),  # another architecture's numbers mean other calls
        (_LD_W_ABS, 0, 0, _OFFSET_NR),
        (_JGE, 0, 1, _X32_BIT),
        (_RET, 0, 0, _ERRNO | _ENOSYS),
    ]
    sockets = [
        (_JEQ, 0, len(_AF_ALLOWED) + 3, socket),  # not socket(2): on to the plain denials
        (_LD_W_ABS, 0, 0, _OFFSET_ARG0),
        *((_JEQ, len(_AF_ALLOWED) - index, 0, family) for index, family in enumerate(_AF_ALLOWED)),
        (_RET, 0, 0, _ERRNO | _EAFNOSUPPORT),
        (_RET, 0, 0, _ALLOW),
    ]
    clones = [
        # Its flags lie in memory, where a filter cannot look. As if the kernel did not have it: then clone is asked.
        (_JEQ, 0, 1, _CLONE3),
        (_RET, 0, 0, _ERRNO | _ENOSYS),
        (_JEQ, 0, 4, clone),
        (_LD_W_ABS, 0, 0, _OFFSET_ARG0),
        (_JSET, 0, 1, _NAMESPACES),
        (_RET, 0, 0, _ERRNO | _EPERM),
        (_RET, 0, 0, _ALLOW),
    ]
    own = [
        step
        for numbers, offset in ((own_first, _OFFSET_ARG0), (own_second, _OFFSET_ARG1))
        for number in numbers
        for step in (
            (_JEQ, 0, 4, number),  # not this one: on to the next
            (_LD_W_ABS, 0, 0, offset),
            (_JEQ, 1, 0, 0),
            (_RET, 0, 0, _ERRNO | _EPERM),
            (_RET, 0, 0, _ALLOW),
        )
    ]
    others = [
        step
        for number, offset, value in (
            *((number, _OFFSET_ARG0, 1) for number in signals),
            (tkill, _OFFSET_ARG1, _SIGSTOP),
        )
        for step in (
            (_JEQ, 0, 4, number),
            (_LD_W_ABS, 0, 0, offset),
            (_JEQ, 0, 1, value),
            (_RET, 0, 0, _ERRNO | _EPERM),
            (_RET, 0, 0, _ALLOW),
        )
    ]
    denials = [
        *((_JEQ, len(denied) - index, 0, number) for index, number in enumerate(denied)),
        (_RET, 0, 0, _ALLOW),
        (_RET, 0, 0, _ERRNO | _EPERM),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in head + sockets + clones + own + others + denials)


def _prctl(libc: ctypes.CDLL, option: int, value: int, pointer: object = 0) -> None:
    if libc.prctl(option, value, pointer, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl({option}): {os.strerror(code)}")

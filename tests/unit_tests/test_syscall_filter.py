"""PID 1's seccomp filter, run by an interpreter of its own: what it lets through and what it denies."""

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_sandbox.agent.harden import build_filter

ALLOW = 0x7FFF0000
DENIED = 0x00050000
EPERM, ENOSYS, EAFNOSUPPORT = 1, 38, 97
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
I386, ARM = 0x40000003, 0x40000028
X32 = 0x40000000

SOCKET = {"x86_64": 41, "aarch64": 198}
# From the kernel's own tables: name, number on x86_64, number on aarch64.
FORBIDDEN = [
    ("ptrace", 101, 117),
    ("add_key", 248, 217),
    ("request_key", 249, 218),
    ("keyctl", 250, 219),
    ("bpf", 321, 280),
    ("userfaultfd", 323, 282),
    ("perf_event_open", 298, 241),
    ("process_vm_readv", 310, 270),
    ("process_vm_writev", 311, 271),
    ("io_uring_setup", 425, 425),
    ("io_uring_enter", 426, 426),
    ("io_uring_register", 427, 427),
    ("mount", 165, 40),
    ("umount2", 166, 39),
    ("pivot_root", 155, 41),
    ("unshare", 272, 97),
    ("setns", 308, 268),
    ("open_tree", 428, 428),
    ("move_mount", 429, 429),
    ("fsopen", 430, 430),
    ("fsconfig", 431, 431),
    ("fsmount", 432, 432),
    ("fspick", 433, 433),
    ("mount_setattr", 442, 442),
]
# The same, and which argument says whose it is; 0 is oneself.
OWN = [
    ("prlimit64", 302, 261, 0),
    ("sched_setparam", 142, 118, 0),
    ("sched_setscheduler", 144, 119, 0),
    ("sched_setattr", 314, 274, 0),
    ("setpriority", 141, 140, 1),
]
# Who they are for is the first argument.
SIGNALS = [
    ("kill", 62, 129),
    ("tgkill", 234, 131),
    ("rt_sigqueueinfo", 129, 138),
    ("rt_tgsigqueueinfo", 297, 240),
    ("pidfd_open", 434, 434),
]
TKILL = {"x86_64": 200, "aarch64": 130}
CLONE = {"x86_64": 56, "aarch64": 220}
CLONE3 = 435
# From the kernel's own header: what makes a namespace, and what threads and children are made with.
NEW = {
    "NEWNS": 0x20000,
    "NEWCGROUP": 0x2000000,
    "NEWUTS": 0x4000000,
    "NEWIPC": 0x8000000,
    "NEWUSER": 0x10000000,
    "NEWPID": 0x20000000,
    "NEWNET": 0x40000000,
}
THREAD, CHILD = 0x3D0F00, 0x1200011
NEEDED = [
    ("read", 0, 63),
    ("openat", 257, 56),
    ("execve", 59, 221),
    ("clone", 56, 220),
    ("connect", 42, 203),
    ("bind", 49, 200),
    ("socketpair", 53, 199),
    ("mmap", 9, 222),
    ("futex", 202, 98),
    ("prctl", 157, 167),
    ("seccomp", 317, 277),
    ("epoll_create1", 291, 20),
    ("memfd_create", 319, 279),
    ("tkill", 200, 130),
    *SIGNALS,
    *[row[:3] for row in OWN],
]
MACHINES = pytest.mark.parametrize("machine", list(ARCHITECTURES))


def run(program: bytes, *, number: int, arch: int, arguments: tuple[int, ...] = ()) -> int:
    """Interpret classic BPF over `struct seccomp_data`, as far as a filter like ours goes."""
    padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    data = struct.pack("=IIQ6Q", number, arch, 0xDEADBEEF, *padded)
    steps = list(struct.iter_unpack("=HBBI", program))
    accumulator, position = 0, 0
    while True:
        code, on_true, on_false, operand = steps[position]
        position += 1
        match code:
            case 0x20:  # BPF_LD | BPF_W | BPF_ABS
                assert operand % 4 == 0
                accumulator = struct.unpack_from("=I", data, operand)[0]
            case 0x15:  # BPF_JMP | BPF_JEQ | BPF_K
                position += on_true if accumulator == operand else on_false
            case 0x35:  # BPF_JMP | BPF_JGE | BPF_K
                position += on_true if accumulator >= operand else on_false
            case 0x45:  # BPF_JMP | BPF_JSET | BPF_K
                position += on_true if accumulator & operand else on_false
            case 0x06:  # BPF_RET | BPF_K
                return operand
            case _:
                pytest.fail(f"an instruction that the interpreter does not know: {code:#x}")


def on(machine: str) -> Callable[..., int]:
    program = build_filter(machine)
    return lambda number, *arguments: run(program, number=number, arch=ARCHITECTURES[machine], arguments=arguments)


@pytest.mark.parametrize(("name", "x86_64", "aarch64"), FORBIDDEN)
def test_a_way_into_other_processes_or_the_kernel_is_denied(name: str, x86_64: int, aarch64: int) -> None:
    assert (on("x86_64")(x86_64), on("aarch64")(aarch64)) == (DENIED | EPERM, DENIED | EPERM), name


@pytest.mark.parametrize(("name", "x86_64", "aarch64"), NEEDED)
def test_what_programs_need_is_allowed(name: str, x86_64: int, aarch64: int) -> None:
    assert (on("x86_64")(x86_64), on("aarch64")(aarch64)) == (ALLOW, ALLOW), name


@MACHINES
def test_nothing_but_the_table_is_denied(machine: str) -> None:
    call = on(machine)
    column = 1 + list(ARCHITECTURES).index(machine)
    denied = {number for number in range(2000) if call(number) != ALLOW}
    assert denied == {row[column] for row in FORBIDDEN} | {CLONE3, SOCKET[machine]}  # a socket of family 0 is none


@MACHINES
@pytest.mark.parametrize("flags", [0, THREAD, CHILD, 0xFF])
def test_threads_and_children_are_made_as_ever(machine: str, flags: int) -> None:
    assert on(machine)(CLONE[machine], flags) == ALLOW


@MACHINES
@pytest.mark.parametrize("name", list(NEW))
@given(others=st.integers(0, 2**64 - 1))
def test_nobody_gets_a_namespace_of_their_own(machine: str, name: str, others: int) -> None:
    """In a user namespace of one's own one has every capability, and much of the kernel is open that was not."""
    assert on(machine)(CLONE[machine], others | NEW[name]) == DENIED | EPERM


@MACHINES
def test_a_clone_whose_flags_cannot_be_seen_is_not_there(machine: str) -> None:
    assert on(machine)(CLONE3) == DENIED | ENOSYS  # the C library goes on with the other one


@MACHINES
@pytest.mark.parametrize("row", OWN)
@given(other=st.integers(1, 2**32 - 1), high=st.integers(0, 2**32 - 1))
def test_limits_and_ranks_are_set_for_oneself_only(
    machine: str, row: tuple[str, int, int, int], other: int, high: int
) -> None:
    """The kernel asks no more than that it is the same user, which PID 1 is; it looks at the lower half."""
    number, before = row[1 + list(ARCHITECTURES).index(machine)], (7,) * row[3]
    assert on(machine)(number, *before, high << 32 | other) == DENIED | EPERM
    assert on(machine)(number, *before, high << 32) == ALLOW


@MACHINES
@pytest.mark.parametrize("row", SIGNALS)
@given(other=st.integers(0, 2**32 - 1).filter(lambda pid: pid != 1), high=st.integers(0, 2**32 - 1))
def test_no_signal_is_sent_to_pid_1(machine: str, row: tuple[str, int, int], other: int, high: int) -> None:
    """Linux does not deliver them; gVisor's kernel does."""
    number = row[1 + list(ARCHITECTURES).index(machine)]
    assert on(machine)(number, high << 32 | 1, 19) == DENIED | EPERM
    assert on(machine)(number, high << 32 | other, 19) == ALLOW


@MACHINES
@pytest.mark.parametrize("thread", [1, 2, 7])
def test_no_single_thread_is_stopped(machine: str, thread: int) -> None:
    assert on(machine)(TKILL[machine], thread, 19) == DENIED | EPERM
    assert on(machine)(TKILL[machine], thread, 6) == ALLOW  # as a C library does that is not GNU's


@MACHINES
@pytest.mark.parametrize(("family", "name"), [(1, "UNIX"), (2, "INET"), (10, "INET6"), (16, "NETLINK")])
def test_an_ordinary_socket_is_allowed(machine: str, family: int, name: str) -> None:
    assert on(machine)(SOCKET[machine], family, 1, 0) == ALLOW, name


@MACHINES
@pytest.mark.parametrize(
    ("family", "name"), [(0, "UNSPEC"), (17, "PACKET"), (29, "CAN"), (31, "BLUETOOTH"), (38, "ALG"), (40, "VSOCK")]
)
def test_a_socket_that_reaches_past_the_network_mode_is_denied(machine: str, family: int, name: str) -> None:
    assert on(machine)(SOCKET[machine], family, 1, 0) == DENIED | EAFNOSUPPORT, name


@MACHINES
@given(family=st.integers(0, 2**32 - 1), high=st.integers(0, 2**32 - 1))
def test_a_socket_is_judged_by_the_half_of_its_family_that_the_kernel_looks_at(
    machine: str, family: int, high: int
) -> None:
    expected = ALLOW if family in {1, 2, 10, 16} else DENIED | EAFNOSUPPORT
    assert on(machine)(SOCKET[machine], high << 32 | family) == expected


@MACHINES
@given(number=st.integers(0, 2**32 - 1), first=st.integers(0, 2**64 - 1))
def test_another_architectures_calls_are_all_denied(machine: str, number: int, first: int) -> None:
    others = {I386, ARM, 0, *ARCHITECTURES.values()} - {ARCHITECTURES[machine]}
    for arch in others:
        assert run(build_filter(machine), number=number, arch=arch, arguments=(first,)) == DENIED | EPERM


@given(number=st.integers(X32, 2**32 - 1))
def test_x32_calls_are_all_denied(number: int) -> None:
    assert on("x86_64")(number, 1) == DENIED | ENOSYS


@pytest.mark.parametrize("number", [X32 | 41, X32 | 101, X32 | 0])
def test_no_denial_is_passed_by_the_x32_bit(number: int) -> None:
    assert on("x86_64")(number, 2) == DENIED | ENOSYS


@MACHINES
def test_every_way_through_the_program_ends_in_an_answer(machine: str) -> None:
    steps = list(struct.iter_unpack("=HBBI", build_filter(machine)))
    assert steps[-1][0] == 0x06
    for index, (code, on_true, on_false, _) in enumerate(steps):
        if code in {0x15, 0x35, 0x45}:
            assert index + 1 + max(on_true, on_false) < len(steps)


@pytest.mark.parametrize("machine", ["i686", "armv7l", "riscv64", ""])
def test_a_processor_without_a_table_is_an_error_and_not_an_open_door(machine: str) -> None:
    with pytest.raises(OSError, match="no seccomp table"):
        build_filter(machine)

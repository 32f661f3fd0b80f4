"""Whether everything in a container stands still, in a namespace of processes where the test's program is the first."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

needs_namespaces = pytest.mark.skipif(
    subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", "true"], check=False, capture_output=True).returncode
    != 0,
    reason="needs a namespace of processes",
)
pytestmark = [needs_namespaces, pytest.mark.timeout(60)]


BEGINNING = """
import os, signal, subprocess, sys, time
from langchain_sandbox.agent import children

children.start_reaper()

def begin(words):
    child = children.spawn([sys.executable, "-c", words], cwd="/", env={}, stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"up\\n"
    return child
"""


def run_as_first(program: str) -> list[str]:
    """Have the first process of a namespace do something, and return what it prints."""
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", BEGINNING + textwrap.dedent(program)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


SLEEP = "print('up', flush=True); import time; time.sleep(1000)"
# Python starts a program with vfork: whoever does waits in the kernel until the program has begun.
VFORK = "import subprocess; print('up', flush=True)\nwhile True: subprocess.run(['/bin/true'])"
TICK = (
    "import ctypes, signal, time\n"
    "signal.signal(signal.SIGCONT, lambda *_: None)\n"
    # A clock that the kernel keeps, and that has a stopped process go on: timer_create, timer_settime.
    "libc = ctypes.CDLL(None)\n"
    "class Event(ctypes.Structure):\n"
    "    _fields_ = [('value', ctypes.c_void_p), ('signo', ctypes.c_int), ('notify', ctypes.c_int),"
    " ('rest', ctypes.c_char * 48)]\n"
    "timer = ctypes.c_void_p()\n"
    "event = Event(None, signal.SIGCONT, 0)\n"
    "librt = libc if hasattr(libc, 'timer_create') else ctypes.CDLL('librt.so.1')\n"
    "assert librt.timer_create(1, ctypes.byref(event), ctypes.byref(timer)) == 0\n"
    "every = (ctypes.c_long * 4)(0, 20_000_000, 0, 20_000_000)\n"
    "assert librt.timer_settime(timer, 0, every, None) == 0\n"
    "print('up', flush=True)\n"
    "while True: time.sleep(0.005)\n"
)


def test_what_was_stopped_stands_still_and_what_goes_on_does_not() -> None:
    said = run_as_first(f"""
        for words in 3 * [{SLEEP!r}]:
            begin(words)
        print(children.stand_still(), children.freeze_all(), children.stand_still())
        children.thaw_all()
        print(children.stand_still())
        children.kill_all()
        print(children.stand_still())
    """)
    assert said == ["False", "True", "True", "False", "True"]


def test_what_has_a_clock_of_its_own_is_found_out() -> None:
    said = run_as_first(f"""
        begin({TICK!r})
        children.freeze_all()
        moved = False
        for _ in range(1000):
            moved = moved or not children.stand_still()
            time.sleep(0.001)
        print(moved)
    """)
    assert said == ["True"]


def test_who_waits_for_a_child_to_begin_is_stopped_in_the_end() -> None:
    said = run_as_first(f"""
        begin({VFORK!r})
        for _ in range(10):
            print(children.freeze_all())
            children.thaw_all()
            time.sleep(0.003)
    """)
    assert said == ["True"] * 10


def test_a_vigil_tells_what_runs_and_only_while_it_is_kept() -> None:
    said = run_as_first(f"""
        import threading
        from langchain_sandbox.agent.vigil import Vigil
        heard = threading.Event()
        vigil = Vigil(on_unrest=heard.set, pause=0.01)
        child = begin({SLEEP!r})
        print(heard.wait(0.2))
        children.freeze_all()
        vigil.begin()
        print(heard.wait(0.2))
        vigil.end()
        children.thaw_all()
        print(heard.wait(0.2))
        vigil.begin()
        print(heard.wait(20))
    """)
    assert said == ["False", "False", "False", "True"]


def test_how_a_program_ended_is_told_apart() -> None:
    said = run_as_first("""
        def how(command, **options):
            try:
                children.run(command, cwd="/", env={}, **options)
            except OSError as error:
                return type(error).__name__
            return "well"
        print(how(["/bin/true"]), how(["/bin/false"]), how(["/bin/sleep", "100"], timeout=0.05), how(["/no/program"]))
        print(how(["/bin/sh", "-c", "kill -9 $$"]), len(children._ours), len(children._exits))
    """)
    assert said == ["well", "ExitError", "TimeoutError", "FileNotFoundError", "OSError", "0", "0"]

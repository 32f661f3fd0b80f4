"""SIGTERM in a block that drains: it is noted, once, and by the process that was meant."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

from langchain_sandbox import SandboxConfigError, drain_on_sigterm

FORKED = """
import os, signal, time
from langchain_sandbox import drain_on_sigterm

with drain_on_sigterm() as asked:
    there, is_there = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(is_there, b"x")
        time.sleep(60)
        os._exit(0)
    os.read(there, 1)  # until it has begun: what comes in the middle of a fork, Python forgets
    os.kill(child, signal.SIGTERM)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), asked.is_set())
"""


def test_the_first_signal_is_noted_and_the_second_is_as_ever() -> None:
    heard: list[int] = []
    usual = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        with drain_on_sigterm() as asked:
            assert not asked.is_set()
            os.kill(os.getpid(), signal.SIGTERM)
            assert asked.wait(10)
            assert heard == []
            os.kill(os.getpid(), signal.SIGTERM)
            assert heard == [signal.SIGTERM]
        with drain_on_sigterm() as asked:
            pass
        assert not asked.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        assert heard == [signal.SIGTERM] * 2
    finally:
        signal.signal(signal.SIGTERM, usual)
    assert not [each for each in threading.enumerate() if each.name == "langchain-sandbox-drain"]


def test_the_signal_of_a_forked_child_is_its_own() -> None:
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == [str(-signal.SIGTERM), "False"]


def test_it_is_for_the_main_thread() -> None:
    raised: list[Exception] = []

    def work() -> None:
        try:
            with drain_on_sigterm():
                pass
        except SandboxConfigError as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert "main thread" in str(raised[0])

"""The program that runs inside the container, as its PID 1.

Standard library only: the image copies this folder and `link.py` in, and nothing else of ours. It trusts nobody
inside the container and is itself trusted by nobody outside: whatever it says is a claim that the host checks.
"""

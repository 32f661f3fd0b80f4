"""`python -m langchain_sandbox` is the command `langchain-sandbox`."""

from __future__ import annotations

import sys

from langchain_sandbox.cli import main

if __name__ == "__main__":
    sys.exit(main())

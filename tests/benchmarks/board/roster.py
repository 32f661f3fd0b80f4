"""Who takes part, in the order of the table."""

from __future__ import annotations

from board.arrangements import OPENCODE_RUN, SEED
from board.containers import CONTAINERS
from board.ours import COLD, POOLED, SESSION
from board.shared_server import ATTACH, HOT

ALL = [*CONTAINERS, SEED, OPENCODE_RUN, ATTACH, HOT, COLD, POOLED, SESSION]

"""What the tests of cards and pages share: a result full of hostile words, and a reader that takes HTML apart."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

from hypothesis import strategies as st

from langchain_sandbox.result import SandboxResult

PATCH = """\
diff --git a/a.sql b/a.sql
index 1..2 100644
--- a/a.sql
+++ b/a.sql
@@ -1,3 +1,2 @@ a function
 kept
--- a comment
-+++ gone
+++ new
\\ No newline at end of file
diff --git a/b b/b
"""

SPLITTERS = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</pre></div>", "' onclick='", "&lt;b&gt;"]
SPLITTERS += [
    "<style>*{display:none}</style>",
    "<!--",
    "]]>",
    "javascript:x",
    "</style><b>",
    "\u202e",
    "\x1b[31m",
    "$x$",
]
hostile = st.lists(st.sampled_from(SPLITTERS) | st.text(max_size=5), min_size=1, max_size=4).map("".join)


class Reader(HTMLParser):
    """Takes a card apart: its elements with their attributes, whether each is closed, and its words."""

    VOID = frozenset({"br", "hr", "img", "input", "link", "meta"})

    def __init__(self, card: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.odd: list[str] = []
        self.words: list[str] = []
        self.lines: list[tuple[str, str]] = []
        self._open: list[str] = []
        self._class = ""
        self.feed(card)
        self.close()
        self.odd += self._open

    @property
    def text(self) -> str:
        """Its words on one line."""
        return " ".join("".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)
        self._class = dict(attrs).get("class") or ""

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.odd.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"]:
            self.words.append(data)
            if self._class.startswith("line "):
                self.lines.append((self._class.removeprefix("line "), data.removesuffix("\n")))

    def handle_comment(self, data: str) -> None:
        self.odd.append(f"comment {data}")

    def handle_decl(self, decl: str) -> None:
        self.odd.append(f"declaration {decl}")

    def handle_pi(self, data: str) -> None:
        self.odd.append(f"instruction {data}")


RECEIPT = ("package", "model", "image", "opencode", "patch_sha256", "command", "command_sha256", "config_sha256")


def make(word: str = "word", **fields: Any) -> dict[str, Any]:
    """A result that says the same word wherever a container, a model or a repository has something to say."""
    plain = {
        "run_id": word,
        "status": "crashed",
        "ok": False,
        "ending": {"code": word, "message": word, "hint": word},
        "text": word,
        "structured": {word: [word, 1, None, {word: word}]},
        "patch": f"diff --git a/{word} b/{word}\n@@ -1 +1 @@ {word}\n-{word}\n+{word}\n",
        "files": [{"path": word, "old_path": word, "kind": word, "mode": word, "risks": [word]}],
        "commits": [{"id": word, "subject": word, "author": word, "email": word, "date": word, "risks": [word]}],
        "partial": True,
        "steps": [
            {
                "index": 0,
                "text": word,
                "tools": [word, word],
                "reason": word,
                "at": 1.0,
                "seconds": 0.5,
                "uses": [{"tool": word, "title": word, "status": "error", "at": 1.0, "seconds": 0.1}],
            }
        ],
        "model_calls": [{"index": 0, "at": 1.0, "duration": 1.0, "status": 200, "error": word, "prompt_tokens": 9}],
        "connections": [{"host": word, "port": 1, "at": 1.0, "address": word, "refused": word, "sent": 1}],
        "timings": {"created": 0.5, "worked": 2.5, "total": 3.0},
        "warnings": [word],
        "evidence": {"stderr": word, "claimed_files": [word], "refused_requests": [word]},
        "workspace": {"root": word, "branch": word, "digest": word, "head": word},
        "settings": {
            "task": word,
            "changes": word,
            "timeout": 1,
            "limits": {word: 1},
            "egress": {"allow": [word], "traffic": 1, "connections": 1},
        },
        "receipt": dict.fromkeys(RECEIPT, word),
    }
    return SandboxResult.model_validate(plain | fields).model_dump(mode="json")

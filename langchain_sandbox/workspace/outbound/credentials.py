"""Finds what looks like a credential, by the forms that issuers gave theirs so that they can be found. Pure.

A password that has no form of its own is not found. Time goes with the length of the content, whatever it holds: what
follows a beginning is of bounded length, and is looked at where a word begins.
"""

from __future__ import annotations

import re

# What only says where a password goes.
_STAND_IN = r"[$<{%*\[]|(?i:changeme|example|pass|passwd|password|pwd|secret|x{1,40}|your[\w-]{0,40})@"

# Of a private key enough to tell one from another; it may stand in a string, its lines' ends escaped.
_KEY = r"""(?:\\[nr]|[\s'"+,]){0,60}(?:(?:Proc-Type|Version|Comment):[^=]{0,400}|[A-Za-z0-9+/=]{16}[^-]{0,400})"""

# How it begins, in one of several ways, and how it goes on.
_FORMS = (
    ("AKIA ASIA", r"[A-Z2-7]{16}(?<!EXAMPLE)(?!\w)"),  # AWS, except the keys in its manuals
    ("gho_ ghp_ ghr_ ghs_ ghu_", r"[A-Za-z0-9]{36,255}"),  # GitHub
    ("github_pat_", r"\w{40,255}"),
    ("glagent- glcbt- gldt- glft- glimt- gloas- glpat- glptt- glrt- glsoat-", r"[\w-]{20,255}"),  # GitLab
    ("xoxa- xoxb- xoxc- xoxe- xoxo- xoxp- xoxr- xoxs- xapp-", r"[A-Za-z0-9-]{10,255}"),  # Slack
    ("hooks.slack.com/services/", r"T\w{6,20}/B\w{6,20}/\w{16,40}"),
    ("sk-", r"(?=[\w-]{0,200}[0-9])(?=[\w-]{0,200}[A-Z])[\w-]{20,255}"),  # OpenAI, Anthropic, OpenRouter
    ("gsk_ xai-", r"[A-Za-z0-9]{40,255}"),  # Groq, xAI
    ("hf_", r"[A-Za-z0-9]{30,255}"),  # Hugging Face
    ("lsv2_pt_ lsv2_sk_", r"[0-9a-f]{32}"),  # LangSmith
    ("AIza", r"[\w-]{35}(?![\w-])"),  # Google
    ("GOCSPX-", r"[\w-]{24,40}"),
    ("sk_live_ rk_live_", r"[A-Za-z0-9]{16,255}"),  # Stripe
    ("npm_", r"[A-Za-z0-9]{36}(?!\w)"),  # npm
    ("pypi-AgE", r"[\w-]{50,500}"),  # PyPI
    ("doo_v1_ dop_v1_ dor_v1_", r"[0-9a-f]{64}"),  # DigitalOcean
    ("SG.", r"[\w-]{20,24}\.[\w-]{40,46}"),  # SendGrid
    ("AccountKey=", r"[A-Za-z0-9+/]{86}=="),  # Azure
    ("eyJ", r"[\w-]{10,2000}\.eyJ[\w-]{10,2000}\.[\w-]{10,2000}"),  # a JSON web token
    ("-----BEGIN", rf" (?:[A-Z0-9]{{1,20}} ){{0,3}}PRIVATE KEY(?: BLOCK)?-----{_KEY}"),
    ("://", rf"[^\s:/@?#'\x22<>]{{0,255}}:(?!{_STAND_IN})[^\s/@?#'\x22<>]{{1,255}}@"),  # the password in a URL
)


def find_credentials(content: bytes) -> set[bytes]:
    """What looks like a credential in a content, as it is written there. Not for showing to anybody."""
    return {
        match.group()
        for beginning, pattern in _PATTERNS.items()
        if beginning in content  # much quicker than the pattern, and most often all there is to do
        for match in pattern.finditer(content)
    }


def _compile(beginning: bytes, rest: str) -> re.Pattern[bytes]:
    literal = re.escape(beginning)
    # Behind the beginning, since a pattern is found quickly if it starts with plain letters.
    word = rb"(?<![\w-]%b)" % literal if beginning[:1].isalnum() else b""
    return re.compile(literal + word + rest.encode("ascii"))


_PATTERNS = {
    beginning: _compile(beginning, rest) for beginnings, rest in _FORMS for beginning in beginnings.encode().split()
}

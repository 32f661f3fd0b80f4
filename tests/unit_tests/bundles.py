"""An agent's repository as a container has it: a copy of the user's, in which it commits what it likes."""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runs import Run, git, run_on
from trees import Tree, read, tell_changes

from langchain_sandbox.workspace.applying.delivery import BundledCommits
from langchain_sandbox.workspace.inbound.repository import Repository, find_repository
from langchain_sandbox.workspace.outbound.commits import Commits, read_commits

RUN_ID = "0123456789ab"


def files_of(folder: Path) -> Tree:
    """What lies in a folder, without what git keeps there."""
    return {path: side for path, side in read(folder).items() if path.partition("/")[0] != ".git"}


def write_loose(repository: Path, kind: bytes, content: bytes) -> str:
    """Put an object into a repository, whatever it is and whether git would or not."""
    git(repository, "hash-object", "-w", "-t", kind.decode(), "--literally", "--stdin", stdin=content)
    return hashlib.sha1(b"%b %d\0%b" % (kind, len(content), content)).hexdigest()


@dataclass
class Inside:
    """The agent's repository.

    Args:
        user: The user's, as it is when the run begins.
        place: A folder for it and for the bundle.
        prefix: The workspace's folder in the user's repository.
    """

    user: Path
    place: Path
    prefix: str = ""
    base: str | None = field(init=False)
    branch: str | None = field(init=False)

    def __post_init__(self) -> None:
        shutil.copytree(self.user, self.place / "inside", symlinks=True)
        self.repository = self.place / "inside"
        self.before = files_of(self.user / self.prefix)
        found = find_repository(self.user)
        self.base = found.head if found else None
        self.branch = git(self.user, "branch", "--show-current").strip() or None

    def git(self, *arguments: str, stdin: bytes = b"") -> str:
        return git(self.repository, *arguments, stdin=stdin)

    def commit(self, files: dict[str, bytes | None], message: str = "agent's", *options: str) -> str:
        """Write files, or remove them, and commit everything."""
        for path, content in files.items():
            full = self.repository / path
            if content is None:
                full.unlink()
            else:
                full.parent.mkdir(parents=True, exist_ok=True)
                full.write_bytes(content)
        self.git("add", "--all", "--force")
        self.git("commit", "--quiet", "--allow-empty", f"--message={message}", *options)
        return self.git("rev-parse", "HEAD").strip()

    def commit_tree(self, *entries: tuple[str, bytes, str], parents: Sequence[str] | None = None) -> str:
        """Commit a tree made of its very bytes, above the one that is checked out or above none."""
        content = b"".join(b"%b %b\0%b" % (mode.encode(), name, bytes.fromhex(blob)) for mode, name, blob in entries)
        tree = write_loose(self.repository, b"tree", content)
        above = [f"-p{parent}" for parent in ([self.base] if parents is None else parents)]
        commit = self.git("commit-tree", tree, *above, "-mhostile").strip()
        self.git("update-ref", "HEAD", commit)
        return commit

    def blob(self, content: bytes) -> str:
        return write_loose(self.repository, b"blob", content)

    def bundle(self) -> Path:
        """What the program in the container makes of it."""
        since = ["--not", self.base] if self.base else []
        self.git("bundle", "create", "--quiet", str(self.place / "bundle"), "HEAD", "--branches", *since)
        return self.place / "bundle"

    def bundle_by_hand(self) -> Path:
        """A bundle with every object that the user has not, whatever git would say of it."""
        listing = ("cat-file", "--batch-all-objects", "--batch-check=%(objectname)")
        new = set(self.git(*listing).split()) - set(git(self.user, *listing).split())
        pack = self.git("pack-objects", "--quiet", str(self.place / "pack"), stdin="\n".join(new).encode()).strip()
        head = self.git("rev-parse", "HEAD").strip()
        lines = ["# v2 git bundle", f"-{self.base} base", f"{head} HEAD", f"{head} refs/heads/main", "", ""]
        content = (self.place / f"pack-{pack}.pack").read_bytes()
        (self.place / "bundle").write_bytes("\n".join(lines).encode() + content)
        return self.place / "bundle"

    def read(self) -> Commits:
        """The commits as the host sees them."""
        return read_commits(self.bundle(), Repository(self.user, self.prefix, self.base))

    def run(self) -> Run:
        """The run, with its files as they lie in the agent's repository now."""
        root = self.user / self.prefix
        run = run_on(root, *tell_changes(self.before, files_of(self.repository / self.prefix)))
        run.record = self.place / "applied"
        run.commits = BundledCommits(bundle=self.bundle(), run_id=RUN_ID, head=self.base, branch=self.branch)
        return run


def count_objects(repository: Path) -> str:
    return git(repository, "count-objects", "-v")


def make_user(root: Path) -> Path:
    """A user's repository with three commits."""
    (root / "src").mkdir(parents=True)
    (root / "src/a.py").write_text("".join(f"{line}\n" for line in range(10)))
    (root / "readme").write_text("read me\n")
    git(root, "init", "--quiet", "--initial-branch=main", "--template=")
    for count in range(3):
        (root / "count").write_text(f"{count}\n")
        git(root, "add", "--all")
        git(root, "commit", "--quiet", f"--message=user {count}")
    return root

"""Works out what has to be written for a patch: what it is made against, what it makes of that, and how both fit."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from langchain_sandbox.errors import SandboxApplyError
from langchain_sandbox.untrusted import clean_name
from langchain_sandbox.workspace.applying.merge import MergePlan, Merger, Side, State, name_state
from langchain_sandbox.workspace.applying.settings import GitSettings
from langchain_sandbox.workspace.applying.told import name_some
from langchain_sandbox.workspace.content import Content, pieces, read_start
from langchain_sandbox.workspace.git import GitError, scratch_git, scratch_pipe, scratch_repository
from langchain_sandbox.workspace.inbound.snapshot import SYMLINK
from langchain_sandbox.workspace.outbound.objects import read_blobs
from langchain_sandbox.workspace.outbound.risks import MEANINGS, REFUSED, Risk, find_risks
from langchain_sandbox.workspace.outbound.trees import write_trees

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from langchain_sandbox.workspace.applying.record import Record
    from langchain_sandbox.workspace.outbound.patch_header import PatchedFile
    from langchain_sandbox.workspace_config import ApplyPolicy

_GONE = "000000"
_SCANNED = 1024 * 1024


class Planner:
    """Works out what has to be written.

    Args:
        root: The folder whose git settings say what else is risky; `None` where nobody's git obeys the tree.
        look: How a path of the tree is now; `None` for nothing.
        patch: The patch.
        files: What it says of each file.
        find_base: Finds former contents that are not in the tree any more.
        spool: Gets contents.
        former: What applying the patch before has made of the tree.
    """

    def __init__(
        self,
        root: Path | None,
        look: Callable[[str], State | None],
        patch: Content,
        files: list[PatchedFile],
        find_base: Callable[[str], Content | None],
        spool: IO[bytes],
        former: Record,
    ) -> None:
        self._root = root
        self._patch = patch
        self._files = files
        self._find_base = find_base
        self._spool = spool
        paths = {path for file in files for path in (file.path, file.old_path) if path is not None}
        self._here = {path: look(path) for path in sorted(paths)}
        self._left = {path: after for path, (_, after) in former.paths.items()}

    def plan(self, policy: ApplyPolicy) -> MergePlan:
        """What has to be written, or why it cannot be."""
        if all(self._is_done(file) for file in self._files):
            return MergePlan()
        merger = Merger(self._here, moved=policy.moved, spool=self._spool)
        bases = self._find_bases(merger.plan)
        if merger.plan.conflicts:
            return merger.plan
        news = self._find_news(bases)
        if policy.risky == "refuse":
            self._refuse_risks(bases, news)
        for file in self._files:
            base = bases.get(file.old_path) if file.old_path is not None else None
            if not self._is_done(file):
                merger.settle(file, base, news.get(file.path) if file.kind != "deleted" else None)
        return merger.plan

    def _is_done(self, file: PatchedFile) -> bool:
        here = self._here[file.path]
        # What was merged is neither as the patch would have it nor as it was, and is all there all the same.
        paths = {file.path, file.old_path or file.path}
        if all(path in self._left and self._left[path] == name_state(self._here[path]) for path in paths):
            return True
        if file.kind == "deleted":
            return here is None
        if file.blob is None or here is None or (here.mode, here.blob) != (file.mode, file.blob):
            return False
        return file.kind != "renamed" or file.old_path is None or self._here[file.old_path] is None

    def _find_bases(self, plan: MergePlan) -> dict[str, Side]:
        """The former side of each file that has one."""
        bases = {}
        for file in self._files:
            if file.old_path is None:
                continue
            here = self._here[file.old_path]
            # What the patch has no word of is not changed by it.
            mode, blob = file.old_mode or (here.mode if here else None), file.old_blob or (here.blob if here else None)
            content = here.content if here is not None and here.blob == blob else None
            if content is None and blob is not None:
                content = self._find_base(blob)
            if mode is None or blob is None or content is None:
                reason = "not there any more" if here is None else "not as when the run began"
                plan.conflicts.append(
                    f"{clean_name(file.old_path)}: {reason}, and what it was then is not known any more"
                )
                continue
            bases[file.old_path] = Side(mode, blob, content)
        return bases

    def _find_news(self, bases: dict[str, Side]) -> dict[str, Side]:
        """The new side of each path, by git's own reading of the patch.

        Raises:
            GitError: If the patch does not fit the former sides, or does not do what its headers say.
        """
        with scratch_repository() as scratch:
            [base] = write_trees(scratch, {path: (side.mode, side.content) for path, side in bases.items()})
            scratch_git(scratch, "read-tree", base)
            command = ("apply", "--cached", "--binary", "--whitespace=nowarn", "-")
            scratch_pipe(scratch, *command, feed=pieces(self._patch))
            raw = scratch_git(scratch, "diff-index", "--cached", "-z", "--no-renames", "--abbrev=40", base)
            states = dict(_parse_states(raw))
            _check_states(states, self._files)
            news = {path: state for path, state in states.items() if state is not None}
            contents = read_blobs(scratch, (blob for _, blob in news.values()), self._spool)
        self._spool.flush()
        sides = {}
        for path, (mode, blob) in news.items():
            content: Content = contents[blob]
            if mode == SYMLINK:
                content = b"".join(pieces(content))
            sides[path] = Side(mode, blob, content)
        return sides

    def _refuse_risks(self, bases: dict[str, Side], news: dict[str, Side]) -> None:
        found: dict[Risk, list[str]] = {}
        settings = GitSettings(self._root) if self._root is not None else None
        for file in self._files:
            base = bases.get(file.old_path) if file.old_path is not None else None
            new = news.get(file.path) if file.kind != "deleted" else None
            risks = find_risks(
                file.path,
                mode=new.mode if new else None,
                old_mode=base.mode if base else None,
                content=read_start(new.content, _SCANNED) if new else b"",
                old_content=read_start(base.content, _SCANNED) if base else b"",
                size=0,
            )
            if file.kind == "renamed" and file.old_path is not None:
                mode = base.mode if base else None
                risks += find_risks(file.old_path, mode=None, old_mode=mode, content=b"", old_content=b"", size=0)
            risks += settings.find_risks(file.path) if settings is not None else []
            for risk in dict.fromkeys(risks):
                if risk in REFUSED:
                    found.setdefault(risk, []).append(clean_name(file.path))
        if found:
            told = "; ".join(f"{name_some(names)} ({risk}: {MEANINGS[risk]})" for risk, names in sorted(found.items()))
            msg = (
                f"Not applied, since it would reach further than the project: {told}. Look at these "
                'changes, and then allow them with apply(result, policy=ApplyPolicy(risky="allow")).'
            )
            raise SandboxApplyError(msg)


def _parse_states(raw: bytes) -> Iterator[tuple[str, tuple[int, str] | None]]:
    fields = iter(raw.decode("utf-8", "surrogateescape").split("\0"))
    for item in fields:
        if item:
            _, mode, _, blob, _ = item.split(" ")
            yield next(fields), None if mode == _GONE else (int(mode, 8), blob)


def _check_states(states: dict[str, tuple[int, str] | None], files: list[PatchedFile]) -> None:
    """See that git reads the patch as we do."""
    said: dict[str, tuple[int | None, str | None] | None] = {}
    for file in files:
        if file.old_path is not None and file.old_path != file.path:
            said.setdefault(file.old_path, None)
        said[file.path] = None if file.kind == "deleted" else (file.mode, file.blob)
    for path, state in states.items():
        words = said.get(path)
        agrees = path in said and (
            state is None
            if words is None
            else state is not None and words[0] in {None, state[0]} and words[1] in {None, state[1]}
        )
        if not agrees:
            msg = f"the patch does to {clean_name(path)!r} what its headers do not say"
            raise GitError(msg)

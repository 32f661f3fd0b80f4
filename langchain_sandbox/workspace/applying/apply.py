"""Puts a result's changes into the user's tree, whole or not at all."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from langchain_sandbox.errors import SandboxApplyError
from langchain_sandbox.untrusted import clean_name
from langchain_sandbox.workspace.applying.delivery import Delivery, plan_delivery
from langchain_sandbox.workspace.applying.merge import MergePlan, Merger, Side, look, name_state
from langchain_sandbox.workspace.applying.record import Record, find_folder_bits, keep_former, read_record, write_record
from langchain_sandbox.workspace.applying.settings import GitSettings
from langchain_sandbox.workspace.applying.told import ApplyReport, describe_conflicts, name_some
from langchain_sandbox.workspace.applying.transaction import locked, recover_locked, transact_locked
from langchain_sandbox.workspace.content import Content, blob_name, pieces, read_start
from langchain_sandbox.workspace.git import GitError, git, scratch_git, scratch_pipe, scratch_repository
from langchain_sandbox.workspace.inbound.snapshot import SYMLINK
from langchain_sandbox.workspace.outbound.objects import read_blobs
from langchain_sandbox.workspace.outbound.patch_header import PatchedFile, PatchFormatError, parse_patch
from langchain_sandbox.workspace.outbound.risks import MEANINGS, REFUSED, find_risks
from langchain_sandbox.workspace.outbound.trees import write_trees
from langchain_sandbox.workspace.paths import find_fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_sandbox.config import ApplyPolicy
    from langchain_sandbox.workspace.applying.delivery import BundledCommits

_GONE = "000000"
_SCANNED = 1024 * 1024
_LONGEST = 100_000  # more than the longest path that find_fault lets pass, written twice as git writes it


def apply_changes(
    root: Path,
    patch: Content,
    *,
    find_base: Callable[[str], Content | None],
    policy: ApplyPolicy,
    commits: BundledCommits | None = None,
    record_in: Path | None = None,
) -> ApplyReport:
    """Apply a patch, and the commits that belong to it.

    Everything is worked out and written beside the tree first; the tree is touched only when all of it is known to
    fit. What an earlier process left undone is finished or undone before.

    Args:
        root: The workspace's folder.
        patch: As `build_patch` made it.
        find_base: Finds a former content by git's name for it, where it is not in the tree any more.
        policy: What to do where the tree moved on, with commits, and with risky changes.
        commits: The commits that the agent made.
        record_in: A folder that gets what `revert_changes` needs.

    Raises:
        SandboxApplyError: If it does not fit, or cannot be written; then nothing was changed.
    """
    with locked(root), tempfile.TemporaryFile(prefix="langchain-sandbox-") as spool:
        recover_locked(root)
        kept = read_record(record_in) if record_in is not None else None
        former = Record(str(root))
        if kept is not None and kept.is_of(root):
            former = replace(kept, root=str(root))
        try:
            files = parse_patch(_lines(patch))
            _check_names(files)
            delivery = plan_delivery(root, commits, policy) if commits is not None else Delivery()
            plan = MergePlan()
            if policy.commits != "branch":
                plan = _Planner(root, patch, files, find_base, spool, former).plan(policy)
        except (GitError, PatchFormatError, OSError) as error:
            msg = f"The changes cannot be applied: {error}"
            raise SandboxApplyError(msg) from error
        if plan.conflicts:
            raise SandboxApplyError(describe_conflicts(plan.conflicts))
        report = ApplyReport(
            paths=sorted(clean_name(write.path) for write in plan.writes),
            merged=sorted(map(clean_name, plan.merged)),
            forwarded=delivery.move.ref.removeprefix("refs/heads/") if delivery.move else None,
            branch=delivery.branch.removeprefix("refs/heads/") if delivery.branch else None,
        )
        if plan.writes or delivery.needed:
            with _recorded(record_in, kept, former, plan, delivery):
                _carry_out(root, plan, delivery)
        return report


@contextmanager
def _recorded(
    folder: Path | None, kept: Record | None, former: Record, plan: MergePlan, delivery: Delivery
) -> Iterator[None]:
    """Keep what the tree is before the block changes it; if the block fails, what was kept before counts again.

    Raises:
        SandboxApplyError: If it cannot be kept.
    """
    if folder is None:
        yield
        return
    try:
        record = Record(
            former.root,
            former.paths | keep_former(folder, plan),
            delivery.move or former.move,
            (delivery.branch, delivery.head) if delivery.branch else former.branch,
            former.folders | find_folder_bits(Path(former.root), plan),
        )
        write_record(folder, record)
    except OSError as error:
        msg = f"The changes cannot be applied: {error}; nothing was changed."
        raise SandboxApplyError(msg) from error
    try:
        yield
    except SandboxApplyError:
        with suppress(OSError):
            write_record(folder, kept)
        raise


def _carry_out(root: Path, plan: MergePlan, delivery: Delivery) -> None:
    try:
        delivery.fetch()
    except (OSError, GitError) as error:
        msg = f"The changes cannot be applied: {error}; nothing was changed."
        raise SandboxApplyError(msg) from error
    try:
        transact_locked(root, plan.writes, move=delivery.move)
    except SandboxApplyError:
        delivery.drop()
        raise


class _Planner:
    """Works out what has to be written.

    Args:
        root: The tree.
        patch: The patch.
        files: What it says of each file.
        find_base: Finds former contents that are not in the tree any more.
        spool: Gets contents.
        former: What applying the patch before has made of the tree.
    """

    def __init__(
        self,
        root: Path,
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
        self._here = {path: look(root, path, spool) for path in sorted(paths)}
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
        found: list[str] = []
        settings = GitSettings(self._root)
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
            risks += settings.find_risks(file.path)
            refused = [MEANINGS[risk] for risk in dict.fromkeys(risks) if risk in REFUSED]
            if refused:
                found.append(f"{clean_name(file.path)} ({'; '.join(refused)})")
        if found:
            msg = (
                f"Not applied, since it would reach further than the project: {name_some(found)}. Look at these "
                'changes, and then allow them with apply(result, policy=ApplyPolicy(risky="allow")).'
            )
            raise SandboxApplyError(msg)


def _lines(patch: Content) -> Iterator[str]:
    """The beginning of each line of the patch, as git counts lines: by line feeds alone.

    A file may be one line. Headers are plain ASCII and shorter; nobody looks at more of a content than that.
    """
    rest = b""
    for piece in pieces(patch):
        *lines, last = piece.split(b"\n")
        for line in lines:
            yield (rest + line[:_LONGEST])[:_LONGEST].decode("ascii", "replace")
            rest = b""
        rest = (rest + last[:_LONGEST])[:_LONGEST]
    if rest:
        yield rest.decode("ascii", "replace")


def _check_names(files: list[PatchedFile]) -> None:
    for file in files:
        for path in (file.path, file.old_path):
            fault = find_fault(path) if path is not None else None
            if fault is not None:
                msg = f"The patch changes {path!r}, which is {fault}; nothing was changed."
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


def find_in_repository(root: Path) -> Callable[[str], Content | None]:
    """Finds contents in a folder's git repository, by git's names for them; nothing where there is none."""

    def find(blob: str) -> Content | None:
        content = git(root, "cat-file", "blob", blob, check=False)
        return content if blob_name(content) == blob else None

    return find

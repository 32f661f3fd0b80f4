"""The hardened container as the sandbox of an agent that deepagents makes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from deepagents.backends.protocol import ExecuteResponse, FileDownloadResponse, FileUploadResponse, WriteResult
from deepagents.backends.sandbox import BaseSandbox

from langchain_sandbox.applier import Applier
from langchain_sandbox.closing import Closing
from langchain_sandbox.errors import SandboxConfigError, SandboxError, SandboxUnavailableError
from langchain_sandbox.integrations.deepagents.files import build_download, build_upload, check_path, parse_failure
from langchain_sandbox.orders import MAX_COMMAND, MAX_INPUT
from langchain_sandbox.request import check_timeout
from langchain_sandbox.shell import DEFAULT_SHELL_TIMEOUT, Shell

if TYPE_CHECKING:
    import os

    from langchain_sandbox.config import ChangesPolicy, Limits
    from langchain_sandbox.executions import CommandResult
    from langchain_sandbox.result import SandboxResult
    from langchain_sandbox.sandbox import Sandbox
    from langchain_sandbox.workspace_config import Workspace

DEFAULT_COMMAND_TIMEOUT = 300.0
"""Seconds that one command may take, where neither the agent nor the caller says otherwise."""
OUTPUT_LIMIT = 1024 * 1024
"""Bytes of one command's output that an agent gets."""
MAX_DOWNLOAD = MAX_INPUT
"""Bytes of one file that can be downloaded; as many can be uploaded."""

_RESULTS = "/large_tool_results/"


class SandboxBackend(Applier, Closing, BaseSandbox):
    """Files and commands of a deep agent, in one ephemeral, hardened container with a copy of the workspace.

    The container starts at the first use and lives until `finish` or `close`, for an hour if nobody says otherwise.
    deepagents closes no backend: whoever made it does, best by using it as a context manager. Nothing of the user's
    tree is touched; what the agent changed comes with `finish`, as the result of a run does, and `apply` or
    `langchain-sandbox apply` puts it there. No model server is needed: the agent brings its own model.

    Args:
        sandbox: Where workspace, image, limits and changes come from, where they are not given here.
        workspace: As for `Shell`: `SANDBOX_WORKSPACE` by default, else an empty folder.
        image: As for `Sandbox`.
        limits: What the agent may use; `SANDBOX_LIMIT_*` by default.
        changes: What becomes of the changes at the end; as for `Sandbox`.
        timeout: Seconds that the container may live from its start; 3600 by default.
        command_timeout: Seconds that a command may take, where the agent does not say, 0 for as long as the container
            lives; 300 by default.

    Raises:
        SandboxConfigError: If an option cannot work.

    Example:
        ```python
        with SandboxBackend(workspace="path/to/repository") as backend:
            agent = create_deep_agent(model, backend=backend, system_prompt=f"The repository is in {backend.root}.")
            agent.invoke({"messages": [HumanMessage("Make the failing test pass.")]})
            result = backend.finish()
        backend.apply(result)
        ```
    """

    enable_capture_offload = False  # it captures into a folder of the container's root, which nobody can write to

    def __init__(
        self,
        *,
        sandbox: Sandbox | None = None,
        workspace: Workspace | str | os.PathLike[str] | None = None,
        image: str | None = None,
        limits: Limits | None = None,
        changes: ChangesPolicy | None = None,
        timeout: float = DEFAULT_SHELL_TIMEOUT,
        command_timeout: float = DEFAULT_COMMAND_TIMEOUT,
    ) -> None:
        self._shell = Shell(
            workspace=workspace or (sandbox.workspace if sandbox else None),
            image=image or (sandbox.image if sandbox else None),
            limits=limits or (sandbox.limits if sandbox else None),
            changes=changes or (sandbox.changes if sandbox else None),
            timeout=timeout,
            queue_timeout=sandbox.queue_timeout if sandbox else None,
            retention=sandbox.retention if sandbox else None,
            runtime=sandbox.runtime if sandbox else None,
            egress=sandbox.egress if sandbox else None,
            allow_ignored_limits=sandbox.allow_ignored_limits if sandbox else None,
        )
        self._command_timeout = check_timeout("command_timeout", command_timeout) if command_timeout else 0.0

    @property
    def id(self) -> str:
        """The name under which it is kept, as a run's."""
        return self._shell.run_id

    @property
    def root(self) -> str:
        """Where the workspace's copy is, and where commands start."""
        return self._shell.root

    def execute(self, command: str, *, timeout: int | None = None) -> ExecuteResponse:
        """Run a command in `bash`.

        Args:
            command: It.
            timeout: Seconds that it may take; 0 for as long as the container lives.

        Returns:
            What it printed, and its exit code: 124 if it took too long. Where the container is gone there is no exit
            code, and the output says why.

        Raises:
            SandboxConfigError: If an option cannot work.
            SandboxUnavailableError: If the engine or the image is not there.
        """
        if (refused := _refuse(command)) is not None:
            return refused
        try:
            result = self._shell.execute(command, timeout=self._choose(timeout), output_limit=OUTPUT_LIMIT)
        except SandboxError as error:
            return _describe_gone(error)
        return _describe(result)

    async def aexecute(self, command: str, *, timeout: int | None = None) -> ExecuteResponse:  # noqa: ASYNC109 - as above
        """As `execute`. Cancelling the waiting task kills the command."""
        if (refused := _refuse(command)) is not None:
            return refused
        try:
            result = await self._shell.aexecute(command, timeout=self._choose(timeout), output_limit=OUTPUT_LIMIT)
        except SandboxError as error:
            return _describe_gone(error)
        return _describe(result)

    def write(self, file_path: str, content: str) -> WriteResult:
        """Write a file; tool results that deepagents puts away because they are long go below `/tmp`.

        Args:
            file_path: Where, absolute.
            content: What.
        """
        return super().write(_place(file_path), content)

    async def awrite(self, file_path: str, content: str) -> WriteResult:
        """As `write`."""
        return await super().awrite(_place(file_path), content)

    def upload_files(self, files: list[tuple[str, bytes]]) -> list[FileUploadResponse]:
        """Write files, each of 256 MiB at most, and make the folders above them. Never raises for a file.

        Args:
            files: Absolute paths in the container, and contents.
        """
        return [self._upload(path, content) for path, content in files]

    async def aupload_files(self, files: list[tuple[str, bytes]]) -> list[FileUploadResponse]:
        """As `upload_files`, side by side."""
        return list(await asyncio.gather(*(self._aupload(path, content) for path, content in files)))

    def download_files(self, paths: list[str]) -> list[FileDownloadResponse]:
        """Read files, each of 256 MiB at most. Never raises for a file.

        Args:
            paths: Absolute, in the container.
        """
        return [self._download(path) for path in paths]

    async def adownload_files(self, paths: list[str]) -> list[FileDownloadResponse]:
        """As `download_files`, side by side."""
        return list(await asyncio.gather(*(self._adownload(path) for path in paths)))

    def finish(self) -> SandboxResult:
        """End the container, and give what the agent changed; at a second time, the same again.

        Raises:
            SandboxConfigError: If an option cannot work.
            SandboxUnavailableError: If the engine or the image is not there.
        """
        return self._shell.finish()

    async def afinish(self) -> SandboxResult:
        """As `finish`."""
        return await self._shell.afinish()

    def close(self) -> None:
        """Take the container away, if it is there; what was changed is kept with the run."""
        self._shell.close()

    async def aclose(self) -> None:
        """As `close`."""
        await self._shell.aclose()

    def __repr__(self) -> str:
        return f"SandboxBackend({self._shell!r})"

    def _choose(self, timeout: float | None) -> float | None:
        """Seconds, or `None` for no limit, for which deepagents says 0."""
        return (self._command_timeout if timeout is None else timeout) or None

    def _order_upload(self, path: str, content: bytes) -> dict[str, Any]:
        title = f"write {path} ({len(content)} bytes)"
        return {"command": build_upload(path), "stdin": content, "timeout": self._choose(None), "title": title}

    def _order_download(self, path: str) -> dict[str, Any]:
        options = {"timeout": self._choose(None), "output_limit": MAX_DOWNLOAD, "title": f"read {path}"}
        return {"command": build_download(path, limit=MAX_DOWNLOAD), **options}

    def _upload(self, path: str, content: bytes) -> FileUploadResponse:
        fault = check_path(path)
        if fault is None:
            try:
                result = self._shell.execute(**self._order_upload(path, content))
                fault = parse_failure(result)
            except SandboxError as error:
                fault = str(error)
        return FileUploadResponse(path=path, error=fault)

    async def _aupload(self, path: str, content: bytes) -> FileUploadResponse:
        fault = check_path(path)
        if fault is None:
            try:
                result = await self._shell.aexecute(**self._order_upload(path, content))
                fault = parse_failure(result)
            except SandboxError as error:
                fault = str(error)
        return FileUploadResponse(path=path, error=fault)

    def _download(self, path: str) -> FileDownloadResponse:
        fault = check_path(path)
        if fault is not None:
            return FileDownloadResponse(path=path, error=fault)
        try:
            result = self._shell.execute(**self._order_download(path))
        except SandboxError as error:
            return FileDownloadResponse(path=path, error=str(error))
        return _describe_download(path, result)

    async def _adownload(self, path: str) -> FileDownloadResponse:
        fault = check_path(path)
        if fault is not None:
            return FileDownloadResponse(path=path, error=fault)
        try:
            result = await self._shell.aexecute(**self._order_download(path))
        except SandboxError as error:
            return FileDownloadResponse(path=path, error=str(error))
        return _describe_download(path, result)


def _place(file_path: str) -> str:
    """Where a file really goes: deepagents would keep long results in the root folder, and tells where they are."""
    return f"/tmp{file_path}" if file_path.startswith(_RESULTS) else file_path  # noqa: S108 - the container's


def _refuse(command: str) -> ExecuteResponse | None:
    """What is told of a command that no container could be given: the agent has worded it, and can word another."""
    if "\0" in command:
        return ExecuteResponse(output="A command cannot hold a NUL character; take it out.", exit_code=126)
    if len(command) > MAX_COMMAND:
        words = f"A command may have {MAX_COMMAND} characters, not {len(command)}; write a script and run it."
        return ExecuteResponse(output=words, exit_code=126)
    return None


def _describe(result: CommandResult) -> ExecuteResponse:
    return ExecuteResponse(output=result.text, exit_code=result.exit_code, truncated=result.truncated)


def _describe_gone(error: SandboxError) -> ExecuteResponse:
    """A container that is gone is for the agent to hear of; one that cannot be had is for whoever set it up.

    Raises:
        SandboxError: In the latter case.
    """
    if isinstance(error, SandboxConfigError | SandboxUnavailableError):
        raise error
    return ExecuteResponse(output=str(error), exit_code=None)


def _describe_download(path: str, result: CommandResult) -> FileDownloadResponse:
    fault = parse_failure(result)
    return FileDownloadResponse(path=path, content=result.output if fault is None else None, error=fault)

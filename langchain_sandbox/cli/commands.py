"""`langchain-sandbox commands`: what a repository offers, and what is wrong with what it cannot offer."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_sandbox.cli.options import add_command, add_workspace, choose_workspace
from langchain_sandbox.cli.terminal import paint, show_name, write_mark
from langchain_sandbox.exits import COMPLETED, FAILED

if TYPE_CHECKING:
    import argparse

    from langchain_sandbox.commands.command import Argument, Command
    from langchain_sandbox.errors import CommandError


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "commands",
        summary="list the commands that a repository offers",
        description="List what `langchain-sandbox run /NAME` can run in a folder, the current one by default: the "
        "repository's own commands, from .opencode/commands, and those that come with the package. The exit code is 1 "
        "if a command's file cannot be used.",
        examples="""
            langchain-sandbox commands
            langchain-sandbox commands --workspace ~/project --json | jq -r '.commands[].name'
        """,
    )
    add_workspace(parser, "the repository (SANDBOX_WORKSPACE)")
    parser.add_argument("--json", action="store_true", help="print them as one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """List them.

    Raises:
        SandboxConfigError: If there is no such folder.
    """
    from langchain_sandbox.commands.folder import load_repository_commands  # noqa: PLC0415 - loads LangChain
    from langchain_sandbox.errors import SandboxConfigError  # noqa: PLC0415 - as above

    root = Path(choose_workspace(options)).expanduser().absolute()
    if not root.is_dir():
        msg = f"{root} is no folder; give the repository whose commands are wanted."
        raise SandboxConfigError(msg)
    commands, faults = load_repository_commands(root)
    if options.json:
        told = {
            "commands": [describe(command) for command in commands.values()],
            "faults": [{"path": fault.path, "line": fault.line, "reason": fault.reason} for fault in faults],
        }
        sys.stdout.write(f"{json.dumps(told)}\n")
    else:
        sys.stdout.write("\n\n".join("\n".join(write(command)) for command in commands.values()) + "\n")
        sys.stdout.flush()
        for fault in faults:
            mark = write_mark("✗", "x", sys.stderr)
            sys.stderr.write(f"{paint(f'{mark} {_describe_fault(fault)}', 'red', sys.stderr)}\n")
    return FAILED if faults else COMPLETED


def describe(command: Command) -> dict[str, Any]:
    """A command as plain data."""
    from dataclasses import asdict  # noqa: PLC0415 - takes longer to load than it takes to run

    return {
        "name": command.name,
        "usage": write_usage(command),
        "description": command.description,
        "arguments": [asdict(argument) for argument in command.arguments],
        "from": find_origin(command),
        "source": command.source,
        "sha256": command.digest,
        "agent": command.agent,
        "changes": command.changes,
        "timeout": command.timeout,
        "output": command.output,
        "shell": list(command.shell),
    }


def write(command: Command) -> list[str]:
    """A command in a few lines: how it is called, what it does, what it may change, what it gives."""
    usage = write_usage(command)
    name, _, rest = usage.partition(" ")
    lines = [f"{paint(show_name(name), 'cyan', sys.stdout)} {show_name(rest)}".rstrip()]
    lines += [f"  {show_name(command.description)}"] if command.description else []
    lines += [f"    {_describe_argument(each)}" for each in command.arguments]
    gives = f"typed answer: {', '.join(_list_properties(command)) or 'JSON'}" if command.output is not None else ""
    seconds = f"up to {command.timeout:g} s" if command.timeout is not None else ""
    origin = find_origin(command)
    where = "comes with the package" if origin == "package" else f"from {command.source}"
    facts = [where, describe_reach(command), gives, seconds]
    return [*lines, paint(f"  {' · '.join(show_name(fact) for fact in facts if fact)}", "grey", sys.stdout)]


def write_usage(command: Command) -> str:
    """How it is called, such as `/deploy TARGET [COUNT]`."""
    names = [each.name.upper() if each.required else f"[{each.name.upper()}]" for each in command.arguments]
    return " ".join([f"/{command.name}", *names])


def find_origin(command: Command) -> str:
    """Whose it is: `repository`, or `package` for those that come with this one."""
    from langchain_sandbox.commands.folder import DEFAULTS  # noqa: PLC0415 - as above

    return "package" if Path(command.source).is_relative_to(DEFAULTS) else "repository"


def describe_reach(command: Command) -> str:
    """What it may do to the folder at most."""
    match command.changes:
        case "discard":
            return "changes nothing"
        case "return" | "review":
            return "may change files, for you to apply"
        case _:
            return "changes nothing" if command.agent == "plan" else "may change files"


def _describe_argument(argument: Argument) -> str:
    choices = f"({', '.join(map(str, argument.enum))})" if argument.enum else ""
    usual = f"[{argument.default}]" if argument.default is not None and argument.default != "" else ""
    words = " ".join(part for part in (argument.description, choices, usual) if part)
    return show_name(f"{argument.name.upper()}  {words}")


def _list_properties(command: Command) -> list[str]:
    properties = (command.output or {}).get("properties")
    return [str(name) for name in properties] if isinstance(properties, dict) else []


def _describe_fault(fault: CommandError) -> str:
    return show_name(str(fault))

"""What the documents link to outside of docs/ becomes part of the site: mkdocs knows that folder only.

`CONTRIBUTING.md` and `CHANGELOG.md` become pages. A linked script becomes a page that shows it. The documents
themselves stay as they are, with links that work wherever the repository is browsed.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File, InclusionLevel

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

_PAGES = ("CONTRIBUTING.md", "CHANGELOG.md")
_SHOWN = {".py": "python", ".json": "json", ".yml": "yaml", ".toml": "toml"}
_LINK = re.compile(r"(\]\()((?!https?:|#)[^)#\s]+)((?:#[^)\s]*)?\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is linked outside of the documents' folder."""
    root = Path(config.config_file_path).parent
    for name in _PAGES:
        files.append(File.generated(config, name, abs_src_path=str(root / name)))
    documents = [file for file in files if file.is_documentation_page()]
    for document in documents:
        for target in _outside(document.src_uri, document.content_string):
            source = root / target
            if files.get_file_from_path(_place(target)) is not None or not source.is_file():
                continue
            if source.suffix in _SHOWN:
                shown = File.generated(
                    config,
                    _place(target),
                    content=_show(source, target),
                    inclusion=InclusionLevel.NOT_IN_NAV,
                )
                files.append(shown)
            else:
                files.append(File.generated(config, target, abs_src_path=str(source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - mkdocs' own
    """Lead links out of the documents' folder to where `on_files` has put their targets."""
    here = page.file.src_uri

    def lead(match: re.Match[str]) -> str:
        target = _resolve(here, match[2])
        if target is None:
            return match[0]
        return f"{match[1]}{posixpath.relpath(_place(target), posixpath.dirname(here) or '.')}{match[3]}"

    return _LINK.sub(lead, markdown)


def _outside(here: str, text: str) -> list[str]:
    """What a document links to outside of docs/, from the repository's top."""
    found = (_resolve(here, match[2]) for match in _LINK.finditer(text))
    return sorted({target for target in found if target is not None})


def _resolve(here: str, link: str) -> str | None:
    """A link's target from the repository's top, or `None` where it stays inside of docs/."""
    # The two pages from the top are shown as if they lay in docs/, and link from where they really are.
    base = "" if here in _PAGES else posixpath.join("docs", posixpath.dirname(here))
    target = posixpath.normpath(posixpath.join(base, link))
    if target.startswith("docs/"):
        return target.removeprefix("docs/") if here in _PAGES else None
    return target


def _place(target: str) -> str:
    """Where in the site something from outside is."""
    return f"{target}.md" if Path(target).suffix in _SHOWN else target


def _show(source: Path, name: str) -> str:
    text = source.read_text(encoding="utf-8")
    return f"# {posixpath.basename(name)}\n\n`{name}`\n\n````{_SHOWN[source.suffix]}\n{text}\n````\n"

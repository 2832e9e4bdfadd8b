"""What `make docs` adds to MkDocs: pages keep their places in the repository, so that its links hold on the site too.

README and CHANGELOG stand outside of `docs`, and pages link to recipes and code. MkDocs knows the files of one folder,
so it is told of all of them here, by their paths from the root. A recipe or code that a page links to becomes a page
that shows it. What else a link names is no file of the site, and `--strict` refuses it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "CHANGELOG.md", "docs/**/*.md")
COPIED = ("docs/site.css", "docs/**/*.png", "docs/**/*.webp", "docs/**/*.svg")
SHOWN = {".toml": "toml", ".py": "python", ".sh": "bash", ".yml": "yaml"}


class Shown(File):
    """A page made of a file that is not Markdown: its path as the heading, and what it holds."""

    def is_documentation_page(self) -> bool:
        """Yes, whatever its suffix says."""
        return True

    @property
    def content_string(self) -> str:
        """The page in Markdown."""
        path = ROOT / self.src_uri
        return f"# {self.src_uri}\n\n````{SHOWN[path.suffix]}\n{path.read_text()}````\n"


def on_config(config: MkDocsConfig) -> None:
    """Put in the files that a pattern of the navigation stands for."""
    config.nav = list(_expanded(config.nav or []))


def _expanded(entries: list[Any]) -> Iterator[Any]:
    """`docs/hooks/*.md` becomes the pages by name, README first."""
    for entry in entries:
        if isinstance(entry, dict):
            yield {title: list(_expanded(of)) if isinstance(of, list) else of for title, of in entry.items()}
        elif "*" in entry:
            paths = sorted(ROOT.glob(entry), key=lambda path: (path.stem != "README", path.name))
            yield from ({_title(path): _uri(path)} for path in paths)
        else:
            yield entry


def _title(path: Path) -> str:
    """The page's heading, of `name(...)` the name alone; for a file without headings its own name."""
    heading = path.read_text().splitlines()[0]
    return heading.removeprefix("# ").strip("`").partition("(")[0] if path.suffix == ".md" else path.name


def _uri(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The files of the theme, and ours by their paths from the root."""
    kept = [file for file in files if file.src_dir != config.docs_dir]
    pages = [path for pattern in PAGES for path in ROOT.glob(pattern)]
    copied = [path for pattern in COPIED for path in ROOT.glob(pattern)]
    shown = {path for page in pages for path in _linked(page) if path.suffix in SHOWN and path.is_file()}
    shown |= {ROOT / uri for uri in _leaves(config.nav or []) if Path(uri).suffix in SHOWN}
    ours = [_file(File, path, config) for path in pages + copied] + [
        _file(Shown, path, config) for path in sorted(shown)
    ]
    return Files([*kept, *ours])


def _linked(page: Path) -> Iterator[Path]:
    """Every path in the repository that the page links to, whether it is there or not."""
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        path = (page.parent / target).resolve()
        if "://" not in target and path.is_relative_to(ROOT):
            yield path


def _leaves(entries: list[Any]) -> Iterator[str]:
    for entry in entries:
        for each in entry.values() if isinstance(entry, dict) else [entry]:
            yield from _leaves(each) if isinstance(each, list) else [each]


def _file(kind: type[File], path: Path, config: MkDocsConfig) -> File:
    """Addresses do without `docs/`. That of a shown file has its suffix: `digits.py` may stand beside `digits.md`."""
    file = kind(_uri(path), str(ROOT), config.site_dir, use_directory_urls=True)
    file.dest_uri = (f"{file.src_uri}/index.html" if kind is Shown else file.dest_uri).removeprefix("docs/")
    return file

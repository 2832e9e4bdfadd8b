"""`make docs`: the pages of the repository as a site, and what makes it fail."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from pages import PAGES, ROOT

CODE = ("benchmarks", "engine", "plugins", "tests")
PARTS = ("mkdocs.yml", "*.md", "docs/**/*.*", "recipes/*.toml", *(f"{of}/**/*.py" for of in CODE))


def copied(folder: Path) -> Path:
    """A copy of all that the site is made of, and of the code that a page may link to."""
    for path in [path for part in PARTS for path in ROOT.glob(part) if path.is_file()]:
        place = folder / path.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    return folder


def build(repository: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    return subprocess.run(words, cwd=repository, capture_output=True, text=True, check=False)


def elements(page: str) -> Counter[str]:
    """How often a page has each element; what colours code does not count."""
    plain = re.sub("<pre>.*?</pre>", "<pre>", page, flags=re.DOTALL)
    return Counter(re.findall(r"<(h\d|p|ul|ol|li|table|tr|td|pre|img|em|strong)\b", plain))


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The copy with a page and some links more, and what was built of it."""
    folder = copied(tmp_path_factory.mktemp("repository"))
    with (folder / "docs" / "data.md").open("a") as page:
        page.write("\n[a](../recipes/sgbm.toml), [b](../README.md#a-recipe), [c](../engine/hookspecs.py)\n")
    (folder / "docs" / "examples" / "new.md").write_text("# A new example\n")
    done = build(folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_links_that_hold_in_the_repository_hold_on_the_site(repository: Path) -> None:
    site = repository / "build" / "site"
    page = (site / "data" / "index.html").read_text()
    for address in ("../recipes/sgbm.toml/", "../#a-recipe", "../engine/hookspecs.py/"):
        assert f'href="{address}"' in page
    assert "sgbm" in (site / "recipes" / "sgbm.toml" / "index.html").read_text()
    assert "engine_models" in (site / "engine" / "hookspecs.py" / "index.html").read_text()
    assert ">A new example<" in (site / "examples" / "new" / "index.html").read_text()
    assert 'src="pictures/scenes.png"' in (site / "index.html").read_text()
    assert (site / "pictures" / "scenes.png").is_file()


def test_no_page_asks_another_host(repository: Path) -> None:
    pages = {path: path.read_text() for path in (repository / "build" / "site").rglob("*.html")}
    assert [path for path, page in pages.items() if re.search(r'(src="|<link [^>]*href=")(https?:)?//', page)] == []
    assert len(pages) > len(PAGES)


def test_a_page_has_the_same_parts_on_the_site_as_in_the_repository(repository: Path) -> None:
    """The two read Markdown by rules of their own: a list without a line above it is one to the one alone."""
    reads = MarkdownIt("commonmark").enable("table")
    for page in [repository / page.relative_to(ROOT) for page in [*PAGES, ROOT / "CHANGELOG.md"]]:
        path = Path(page.relative_to(repository).as_posix().removeprefix("docs/"))
        folder = path.parent if path.stem == "README" else path.with_suffix("")
        shown = (repository / "build" / "site" / folder / "index.html").read_text()
        article = re.search(r"<article.*?>(.*)</article>", shown, re.DOTALL)[1]
        assert elements(article) == elements(reads.render(page.read_text())), page


def test_a_broken_link_a_broken_anchor_and_a_page_that_nothing_leads_to_are_refused(tmp_path: Path) -> None:
    repository = copied(tmp_path)
    with (repository / "docs" / "data.md").open("a") as page:
        page.write("\n[a](../recipes/gone.toml), [b](recipe.md#gone), [c](gone.md)\n")
    (repository / "docs" / "lost.md").write_text("# Lost\n")

    done = build(repository)

    assert done.returncode == 1
    for words in ("'recipes/gone.toml' is not found", "anchor '#gone'", "'docs/gone.md' is not found", "docs/lost.md"):
        assert words in done.stderr

"""`make docs`: the pages of the repository as a site, and what makes it fail."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("mkdocs.yml", "README.md", "CHANGELOG.md", "docs", "recipes", "engine/hookspecs.py")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A copy of all that the site is made of."""
    for part in PARTS:
        (tmp_path / part).parent.mkdir(exist_ok=True)
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, tmp_path / part)
    return tmp_path


def build(repository: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    return subprocess.run(words, cwd=repository, capture_output=True, text=True, check=False)


def test_links_that_hold_in_the_repository_hold_on_the_site(repository: Path) -> None:
    with (repository / "docs" / "data.md").open("a") as page:
        page.write("\n[a](../recipes/sgbm.toml), [b](../README.md#a-recipe), [c](../engine/hookspecs.py)\n")
    (repository / "docs" / "examples" / "new.md").write_text("# A new example\n")

    done = build(repository)

    assert done.returncode == 0, done.stderr
    site = repository / "build" / "site"
    page = (site / "data" / "index.html").read_text()
    for address in ("../recipes/sgbm.toml/", "../#a-recipe", "../engine/hookspecs.py/"):
        assert f'href="{address}"' in page
    assert "sgbm" in (site / "recipes" / "sgbm.toml" / "index.html").read_text()
    assert "engine_models" in (site / "engine" / "hookspecs.py" / "index.html").read_text()
    assert ">A new example<" in (site / "examples" / "new" / "index.html").read_text()
    assert 'src="pictures/scenes.png"' in (site / "index.html").read_text()
    assert (site / "pictures" / "scenes.png").is_file()
    pages = {path: path.read_text() for path in site.rglob("*.html")}
    assert [path for path, page in pages.items() if re.search(r'(src="|<link [^>]*href=")(https?:)?//', page)] == []


def test_a_broken_link_a_broken_anchor_and_a_page_that_nothing_leads_to_are_refused(repository: Path) -> None:
    with (repository / "docs" / "data.md").open("a") as page:
        page.write("\n[a](../recipes/gone.toml), [b](recipe.md#gone), [c](gone.md)\n")
    (repository / "docs" / "lost.md").write_text("# Lost\n")

    done = build(repository)

    assert done.returncode == 1
    for words in ("'recipes/gone.toml' is not found", "anchor '#gone'", "'docs/gone.md' is not found", "docs/lost.md"):
        assert words in done.stderr

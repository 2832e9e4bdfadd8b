"""Where measured tables stand in the pages of docs/."""

from __future__ import annotations


def replaced(page: str, name: str, text: str) -> str:
    """The page with what stands between its marks "NAME: begin" and "NAME: end" replaced; SystemExit without them."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise SystemExit(f"the page has no marks {begin} and {end}")
    return f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}"

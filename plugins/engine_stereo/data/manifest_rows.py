"""The rows of a manifest as keys and values, each with its place: CSV, JSONL and TOML say the same thing."""

from __future__ import annotations

import csv
import json
import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import InputError, Problem, WorldError, nearest


@dataclass(frozen=True)
class Row:
    """cells: what was said, by key; nested tables are keys with dots. where: the place of a key, or of the row.

    defaults: keys that were said for all rows at once.
    """

    cells: Mapping[str, Any]
    where: Callable[[str | None], str]
    defaults: Collection[str] = ()


def read_rows(file: Path, problems: list[Problem]) -> list[Row]:
    """The rows of a manifest; what is wrong with its form is added to `problems`.

    InputError for a file that is none of the three, WorldError for one that is not there.
    """
    readers = {".csv": _csv, ".jsonl": _jsonl, ".toml": _toml}
    if file.suffix not in readers:
        raise InputError(Problem(str(file), "a manifest is told by its suffix", "one of .csv, .jsonl, .toml"))
    try:
        text = file.read_text(encoding="utf-8-sig")  # spreadsheets put a mark at the beginning
    except UnicodeDecodeError as error:
        raise InputError(Problem(str(file), f"it is not UTF-8 text ({error.reason} at byte {error.start})")) from error
    except OSError as error:
        names = [each.name for each in file.parent.iterdir()] if file.parent.is_dir() else []
        near = "".join(f". Did you mean {name!r}?" for name in nearest(file.name, names, 1))
        raise WorldError(f"the manifest {file}: {error.strerror}{near}") from error
    return list(readers[file.suffix](file, text, problems))


def _csv(file: Path, text: str, problems: list[Problem]) -> Iterator[Row]:
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    header: list[str] = []
    try:
        for cells in reader:
            line = f"{file}:{reader.line_num}"
            if not any(cell.strip() for cell in cells):
                continue
            if not header:
                header = [cell.strip() for cell in cells]
                problems += _wrong_header(line, header)
                continue
            if len(cells) != len(header):
                what = f"this row has {len(cells)} cells"
                problems.append(Problem(line, what, f"{len(header)} as the first line names columns"))
                continue
            given = {name: cell.strip() for name, cell in zip(header, cells, strict=True) if cell.strip()}
            yield Row(given, _in_csv(line, given))
    except csv.Error as error:
        problems.append(Problem(f"{file}:{reader.line_num}", f"this is no CSV: {error}"))


def _in_csv(line: str, given: Collection[str]) -> Callable[[str | None], str]:
    return lambda key: f"{line}, column {key!r}" if key in given else line


def _wrong_header(line: str, header: list[str]) -> Iterator[Problem]:
    if len(header) == 1 and re.search(r"[;\t]", header[0]):
        yield Problem(line, "the columns are not separated by commas", "left,right,disparity")
        return
    for name in sorted({name for name in header if header.count(name) > 1}):
        yield Problem(line, f"two columns are named {name!r}", "each name once")


def _jsonl(file: Path, text: str, problems: list[Problem]) -> Iterator[Row]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        place = f"{file}:{number}"
        try:
            said = json.loads(line)
        except (ValueError, RecursionError) as error:
            problems.append(Problem(place, f"this is no JSON: {error}", 'an object such as {"left": "l.png"}'))
            continue
        if not isinstance(said, dict):
            problems.append(Problem(place, "this is no JSON object", 'an object such as {"left": "l.png"}'))
            continue
        yield Row(_flat(said), lambda key, place=place: f"{place}, key {key!r}" if key else place)


def _toml(file: Path, text: str, problems: list[Problem]) -> Iterator[Row]:
    try:
        said = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        line = re.search(r"at line (\d+)", str(error))
        problems.append(Problem(f"{file}:{line[1]}" if line else str(file), f"this is no TOML: {error}"))
        return
    frames = said.pop("frame", [{}])
    if not isinstance(frames, list) or not all(isinstance(frame, dict) for frame in frames):
        problems.append(Problem(_line(file, text, None, "frame"), "'frame' is no array of tables", "[[frame]]"))
        return
    for index, frame in enumerate(frames):
        place = index if frame else None
        top, own = _flat(said), _flat(frame)
        defaults = top.keys() - own.keys() if frame else ()
        yield Row(top | own, lambda key, place=place: _line(file, text, place, key), defaults)


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as keys with dots, so that `mask = { glass = "g.png" }` and the column `mask.glass` are one."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _line(file: Path, text: str, frame: int | None, key: str | None) -> str:
    """The line of a key in its [[frame]], else at the top, else of the frame."""
    lines = text.splitlines()
    headers = [number for number, line in enumerate(lines) if re.match(r"\s*\[\[\s*frame\s*\]\]", line)]
    first = headers[frame] if frame is not None and frame < len(headers) else 0
    last = next((number for number in headers if number > first), len(lines))
    top = range(headers[0] if headers else len(lines))
    for part in (key, key.split(".")[0]) if key else ():
        said = re.compile(rf"\s*\[?[\"']?{re.escape(part)}[\"']?\s*[.=\]]")
        for number in (*range(first, last), *top):
            if said.match(lines[number]):
                return f"{file}:{number + 1}"
    return f"{file}:{first + 1}"

"""Every key stands where a reader would find it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.recipe.positions import positions


def test_keys_of_every_form_are_found() -> None:
    text = """\
a = 1
x.y."z q" = { k = 1, m.n = [1,
 2] }
[model]   # comment
  plugin = "x"
[[stage]]
name = "é"
[[stage.gate]]
check = [{ a = 1 }, { b = 2 }]
[[stage]]
[stage.schedule]
warmup = 0
"""
    found = positions(text)

    assert found[()] == (1, 1)
    assert found["a",] == (1, 1)
    assert found["x", "y", "z q"] == (2, 5)
    assert found["x", "y", "z q", "m", "n"] == (2, 24)
    assert found["x", "y", "z q", "m", "n", 1] == (3, 2)
    assert found["model",] == (4, 1)
    assert found["model", "plugin"] == (5, 3)
    assert found["stage", 0, "gate", 0, "check", 1, "b"] == (9, 23)
    assert found["stage", 1] == (10, 1)
    assert found["stage", 1, "schedule", "warmup"] == (12, 1)


def test_columns_count_characters_and_not_bytes() -> None:
    assert positions('a = ["größe", "x"]')["a", 1] == (1, 15)


def test_lines_may_end_as_on_windows() -> None:
    assert positions("a = 1\r\n[b]\r\nc = 2\r\n")["b", "c"] == (3, 1)


def test_a_key_with_escapes_is_found_by_what_it_means() -> None:
    assert positions('"\\u00e9" = 1')["é",] == (1, 1)


WORDS = st.from_regex(r"[a-z]{1,6}", fullmatch=True)
SCALARS = st.sampled_from(["1", "-2.5", "true", '"text"', "'[no] table = 1'", "1979-05-27", '"""\nlong\n"""'])
TABLES = st.dictionaries(WORDS, SCALARS, max_size=4)


@settings(max_examples=60)
@given(st.dictionaries(WORDS, st.one_of(TABLES, st.lists(TABLES, min_size=1, max_size=3)), max_size=4), st.data())
def test_keys_of_generated_documents_are_found_where_they_were_written(document, data) -> None:
    lines: list[str] = []
    expected = {}

    def write(text: str) -> tuple[int, int]:
        lines.extend(["# comment"] * data.draw(st.integers(0, 2)))
        indent = data.draw(st.integers(0, 3))
        lines.extend((" " * indent + text).split("\n"))
        return len(lines) - text.count("\n"), indent + 1

    for name, value in document.items():
        for index, table in enumerate(value if isinstance(value, list) else [value]):
            path = (name, index) if isinstance(value, list) else (name,)
            expected[path] = write(f"[[{name}]]" if isinstance(value, list) else f"[{name}]")
            for key, scalar in table.items():
                expected[*path, key] = write(f"{key} = {scalar}")

    found = positions("\n".join(lines) + "\n")

    assert {path: found[path] for path in expected} == expected

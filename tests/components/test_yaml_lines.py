from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.yaml_lines import MAX_VALUES, Document, path, read_yaml
from nas_core.errors import InputError


def value(text: str) -> Any:
    return read_yaml(text, "spec.yaml").value


def refusal(text: str) -> str:
    with pytest.raises(InputError) as caught:
        read_yaml(text, "spec.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("scalar", "expected"),
    [
        ("12", 12),
        ("-3", -3),
        ("010", 10),
        ("1e-4", 1e-4),
        ("1E5", 1e5),
        (".5", 0.5),
        ("2.", 2.0),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("off", "off"),
        ("2026-01-01", "2026-01-01"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ('"1"', "1"),
        ("'true'", "true"),
        ("|\n  1\n", "1\n"),
        ('">50K"', ">50K"),
    ],
)
def test_scalars_are_read_by_the_rules_of_yaml_1_2(scalar: str, expected: object) -> None:
    found = value(f"key: {scalar}")
    assert found == {"key": expected}
    assert type(found["key"]) is type(expected)  # True == 1


def test_lists_and_mappings_of_both_styles_are_read() -> None:
    assert value("a: [1, {b: 2}]\nc:\n  - d\n  - e: f\n") == {"a": [1, {"b": 2}], "c": ["d", {"e": "f"}]}


def test_an_empty_text_is_none() -> None:
    assert value("# nothing\n") is None


def test_a_byte_order_mark_and_a_version_are_no_content() -> None:
    assert value("\ufeffa: 1") == {"a": 1}
    assert value("%YAML 1.2\n---\na: 1\n...\n") == {"a": 1}


def test_lines_are_those_of_the_keys_and_list_entries() -> None:
    document = read_yaml("# one\na:\n  b:\n    - x\n    -\n      c: 1\nd: >\n  text\n", "spec.yaml")
    lines = {path(location): line for location, line in document.lines.items()}
    assert lines == {"": 1, "a": 2, "a.b": 3, "a.b[0]": 4, "a.b[1]": 6, "a.b[1].c": 6, "d": 7}


def test_what_is_not_in_the_text_has_the_line_of_what_is_around_it() -> None:
    document = Document({"a": {"b": 1}}, {(): 1, ("a",): 2, ("a", "b"): 3})
    assert document.line(("a", "c", 0)) == 2
    assert document.line(("z",)) == 1


def test_a_location_is_written_as_people_write_it() -> None:
    assert path(("search", "objectives", 0, "limit")) == "search.objectives[0].limit"
    assert path(("a b", "c\n")) == "'a b'.'c\\n'"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: !!python/object/apply:os.system [ls]", "spec.yaml:2: b: tags are not supported, got '!!python/obj"),
        ("a: !!str 1", "spec.yaml:1: a: tags are not supported, got '!!str'"),
        ("a: ! 1", "spec.yaml:1: a: tags are not supported, got '!'"),
        ("!!map {a: 1}", "spec.yaml:1: tags are not supported"),
        ("a: &x 1\nb: *x", "spec.yaml:1: a: anchors and aliases are not supported, got &x"),
        ("a: 1\nb: *x", "spec.yaml:2: b: anchors and aliases are not supported, got *x"),
        ("&x a: 1", "spec.yaml:1: anchors and aliases are not supported, got &x"),
        ("a: 1\nb:\n  c: 2\na: 3", "spec.yaml:4: a: this key is in line 1 already"),
        ("{a: {b: 1, b: 2}}", "spec.yaml:1: a.b: this key is in line 1 already"),
        ("a: 1\n1: 2", "spec.yaml:2: a key that is not text"),
        ("true: 2", "spec.yaml:1: a key that is not text"),
        ("? [a]\n: 2", "spec.yaml:1: a key that is not text"),
        ("a: 1\n---\nb: 2", "spec.yaml:3: a second document begins here"),
        ("\na: " + "[" * 60 + "]" * 60, "spec.yaml:2: a[0][0]: nested deeper than 50 levels"),
        (f"a: [{'1,' * MAX_VALUES}]", f"spec.yaml:1: more than {MAX_VALUES} values"),
        ("a: " + "9" * 5000, "spec.yaml:1: a: the number 9999"),
        ("a: 1e999", "spec.yaml:1: a: the number 1e999"),
        ('a: "\\ud800"', "spec.yaml:1: a: '\\ud800' holds an escape that is not text"),
        ('a: "\\0"', "spec.yaml:1: a: '\\x00' holds an escape that is not text"),
        ('a: 1\nb: "\\UFFFFFFFF"', "spec.yaml:2: not valid YAML"),
        (f"%YAML 1.{'9' * 5000}\n---\na: 1", "spec.yaml:1: not valid YAML"),
        ("a: 1\nb: \0", "spec.yaml:2: the character '\\x00' is not text"),
        ("a: 1\nb: >50K", "spec.yaml:2: not valid YAML, expected chomping"),
        ("a:\n\tb: 1", "spec.yaml:2: not valid YAML, found character '\\t'"),
        ("a: [1, 2", "spec.yaml:1: not valid YAML"),
        ("a: b: c", "spec.yaml:1: not valid YAML, mapping values are not allowed here"),
    ],
)
def test_what_a_spec_does_not_need_is_refused_with_its_line(text: str, expected: str) -> None:
    assert refusal(text).startswith(expected)


def test_an_alias_bomb_is_refused_at_its_first_anchor() -> None:
    bomb = "a: &a [x]\n" + "".join(
        f"{b}: &{b} [{', '.join(f'*{a}' for _ in range(9))}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert "got &a" in refusal(bomb)


def test_a_refusal_is_short_whatever_was_given() -> None:
    for text in (f"{'k' * 100_000}: &a 1", f"a: &{'x' * 100_000} 1", f"a: !{'t' * 100_000} 1", f'a: "{"x" * 9999}\\0"'):
        assert len(refusal(text)) < 300


@pytest.mark.parametrize("unit", ["[", "{a: ", "- ", "a: &a ", "1, ", "\n", "x\n", "# c\n", "a:\n ", "'", "\\"])
def test_a_megabyte_of_anything_is_answered_in_seconds(unit: str) -> None:
    text = (unit * (2**20 // len(unit)))[: 2**20]
    start = time.process_time()
    with contextlib.suppress(InputError):
        read_yaml(text, "spec.yaml")
    assert time.process_time() - start < 10


@given(st.text(max_size=60) | st.text("abc:-[]{}\"'\\#&*!|>%@ \n\t0189.eU", max_size=60))
def test_any_text_is_a_document_or_an_input_error(text: str) -> None:
    with contextlib.suppress(InputError):
        read_yaml(text, "spec.yaml")


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" ")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcxyz_-", min_size=1), inner, max_size=3),
    max_leaves=8,
)


@given(plain)
def test_json_is_read_as_what_it_says(tree: object) -> None:
    assert value(json.dumps(tree, ensure_ascii=False)) == tree

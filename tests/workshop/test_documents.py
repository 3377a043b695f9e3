"""The documents are true: links lead somewhere, examples run, commands exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from components.spec_file import parse_spec
from pipelines.cli import app

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("k8s/*.md")])


def named(path: Path) -> str:
    """The path as a reader sees it, for the test's id."""
    return path.relative_to(ROOT).as_posix()


def blocks(document: str, language: str) -> list[str]:
    """The fenced blocks of a document in one language."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_links_within_the_repository_lead_to_a_file(document: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_files_that_are_named_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    paths = re.findall(r"`((?:nas_core|components|pipelines|tests|docs|k8s|examples)/[\w./-]*)`", text)
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_spec_of_the_readme_is_valid() -> None:
    (spec,) = blocks("README.md", "yaml")
    assert parse_spec(spec, "README.md").search.space.kind == "chain"


@pytest.mark.parametrize("document", ["README.md", "k8s/README.md"])
def test_commands_that_are_shown_exist(document: str) -> None:
    commands: Any = get_command(app)
    text = (ROOT / document).read_text(encoding="utf-8")
    shown = set(re.findall(r"`evernas ([a-z]+)", text))
    shown |= {
        name for block in blocks(document, "sh") for name in re.findall(r"^evernas ([a-z]+)", block, re.MULTILINE)
    }
    assert shown
    assert shown <= set(commands.commands)


def test_every_command_is_in_the_readme() -> None:
    commands: Any = get_command(app)
    listed = set(re.findall(r"^\| `evernas ([a-z]+)", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert listed == set(commands.commands)

from __future__ import annotations

import json
import platform
import subprocess
import sys
from importlib.metadata import version

import pytest

from components import provenance
from components.provenance import environment


def test_it_names_the_versions_that_decide_results() -> None:
    found = environment()
    assert found["python"] == platform.python_version()
    for package in ("evernas", "torch", "ray", "scikit-learn"):
        assert found[package] == version(package)


def test_the_container_is_named_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERNAS_IMAGE", "registry.example/evernas@sha256:ab")
    assert environment()["image"] == "registry.example/evernas@sha256:ab"
    monkeypatch.delenv("EVERNAS_IMAGE")
    assert environment()["image"] == ""


def test_a_package_that_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "PACKAGES", ("torch", "no-such-package"))
    assert "no-such-package" not in environment()


def test_it_is_json_and_loads_none_of_the_packages() -> None:
    code = (
        "import json, sys; from components.provenance import environment; json.dumps(environment())\n"
        "print(json.dumps(sorted({'torch', 'ray', 'mlflow', 'kfp'} & set(sys.modules))))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert json.loads(told) == []

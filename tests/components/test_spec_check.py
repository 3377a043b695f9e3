from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from components.spec_file import check_file, check_spec, parse_spec
from nas_core.errors import InputError

TABLE = "age,sex,grade,income,part\n" + "".join(
    f"{20 + i},{'fm'[i % 2]},{'abc'[i % 3]},{'no' if i % 3 else 'yes'},{i % 5}\n" for i in range(60)
)
GOOD = """\
name: small
task:
  kind: tabular
  source: {kind: csv, path: people.csv}
  target: income
  positive: "yes"
  drop: []
  sensitive: [sex, age]
  split: {test: {column: part, value: "0"}}
search:
  space: {kind: chain, widths: [8, 16]}
  strategy: {kind: regularized-evolution, population: 4}
  estimator: {kind: training, epochs: 1}
  objectives: [{metric: accuracy, goal: max}]
  budget: {trials: 2}
retrain: {options: {epochs: 2}}
fairness: {bins: [{column: age, edges: [30]}]}
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "people.csv").write_text(TABLE, encoding="utf-8")
    return tmp_path


def refusal(base: Path, text: str) -> str:
    file = base / "spec.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        check_file(file)
    return str(caught.value).removeprefix(f"{file}:")


def test_a_good_spec_passes(base: Path) -> None:
    (base / "spec.yaml").write_text(GOOD, encoding="utf-8")
    spec, text = check_file(base / "spec.yaml")
    check_spec(spec, base)
    assert spec.name == "small"
    assert text == GOOD


def test_other_data_takes_the_place_of_the_spec_s_own(base: Path) -> None:
    (base / "spec.yaml").write_text(GOOD, encoding="utf-8")
    (base / "people.csv").rename(base / "others.csv")
    spec, text = check_file(base / "spec.yaml", base / "others.csv")
    assert spec.task.source.path == str(base / "others.csv")  # type: ignore[union-attr]
    assert parse_spec(text, "recorded") == spec


def test_other_data_needs_a_source_with_a_path(base: Path) -> None:
    builtin = GOOD.replace("{kind: csv, path: people.csv}", "{kind: builtin, name: adult}")
    (base / "spec.yaml").write_text(builtin, encoding="utf-8")
    with pytest.raises(InputError, match=r"^--data: the spec's source is 'adult', which has no path"):
        check_file(base / "spec.yaml", base / "people.csv")


def test_errors_about_other_data_have_the_line_of_the_source(base: Path) -> None:
    (base / "spec.yaml").write_text(GOOD, encoding="utf-8")
    with pytest.raises(InputError, match=r"spec\.yaml:4: task\.source\.path: .*gone\.csv does not exist"):
        check_file(base / "spec.yaml", base / "gone.csv")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        # options, by the signatures of the factories
        ("widths", "width", "11: search.space.width: unknown key 'width', expected one of activations, "),
        ("[8, 16]", "8", "11: search.space.widths: must be a list, got 8; write [8]"),
        ("population: 4", "population: x", '12: search.strategy.population: must be a whole number, got "x"'),
        (
            "training, epochs: 1",
            "training, epochs: 1.5",
            "13: search.estimator.epochs: must be a whole number, got 1.5",
        ),
        ("{epochs: 2}", "{epoch: 2}", "16: retrain.options.epoch: unknown key 'epoch', expected one of batch_"),
        # options, by the factories themselves
        ("[8, 16]", "[0]", "11: search.space.widths: must be"),
        ("population: 4", "population: 0", "12: search.strategy.population: must be >= 1, got 0"),
        ("training, epochs: 1", "training, epochs: 0", "13: search.estimator.epochs: must be >= 1, got 0"),
        ("{epochs: 2}", "{epochs: 0}", "16: retrain.options.epochs: must be >= 1, got 0"),
        # the data
        ("people.csv", "poeple.csv", "4: task.source.path: "),
        ("kind: csv", "kind: parquet", "4: task.source.path: "),
        ("target: income", "target: incom", "5: task.target: unknown name 'incom', expected one of age"),
        ('positive: "yes"', "positive: maybe", "6: task.positive: unknown name 'maybe', expected one of no, yes"),
        ("drop: []", "drop: [fnlwgt]", "7: task.drop[0]: unknown name 'fnlwgt', expected one of age, grade"),
        (
            "sensitive: [sex, age]",
            "sensitive: [age, race]",
            "8: task.sensitive[1]: unknown name 'race', expected one of age",
        ),
        ("column: part", "column: parts", "9: task.split.test.column: unknown name 'parts', expected one of age"),
        ('value: "0"', 'value: "7"', "9: task.split.test.value: unknown name '7', expected one of 0, 1, 2, 3, 4"),
        ("column: age", "column: sex", "17: fairness.bins[0].column: 'sex' is not numeric, its values"),
        (
            'income\n  positive: "yes"',
            "grade",
            "16: fairness.metric: equalized_odds needs a favourable class, and of 3",
        ),
        ("fairness:", "drift: {source: {kind: csv, path: gone.csv}}\nfairness:", "17: drift.source.path: "),
    ],
)
def test_what_does_not_fit_this_machine_is_told_with_its_line(base: Path, old: str, new: str, expected: str) -> None:
    assert GOOD.count(old) == 1
    assert refusal(base, GOOD.replace(old, new)).startswith(expected)


def test_auroc_of_more_than_two_classes_is_refused(base: Path) -> None:
    text = GOOD.replace('income\n  positive: "yes"', "grade").replace("accuracy", "auroc")
    assert "search.objectives[0].metric: auroc needs two classes, got 3; choose" in refusal(base, text)


def test_parts_and_data_are_checked_in_one_go(base: Path) -> None:
    text = GOOD.replace("[8, 16]", "[0]").replace("sensitive: [sex", "sensitive: [sxe")
    found = refusal(base, text).splitlines()
    assert [line.split(":")[1].strip() for line in found] == ["task.sensitive[0]", "search.space.widths"]


def test_an_option_of_the_estimator_is_not_told_twice(base: Path) -> None:
    assert len(refusal(base, GOOD.replace("training, epochs: 1", "training, epoch: 1")).splitlines()) == 1


def test_a_spec_without_its_text_is_told_by_location(base: Path) -> None:
    spec = parse_spec(GOOD.replace("population: 4", "population: 0"), "spec.yaml")
    with pytest.raises(InputError, match=r"^search\.strategy\.population: must be >= 1, got 0"):
        check_spec(spec, base)


def test_of_a_wide_table_the_closest_columns_are_told(base: Path) -> None:
    names = [f"column_{i}" for i in range(500)]
    (base / "people.csv").write_text(
        f"income,{','.join(names)}\n" + f"yes{',1' * 500}\nno{',2' * 500}\n", encoding="utf-8"
    )
    text = GOOD.replace("[sex, age]", "[column-77]").replace("column: age", "column: column-77")
    message = refusal(base, text.replace('  split: {test: {column: part, value: "0"}}\n', ""))
    assert "did you mean 'column_77'?" in message
    assert len(message) < 600


MEDIA = """\
name: small
task:
  kind: image
  source: {kind: npz, path: images.npz}
  target: y
  sensitive: []
search:
  space: {kind: macro}
  objectives: [{metric: accuracy, goal: max}]
  budget: {trials: 2}
fairness: {metric: accuracy}
"""


@pytest.fixture
def images(base: Path) -> Path:
    """A table of images as small as the space takes them, and one of texts."""
    np.savez(base / "images.npz", x=np.zeros((4, 8, 8), np.uint8), y=[0, 1, 0, 1])
    np.savez(base / "tiny.npz", x=np.zeros((4, 4, 4), np.uint8), y=[0, 1, 0, 1])
    (base / "texts.txt").write_text("0 What is it?\n1 Who is it?\n", encoding="utf-8")
    return base


def wave_of(path: Path) -> str:
    waves = np.random.default_rng(0).integers(-9000, 9000, 32000, np.int16)
    np.savez(path, wave=waves, offsets=[0, 8000, 16000, 24000, 32000], label=[0, 1, 0, 1])
    return path.name


def test_a_spec_for_images_passes(images: Path) -> None:
    (images / "spec.yaml").write_text(MEDIA, encoding="utf-8")
    assert check_file(images / "spec.yaml")[0].task.kind == "image"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("target: y", "target: y\n  column: photo", "6: task.column: unknown name 'photo', expected one of image, y"),
        ("target: y", "target: y\n  column: y", "6: task.column: 'y' is the target; name the column"),
        ("sensitive: []", "sensitive: [image]", "6: task.sensitive[0]: 'image' holds the image itself and has no"),
        ("target: y", "target: y\n  drop: [y]", "6: task.drop: unknown key 'drop', expected one of channels, column"),
        ("target: y", "target: y\n  size: 4", "9: search.space.macro: needs one float32 input of shape (channels"),
        ("images.npz", "tiny.npz", "8: search.space.macro: needs one float32 input of shape (channels"),
        ("{kind: macro}", "{kind: chain}", "8: search.space.chain: "),
        (
            "kind: image",
            "kind: audio\n  column: image",
            "4: task.column: the first value of 'image': no WAV file of PCM",
        ),
        ("kind: image", "kind: text\n  column: image", "4: task.column: the first value of 'image': expected text"),
        (
            "{kind: npz, path: images.npz}",
            "{kind: lines, path: texts.txt}",
            "2: task.column: unknown name 'image', expected one of file, label, text",
        ),
    ],
)
def test_what_does_not_fit_images_is_told_with_its_line(images: Path, old: str, new: str, expected: str) -> None:
    assert MEDIA.count(old) == 1
    found = refusal(images, MEDIA.replace(old, new)).splitlines()
    assert any(line.removeprefix("  also line ").startswith(expected) for line in found), found


def test_a_space_for_another_sample_rate_than_the_task_s_is_refused(images: Path) -> None:
    files = wave_of(images / "clips.npz")
    text = (
        MEDIA.replace("images.npz", files).replace("target: y", "target: label").replace("kind: image", "kind: audio")
    )
    text = text.replace("{kind: macro}", "{kind: audio-chain, sample_rate: 16000}")
    assert refusal(images, text) == (
        "8: search.space: the space is for 16000 samples a second, the task has 8000; set both to one value"
    )


def test_a_space_for_images_says_so_of_a_table(base: Path) -> None:
    told = refusal(base, GOOD.replace("{kind: chain, widths: [8, 16]}", "{kind: macro}"))
    assert told.startswith("11: search.space.macro: needs one float32 input of shape (channels, height, width)")
    assert "this space is for images" in told

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from nas_core import registry
from nas_core import space as algebra
from nas_core.decisions import check_decisions
from nas_core.errors import InputError
from nas_core.spaces._text_layers import Attention, Pool, compact, layer, sinusoids
from nas_core.spaces.text_chain import TextChain
from nas_core.types import Port, Signature
from tests.nas_core.spaces import networks

LENGTH, VOCABULARY = 12, 50
TARGET = Port(name="target", shape=(3,), classes=3)
OPERATIONS = ("convolution", "gru", "lstm", "attention")
SMALL: dict[str, Any] = {"widths": (8,), "heads": (2,), "kernels": (3,), "embedding_dims": (6,), "dropouts": (0.1,)}


def signature(length: int = LENGTH, vocabulary: int = VOCABULARY) -> Signature:
    return Signature(inputs=(Port(name="text", shape=(length,), dtype="int64", classes=vocabulary),), outputs=(TARGET,))


def network(operation: str, pooling: str = "mean", length: int = LENGTH, **options: Any) -> nn.Module:
    """Two layers of `operation`, the same weights every time."""
    space = TextChain(
        signature(length), **{**SMALL, "max_depth": 2, "operations": [operation], "poolings": [pooling], **options}
    )
    torch.manual_seed(0)
    return space.build((1,) + (0,) * (len(space.decisions) - 1)).eval()


def texts(n: int, length: int = LENGTH) -> Tensor:
    """Return texts of every length from 0 on."""
    rng = np.random.default_rng(n)
    rows = np.zeros((n, length), np.int64)
    for i, row in enumerate(rows):
        row[: i % (length + 1)] = rng.integers(1, VOCABULARY, i % (length + 1))
    return torch.from_numpy(rows)


# ---------------------------------------------------------------- decisions


def test_the_decisions_of_two_layers() -> None:
    space = TextChain(signature(), max_depth=2)
    check_decisions(space.decisions)
    assert [decision.name for decision in space.decisions] == [
        "depth",
        "operation_1", "width_1", "kernel_1", "heads_1",
        "operation_2", "width_2", "kernel_2", "heads_2",
        "embedding_dim", "dropout", "pooling",
    ]  # fmt: skip


def test_a_kernel_is_of_convolutions_and_heads_are_of_attention() -> None:
    space = TextChain(signature(), max_depth=1, operations=OPERATIONS)
    found = {
        operation: {"kernel_1", "heads_1"} & algebra.describe(space, (0, i, *[0] * 6)).keys()
        for i, operation in enumerate(OPERATIONS)
    }
    assert found == {"convolution": {"kernel_1"}, "gru": set(), "lstm": set(), "attention": {"heads_1"}}


@pytest.mark.parametrize(("operations", "absent"), [(["gru"], {"kernel_1", "heads_1"}), (["attention"], {"kernel_1"})])
def test_there_is_no_decision_without_effect(operations: list[Any], absent: set[str]) -> None:
    space = TextChain(signature(), operations=operations)
    assert absent.isdisjoint(decision.name for decision in space.decisions)


def test_the_size_counts_conditions() -> None:
    space = TextChain(
        signature(), max_depth=2, widths=(8, 16), kernels=(3, 5), heads=(2,), embedding_dims=(4,), dropouts=(0,)
    )
    layer_choices = 2 * (2 + 1 + 1 + 1)
    assert algebra.size(space) == (layer_choices + layer_choices**2) * 3


# ---------------------------------------------------------------- what a text means


@pytest.mark.parametrize("pooling", ["mean", "max", "attention"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_padding_may_be_anywhere_and_of_any_length(operation: str, pooling: str) -> None:
    short = texts(LENGTH + 1)
    scattered = torch.zeros(len(short), 20, dtype=torch.int64)
    rng = np.random.default_rng(0)
    for row, tokens in zip(scattered, short, strict=True):
        row[torch.from_numpy(np.sort(rng.permutation(20)[: int((tokens != 0).sum())]))] = tokens[tokens != 0]
    logits = network(operation, pooling)(short)
    assert logits.isfinite().all()
    torch.testing.assert_close(network(operation, pooling, 20)(scattered), logits)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_vector_of_padding_does_not_matter(operation: str) -> None:
    module, rows = network(operation), texts(30)
    rows[:, 0] = 1
    before = module(rows)
    with torch.no_grad():
        module.embedding.weight[0] = 5.0  # type: ignore[index,union-attr]
    assert torch.equal(module(rows), before)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_order_of_words_matters(operation: str) -> None:
    rows = texts(40)[-20:]
    rows = rows[(rows != 0).sum(1) > 3]
    turned = rows.clone()
    turned[:, [0, 2]] = rows[:, [2, 0]]
    differs = (network(operation)(turned) - network(operation)(rows)).abs().amax(1) > 1e-6
    assert differs[rows[:, 0] != rows[:, 2]].all()


@given(st.lists(st.lists(st.integers(0, 5), min_size=5, max_size=5), min_size=1, max_size=5))
def test_compacting_keeps_the_tokens_in_order(rows: list[list[int]]) -> None:
    tokens, mask = compact(torch.tensor(rows))
    for row, found, real in zip(rows, tokens.tolist(), mask.tolist(), strict=True):
        kept = [index for index in row if index]
        assert found == kept + [0] * (5 - len(kept))
        assert real == [i < max(1, len(kept)) for i in range(5)]


# ---------------------------------------------------------------- layers


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_recurrent_layers_read_both_ways_as_torch_does(cell: str) -> None:
    """Beside torch's own bidirectional layer over packed sequences."""
    torch.manual_seed(0)
    ours = layer(cell, 6, 8, 0, 0.0).operation
    theirs = {"gru": nn.GRU, "lstm": nn.LSTM}[cell](6, 4, batch_first=True, bidirectional=True)
    with torch.no_grad():
        for weight, same in zip([*ours.ahead.weights, *ours.back.weights], theirs.parameters(), strict=True):
            same.copy_(weight)
    x, lengths = torch.randn(4, 5, 6), torch.tensor([5, 1, 3, 4])
    mask = torch.arange(5) < lengths[:, None]
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    expected, _ = nn.utils.rnn.pad_packed_sequence(theirs(packed)[0], batch_first=True)
    torch.testing.assert_close(ours(x, mask)[mask], expected[mask])


def test_attention_is_that_of_torch() -> None:
    torch.manual_seed(0)
    ours, theirs = Attention(8, 8, 2), nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.queries_keys_values.weight)
        theirs.in_proj_bias.copy_(ours.queries_keys_values.bias)
        theirs.out_proj.load_state_dict(ours.out.state_dict())
    x, mask = torch.randn(3, 5, 8), torch.arange(5) < torch.tensor([[5], [2], [1]])
    placed = x + sinusoids(5, 8, x)
    expected, _ = theirs(placed, placed, placed, key_padding_mask=~mask)
    torch.testing.assert_close(ours(x, mask), expected)


def test_sinusoids_follow_the_paper() -> None:
    found = sinusoids(7, 6, torch.empty(0))
    for position in range(7):
        for pair in range(3):
            phase = position / 10_000 ** (2 * pair / 6)
            np.testing.assert_allclose(found[position, 2 * pair :][:2], [np.sin(phase), np.cos(phase)], atol=1e-6)


def test_pooling_is_over_tokens_only() -> None:
    x, mask = torch.randn(2, 4, 3), torch.tensor([[True, True, False, False], [True] * 4])
    torch.testing.assert_close(Pool("mean", 3)(x, mask), torch.stack([x[0, :2].mean(0), x[1].mean(0)]))
    torch.testing.assert_close(Pool("max", 3)(x, mask), torch.stack([x[0, :2].amax(0), x[1].amax(0)]))
    pool = Pool("attention", 3)
    weight = pool.score(x[0, :2]).squeeze(1).softmax(0)
    torch.testing.assert_close(pool(x, mask)[0], weight @ x[0, :2])


def test_every_edit_changes_the_network() -> None:
    space = TextChain(signature(), max_depth=2, widths=(8, 16), kernels=(3, 5), embedding_dims=(4, 8))
    rows = texts(26)

    def trained_once(architecture: tuple[int, ...]) -> Tensor:
        torch.manual_seed(0)
        logits: Tensor = space.build(architecture)(rows)
        return logits

    rng = np.random.default_rng(0)
    for architecture in (algebra.sample(space, rng) for _ in range(3)):
        before = trained_once(architecture)
        for other in algebra.neighbours(space, architecture):
            assert not torch.equal(before, trained_once(other)), algebra.describe(space, other)


# ---------------------------------------------------------------- real texts

Questions = tuple[Signature, np.ndarray, np.ndarray]


@pytest.fixture
def questions(data: Path) -> Questions:
    """400 of TREC's questions: indices of up to 16 words, the 200 most frequent ones known; 6 classes."""
    lines = (data / "trec" / "TREC.train.all").read_text(encoding="latin-1").splitlines()[:400]
    label, words = zip(*((int(line[0]), line.lower().split()[1:]) for line in lines), strict=True)
    known = [word for word, _ in Counter(word for text in words for word in text).most_common(200)]
    index = {word: i for i, word in enumerate(known, start=2)}
    rows = np.zeros((len(words), 16), np.int64)
    for row, text in zip(rows, words, strict=True):
        row[: len(text)] = [index.get(word, 1) for word in text[:16]]
    port = Port(name="question", shape=(16,), dtype="int64", classes=len(index) + 2)
    outputs = (Port(name="kind", shape=(6,), classes=6),)
    return Signature(inputs=(port,), outputs=outputs), rows, np.array(label, np.int64)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_network_learns_questions(operation: str, questions: Questions) -> None:
    made, rows, classes = questions
    task = registry.load("tasks", "text")(made, {"train": ((rows,), classes), "validation": ((rows,), classes)})
    space = TextChain(made, max_depth=1, operations=[operation], poolings=("attention",), **SMALL)
    training = registry.load("estimators", "training")(space, task, 0, epochs=6, batch_size=50, learning_rate=0.02)
    _, metrics = training.train((0,) * len(space.decisions))
    frequent = np.bincount(classes).max() / len(classes)
    assert metrics["accuracy"] > frequent + 0.1


@networks.warns_of_itself
def test_every_operation_is_exported_for_any_batch(questions: Questions) -> None:
    made, rows, _ = questions
    space = TextChain(made, max_depth=4, operations=OPERATIONS, poolings=("max",), **SMALL)
    layers = {f"operation_{i}": option for i, option in enumerate(range(4), start=1)}
    architecture = tuple(
        layers.get(decision.name, 3 if decision.name == "depth" else 0) for decision in space.decisions
    )
    several = np.concatenate([np.zeros_like(rows[:2]), rows[:20]])
    networks.exports(space.build(architecture), [torch.from_numpy(several)])


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        (
            (Port(name="image", shape=(3, 8, 8)),),
            (TARGET,),
            r"one int64 input of shape \(length,\), got 'image' float32",
        ),
        ((Port(name="colour", shape=(), dtype="int64", classes=5),), (TARGET,), r"got 'colour' int64 \(\)"),
        ((Port(name="text", shape=(9,), dtype="int64"),), (TARGET,), "'text' must say its vocabulary.*got classes 0"),
        ((Port(name="text", shape=(-1,), dtype="int64", classes=9),), (TARGET,), r"got 'text' int64 \(-1,\)"),
        ((), (TARGET,), "got none"),
        (signature().inputs * 2, (TARGET,), "needs one int64 input"),
        (signature().inputs, (TARGET, TARGET), "needs one output port"),
    ],
)
def test_a_signature_that_is_no_text_is_refused(
    inputs: tuple[Port, ...], outputs: tuple[Port, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        TextChain(Signature(inputs=inputs, outputs=outputs))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_depth": 0}, "max_depth: must be an integer from 1 to 16, got 0"),
        ({"operations": ["rnn"]}, "operations: unknown name 'rnn'"),
        ({"operations": []}, "operations: must be a list of one or more"),
        ({"kernels": [4]}, "kernels: must be odd integers >= 1, got 4"),
        ({"heads": [0]}, "heads: must be integers >= 1, got 0"),
        ({"heads": [3]}, "widths: must be multiples of 3 for the 3 heads of attention, got 32"),
        ({"widths": [7], "operations": ["gru"]}, "widths: must be multiples of 2 for the two directions of gru, got 7"),
        ({"widths": [0]}, "widths: must be integers >= 1, got 0"),
        ({"embedding_dims": [0]}, "embedding_dims: must be integers >= 1, got 0"),
        ({"dropouts": [1.0]}, "dropouts: must be numbers >= 0 and < 1, got 1.0"),
        ({"poolings": ["sum"]}, "poolings: unknown name 'sum'"),
    ],
)
def test_an_option_out_of_range_is_refused_by_value_and_rule(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TextChain(signature(), **options)


def test_a_width_may_be_odd_where_nothing_divides_it() -> None:
    assert TextChain(signature(), operations=["convolution"], widths=[7]).decisions


def test_the_decisions_of_a_space_load_no_torch() -> None:
    code = "import sys, nas_core.spaces.text_chain; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)

"""What is learned from which data: the sources, how their rows are divided, and the kinds of task."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from components.spec_types import Encoding, SampleRate, Share, Strict, Text


class BuiltinSource(Strict):
    """Data that evernas or scikit-learn ships: `adult`, `breast-cancer`, `digits`, `fashion-mnist` (images)."""

    kind: Literal["builtin"]
    name: Text


class FileSource(Strict):
    """A table in a file; the format is `kind`. Parquet may hold files, images or clips, in a column of bytes."""

    kind: Literal["csv", "parquet"]
    path: Text
    """A relative path starts beside the spec."""


class NpzSource(Strict):
    """Arrays in a file of numpy: a table, or images, or clips."""

    kind: Literal["npz"]
    path: Text
    """A relative path starts beside the spec."""
    rate: SampleRate | None = None
    """Samples a second of the array `wave`; default: the array `rate` of the file, else 8000."""


class LinesSource(Strict):
    """Texts, one a line after its label: the columns `label`, `text` and `file`."""

    kind: Literal["lines"]
    path: Text
    """A file, a folder of files, or a pattern such as `data/*.txt`; a relative path starts beside the spec."""
    encoding: Encoding = "utf-8"
    """How the files are written, such as `latin-1`."""


class FolderSource(Strict):
    """Files in folders that are called by their label: the columns `image` or `audio`, `label` and `file`."""

    kind: Literal["folder"]
    path: Text
    """The folder of `<label>/<file>`, PNG and JPEG images or WAV clips; a relative path starts beside the spec."""


Source = Annotated[BuiltinSource | FileSource | NpzSource | LinesSource | FolderSource, Field(discriminator="kind")]


class Holdout(Strict):
    """Rows set aside as test by the source itself: those where `column`, as text, equals `value`; it is dropped."""

    column: Text
    value: str


Test = Annotated[
    Annotated[Share, Tag("share")] | Annotated[Holdout, Tag("rows")],
    Discriminator(lambda value: "rows" if isinstance(value, dict | Holdout) else "share"),
]


class Split(Strict):
    """Shares of the rows, stratified by the target and seeded by the spec's `seed`; what is left is for training."""

    validation: Share = 0.15
    """Rows that the search compares candidates on."""
    audit: Share = 0.15
    """Rows of the fairness audit; the search never sees them."""
    test: Test = 0.15
    """A share, or the source's own test rows; then the other shares are of the rows that are left."""

    @model_validator(mode="after")
    def _leaves_rows_for_training(self) -> Split:
        taken = self.validation + self.audit + (self.test if isinstance(self.test, float) else 0.0)
        if taken >= 1:
            raise ValueError(f"validation, audit and test must be less than 1 together, got {taken:.2f}; lower them")
        return self


class CommonTask(Strict):
    """What every kind of task says: the data, the column to predict, and the columns that a fairness audit looks at."""

    source: Source
    target: Text
    """The column of classes to predict."""
    positive: str | None = None
    """The favourable class for the fairness audit; default: the rarer of two classes."""
    sensitive: tuple[Text, ...] = ()
    """Columns whose groups the audit compares; a table's model is given them too, unless `drop` has them."""
    split: Split = Split()

    @property
    def augmentation(self) -> dict[str, Any]:
        """How rows are altered while they are trained on: options of the kind of task."""
        return {}


class TabularTask(CommonTask):
    """Rows of a table: numbers and categories."""

    kind: Literal["tabular"]
    drop: tuple[Text, ...] = ()
    """Columns that the model does not get."""


class ImageTask(CommonTask):
    """Images, each a PNG or JPEG file in a column of bytes; the model is given nothing else."""

    kind: Literal["image"]
    column: Text = "image"
    """The column of images."""
    size: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Pixels: images are made size x size; default: the size they have, if it is the same for all."""
    channels: Literal[1, 3] | None = None
    """1 is grey, 3 red, green and blue; default: as the first image."""
    shift: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """While they are trained on, images are moved by up to this share of their sides; photographs usually by 0.125."""
    flip: bool = False
    """Whether they are mirrored at random then; do so where left and right mean nothing."""

    @property
    def augmentation(self) -> dict[str, Any]:
        """See `CommonTask`."""
        return {"shift": self.shift, "flip": self.flip}


class TextTask(CommonTask):
    """Texts in a column; the model is given nothing else."""

    kind: Literal["text"]
    column: Text = "text"
    """The column of texts."""
    vocabulary: Annotated[int, Field(ge=1, le=1_000_000)] = 5000
    """So many words of the training rows are known, the most frequent ones."""
    length: Annotated[int, Field(ge=1, le=10_000)] = 32
    """Words of a text that are read; the rest is cut off."""
    word_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """While they are trained on, this share of the words is made unknown."""

    @property
    def augmentation(self) -> dict[str, Any]:
        """See `CommonTask`."""
        return {"word_dropout": self.word_dropout}


class AudioTask(CommonTask):
    """Clips, each a WAV file in a column of bytes; the model is given nothing else."""

    kind: Literal["audio"]
    column: Text = "audio"
    """The column of clips."""
    sample_rate: SampleRate = 8000
    """Samples a second; clips of another rate are resampled."""
    seconds: Annotated[float, Field(ge=0.01, le=3600)] = 1.0
    """Of a clip that are heard; the rest is cut off, and silence follows what is shorter."""
    shift: Annotated[float, Field(ge=0, le=0.5)] = 0.05
    """While they are trained on, clips are moved in time by up to this share of their length."""

    @property
    def augmentation(self) -> dict[str, Any]:
        """See `CommonTask`."""
        return {"shift": self.shift}


MediaTask = ImageTask | TextTask | AudioTask
"""The tasks whose models are given one column alone."""

TaskSpec = Annotated[TabularTask | MediaTask, Field(discriminator="kind")]
"""What is to be learned."""

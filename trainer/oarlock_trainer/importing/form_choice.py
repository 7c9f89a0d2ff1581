"""Decides in which form the samples of a source are stored, from the spec and from what was listed."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oarlock_api.v1alpha1.dataset import DatasetSpec, ImageFormat, Task, TextFormat, Tokens
from oarlock_trainer.datasets import Tokenizer
from oarlock_trainer.datasets.tokens import choose_words, count_words
from oarlock_trainer.errors import ConfigError, DataMissingError
from oarlock_trainer.importing.class_map import ClassMap, read_class_map
from oarlock_trainer.importing.forms import BoxForm, ImageForm, MaskForm, PictureForm, SampleForm, TextForm
from oarlock_trainer.importing.plain_files import resolve_inside
from oarlock_trainer.importing.progress import ImportProgress
from oarlock_trainer.importing.sample_shape import choose_format
from oarlock_trainer.importing.samples import BoxSamples, FileSamples, Listing, PairSamples, SpooledTexts
from oarlock_trainer.importing.source_files import UnreadableSampleError, source_errors
from oarlock_trainer.importing.texts import read_spooled, read_text

_LENGTHS = {Tokens.WORDS: 256, Tokens.CHARACTERS: 1024}
_WORDS = 20_000


def choose_form(
    spec: DatasetSpec, listing: Listing, source: Path, train: NDArray[np.int64], *, progress: ImportProgress
) -> SampleForm:
    """Return the form of the stored samples; `train` are the rows of the listing that are trained on.

    Raises:
        TrainerError: if the spec asks for what cannot be done, or a sample that must be looked at cannot be read.
    """
    if spec.task is Task.TEXT_CLASSIFICATION:
        return TextForm(
            tokenizer=choose_tokenizer(spec.text or TextFormat(), listing, train, progress=progress),
            classes=len(listing.classes),
        )
    pixels = choose_format(listing, spec.image or ImageFormat())
    if isinstance(listing.samples, BoxSamples):
        most = max(map(len, listing.samples.boxes), default=0)
        if not most:
            raise DataMissingError("the source holds no boxes", remedy="check the labels that spec.layout names")
        return BoxForm(pixels=pixels, classes=len(listing.classes), most=most)
    if not isinstance(listing.samples, PairSamples):
        return ImageForm(pixels=pixels, classes=len(listing.classes))
    if spec.task is Task.IMAGE_TO_IMAGE:
        return PictureForm(pixels=pixels)
    pairs = spec.layout.pairs
    path = pairs and pairs.class_map
    return MaskForm(pixels=pixels, class_map=read_class_map(resolve_inside(source, path)) if path else ClassMap())


def choose_tokenizer(
    text: TextFormat, listing: Listing, train: NDArray[np.int64], *, progress: ImportProgress
) -> Tokenizer:
    """Return what turns the texts into numbers: the most frequent words are those of the training samples alone.

    Raises:
        ConfigError: if the listing holds no texts.
        DataMissingError: if the texts hold no words.
    """
    length = text.max_length or _LENGTHS[text.tokens]
    if text.tokens is Tokens.CHARACTERS:
        return Tokenizer(tokens=text.tokens, length=length)
    counts: Counter[str] = Counter()
    progress.start("counting words", len(train), what="texts")
    for done, content in enumerate(_read_texts(listing, train), 1):
        counts.update(count_words(content))
        progress.advance(done)
    if not counts:
        raise DataMissingError("the training texts hold no words", remedy="check that the files are texts")
    return Tokenizer(tokens=text.tokens, length=length, words=choose_words(counts, most=text.vocabulary or _WORDS))


def _read_texts(listing: Listing, rows: NDArray[np.int64]) -> Iterator[str]:
    """Yield the texts that can be read; the others are refused when they are stored."""
    samples = listing.samples
    if isinstance(samples, SpooledTexts):
        yield from (read_spooled(samples, row) for row in rows.tolist())
        return
    if not isinstance(samples, FileSamples):
        raise ConfigError("the layout holds no texts", remedy="use the layout folders, csv or textFiles")
    for row in rows.tolist():
        try:
            with source_errors():
                yield read_text(f"{samples.root}/{samples.paths[row]}")[0]
        except UnreadableSampleError:
            continue

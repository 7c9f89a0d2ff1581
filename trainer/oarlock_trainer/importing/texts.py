"""Reads texts, whatever their encoding: UTF-8, and else Latin-1, in which every byte is a character."""

from oarlock_trainer.importing.samples import SpooledTexts
from oarlock_trainer.importing.source_files import UnreadableSampleError, read_source_file

NOT_UTF_8 = "texts that are not UTF-8, read as Latin-1"


def read_text(path: str) -> tuple[str, bool]:
    """Return the text of a file, and whether it is UTF-8.

    Raises:
        UnreadableSampleError: if the file cannot be read, or holds nothing but space.
        SourceReadError: if the source's volume is in trouble.
    """
    text, is_utf_8 = decode_text(read_source_file(path))
    if not text or text.isspace():
        raise UnreadableSampleError("the text is empty")
    return text, is_utf_8


def decode_text(content: bytes) -> tuple[str, bool]:
    """Return the text, and whether it is UTF-8."""
    try:
        return content.decode("utf-8-sig"), True
    except UnicodeDecodeError:
        return content.decode("latin-1"), False


def read_spooled(samples: SpooledTexts, position: int) -> str:
    """Return one of the texts that the importer wrote into one file."""
    start, end = int(samples.starts[position]), int(samples.ends[position])
    with samples.file.open("rb") as file:
        file.seek(start)
        return file.read(end - start).decode("utf-8")

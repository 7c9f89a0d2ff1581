"""Whether an image is from where an administrator allows images to be from. Pure.

Compared are repositories in full, as container runtimes complete them, and folder by folder: `registry.example/team` allows
`registry.example/team/trainer:5`, and neither `registry.example/team-two/x` nor `registry.example.evil/team/x`.
"""

_DEFAULT_HOST = "docker.io"
_DEFAULT_FOLDER = "library"


def is_image_allowed(image: str, entry: str) -> bool:
    """Say whether an image is meant by an entry: `*`, a registry, a folder in one, a repository, or one exact image."""
    if entry in ("*", image):
        return True
    repository, folder = complete_repository(image), _complete_folder(entry)
    return repository == folder or repository.startswith(f"{folder}/")


def complete_repository(image: str) -> str:
    """Return the repository of an image with its host, without tag and digest."""
    untagged = _without_tag(image)
    if _has_host(untagged):
        return untagged
    return f"{_DEFAULT_HOST}/{untagged if '/' in untagged else f'{_DEFAULT_FOLDER}/{untagged}'}"


def _complete_folder(entry: str) -> str:
    """Return an entry with its host. One with a tag is no folder of anything: it names a single image."""
    folder = entry.rstrip("/")
    is_host = "/" not in folder and _looks_like_host(folder)
    return folder if is_host or _has_host(folder) else f"{_DEFAULT_HOST}/{folder}"


def _without_tag(image: str) -> str:
    name = image.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def _has_host(name: str) -> bool:
    host, slash, _ = name.partition("/")
    return bool(slash) and _looks_like_host(host)


def _looks_like_host(text: str) -> bool:
    # Container runtimes take a first part with a capital letter for a host, too.
    return "." in text or ":" in text or text == "localhost" or text != text.lower()

"""Files of a data set that the kernel cannot read, without a broken disk."""

import json
from pathlib import Path

from oarlock_api.run import content_hash


def make_unreadable(folder: Path, name: str) -> None:
    """Have every read of a shard fail with EIO: it becomes a link to memory of the reader that is not mapped.

    Such a file has no size, so the description of the data set says so.
    """
    path = folder / "dataset.json"
    wire = json.loads(path.read_text())
    del wire["checksum"]
    for shards in wire["shards"].values():
        for shard in shards:
            shard["bytes"] = 0 if shard["file"] == name else shard["bytes"]
    path.write_text(json.dumps(wire | {"checksum": content_hash(wire)}))
    (folder / name).unlink()
    (folder / name).symlink_to("/proc/self/mem")

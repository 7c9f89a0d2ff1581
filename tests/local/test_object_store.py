"""Objects on disk: atomic under SIGKILL, owned by one process, versions that never repeat."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from oarlock.local.object_store import (
    DamagedStoreError,
    ObjectStore,
    StoreInUseError,
    find_owner,
    is_name,
    read_objects,
    reference_to,
)

_WRITER = textwrap.dedent("""
    import sys
    from pathlib import Path
    from oarlock.local.object_store import ObjectStore

    store = ObjectStore(Path(sys.argv[1]))
    number = 0
    while True:
        number += 1
        store.put({"kind": "Pod", "metadata": {"name": f"p{number % 3}", "namespace": "default"}, "spec": "x" * 50_000, "n": number})
        print(number, flush=True)
""")


def make_item(name: str = "one") -> dict[str, object]:
    return {"kind": "Pod", "metadata": {"name": name, "namespace": "default"}}


@pytest.mark.parametrize("milliseconds", [3, 17, 41, 89])
def test_every_acknowledged_write_is_there_when_the_writer_is_killed(tmp_path: Path, milliseconds: int) -> None:
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout
    writer.stdout.readline()
    time.sleep(milliseconds / 1000)
    writer.send_signal(signal.SIGKILL)
    acknowledged = max([1, *map(int, writer.stdout.read().split())])
    writer.wait()

    store = ObjectStore(tmp_path)
    newest = max(store.list(), key=lambda item: item["n"])
    assert newest["n"] in (acknowledged, acknowledged + 1)
    assert all(len(item["spec"]) == 50_000 for item in store.list())
    assert int(store.put(make_item())["metadata"]["resourceVersion"]) > newest["n"]
    store.close()


def test_second_owner_is_refused_with_the_first_ones_pid_when_the_store_is_in_use(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    store.put(make_item())
    with pytest.raises(StoreInUseError, match=f"process {os.getpid()}"):
        ObjectStore(tmp_path)

    assert find_owner(tmp_path) == os.getpid()
    assert [item["metadata"]["name"] for item in read_objects(tmp_path)] == ["one"]  # reading is free
    store.close()
    assert find_owner(tmp_path) is None
    ObjectStore(tmp_path).close()


def test_owner_is_named_though_it_has_not_said_so_when_the_other_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two that begin at the same moment, one has the lock, and the file still names the process of an earlier day."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    lock = tmp_path / "lock"
    lock.write_text(str(ended.pid))
    monkeypatch.setattr(time, "sleep", lambda _: lock.write_text(str(os.getpid())))
    with lock.open() as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        with pytest.raises(StoreInUseError, match=f"in use by process {os.getpid()}"):
            ObjectStore(tmp_path)


def test_store_is_taken_when_another_only_looked_who_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "lock").open("w") as first:
        fcntl.flock(first, fcntl.LOCK_SH)
        monkeypatch.setattr(time, "sleep", lambda _: fcntl.flock(first, fcntl.LOCK_UN))
        ObjectStore(tmp_path).close()


def test_versions_never_repeat_when_the_newest_object_was_removed(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    item = store.put(make_item())
    removed = store.remove(reference_to(item))
    store.close()
    again = ObjectStore(tmp_path)

    versions = [int(each["metadata"]["resourceVersion"]) for each in (item, removed, again.put(make_item()))]
    assert versions == sorted(set(versions))
    again.close()


def test_callers_cannot_change_what_is_stored_when_they_change_what_they_got(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    given = make_item()
    returned = store.put(given)
    returned["metadata"]["name"] = given["metadata"] = "changed"
    (found,) = store.list()

    assert found["metadata"]["name"] == "one"
    store.close()


def test_damaged_file_is_named_when_the_store_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "objects/Pod/default/one.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(make_item())[:-5])
    with pytest.raises(DamagedStoreError, match=r"one\.json is not valid JSON"):
        ObjectStore(tmp_path)


@pytest.mark.parametrize("name", ["", "..", "a/b", "../x", "A", "a..b", "-a", "a\n", "x" * 254])
def test_name_is_refused_when_it_could_lead_out_of_the_folder(name: str) -> None:
    assert not is_name(name)

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oarlock_operator.mirror import Mirror, Name

NAME = Name("ns", "a")


def make(version: str, *, uid: str = "u1", name: str = "a") -> dict[str, object]:
    return {"metadata": {"namespace": "ns", "name": name, "uid": uid, "resourceVersion": version}}


def version_of(raw: dict[str, dict[str, str]]) -> str:
    return raw["metadata"]["uid"] + raw["metadata"]["resourceVersion"]


@pytest.fixture
def mirror() -> Mirror[str]:
    return Mirror(version_of)


def test_watch_is_believed_when_nothing_was_written(mirror: Mirror[str]) -> None:
    for version in ("x", "c", "m"):
        mirror.offer(make(version))

    assert mirror.get(NAME) == "u1m"


def test_own_write_stays_when_the_watch_still_brings_older_versions(mirror: Mirror[str]) -> None:
    mirror.offer(make("first"))
    mirror.adopt(make("second"))
    mirror.adopt(make("third"))

    mirror.offer(make("first"))
    mirror.offer(make("second"))

    assert mirror.get(NAME) == "u1third"
    assert not mirror.doubts


def test_watch_is_believed_again_when_it_has_caught_up(mirror: Mirror[str]) -> None:
    mirror.offer(make("first"))
    mirror.adopt(make("second"))
    mirror.offer(make("second"))

    mirror.offer(make("third"))

    assert mirror.get(NAME) == "u1third"


def test_unknown_version_is_a_doubt_when_the_watch_has_not_caught_up(mirror: Mirror[str]) -> None:
    mirror.offer(make("first"))
    mirror.adopt(make("second"))

    mirror.offer(make("unknown"))

    assert mirror.get(NAME) == "u1second"
    assert mirror.doubts == {NAME}


def test_watch_has_caught_up_when_the_live_read_finds_what_it_brought(mirror: Mirror[str]) -> None:
    mirror.adopt(make("first"))
    mirror.offer(make("second"))
    mirror.adopt(make("second"))
    assert not mirror.doubts

    mirror.offer(make("third"))

    assert (mirror.get(NAME), mirror.doubts) == ("u1third", set())


def test_doubt_is_settled_once_when_the_live_read_finds_something_newer(mirror: Mirror[str]) -> None:
    mirror.adopt(make("first"))
    mirror.offer(make("second"))
    mirror.adopt(make("third"))

    mirror.offer(make("second"))

    assert (mirror.get(NAME), mirror.doubts) == ("u1third", set())


def test_deletion_is_ignored_when_the_name_is_taken_again(mirror: Mirror[str]) -> None:
    mirror.offer(make("1", uid="old"))
    mirror.adopt(make("2", uid="new"))

    mirror.offer_deletion(make("1", uid="old"))

    assert mirror.get(NAME) == "new2"


def test_object_is_a_doubt_when_a_list_lacks_what_was_just_created(mirror: Mirror[str]) -> None:
    mirror.adopt(make("1"))

    mirror.offer_all([])

    assert NAME in mirror
    assert mirror.doubts == {NAME}


def test_object_is_gone_when_a_new_watch_lacks_it(mirror: Mirror[str]) -> None:
    for name in ("a", "b"):
        mirror.offer(make("1", name=name))

    mirror.offer_all([make("1", name="b")])

    assert list(mirror) == [Name("ns", "b")]


def test_comparison_names_every_difference_and_changes_nothing(mirror: Mirror[str]) -> None:
    for name in ("same", "gone", "changed"):
        mirror.offer(make("1", name=name))

    listed = [make("1", name="same"), make("2", name="changed"), make("1", name="new")]

    assert mirror.compare(listed) == 3
    assert {name.name for name in mirror.doubts} == {"gone", "changed", "new"}
    assert mirror.get(Name("ns", "changed")) == "u11"


def test_other_objects_are_seen_when_one_is_not_understood(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def convert(raw: dict[str, Any]) -> str:
        return str(raw["spec"]["field"])

    strict: Mirror[str] = Mirror(convert)
    strict.offer_all([make("1", name="odd"), {**make("1", name="even"), "spec": {"field": 2}}])

    assert list(strict) == [Name("ns", "even")]
    assert "ns/odd is passed over" in caplog.text


def test_changes_are_told_with_what_was_before() -> None:
    told = []
    mirror = Mirror(version_of, lambda *change: told.append(change))
    mirror.offer(make("1"))
    mirror.offer(make("1"))
    mirror.adopt(make("2"))
    mirror.offer_deletion(make("3"))

    mirror.adopt(make("1"))
    mirror.offer(make("unknown"))

    assert told == [
        (NAME, None, "u11"),
        (NAME, "u11", "u12"),
        (NAME, "u12", None),
        (NAME, None, "u11"),
        (NAME, "u11", "u11"),
    ]


@given(seed=st.integers(0, 2**32 - 1))
def test_mirror_never_goes_back_and_ends_right_whatever_the_order(seed: int) -> None:
    """A server with one object, a watch that lags, own writes, others' writes, live reads, relists, lost events."""
    chance = random.Random(seed)
    mirror: Mirror[int] = Mirror(lambda raw: int(raw["metadata"]["order"]))
    versions = chance.sample(range(10_000), 60)  # opaque: their order says nothing
    live, backlog, newest_own = 0, [], 0

    def raw(order: int) -> dict[str, object]:
        return {"metadata": {"name": "a", "uid": "u", "resourceVersion": str(versions[order]), "order": order}}

    mirror.offer(raw(0))
    for _ in range(40):
        match chance.choice(["own", "other", "watch", "watch", "read", "relist"]):
            case "own" if mirror.get(Name("", "a")) == live:  # any other own write is refused by a conflict
                live += 1
                backlog.append(live)
                mirror.adopt(raw(live))
                newest_own = live
            case "other":
                live += 1
                backlog.append(live)
            case "watch" if backlog:
                mirror.offer(raw(backlog.pop(0)))
            case "read":
                mirror.adopt(raw(live))
                newest_own = live
            case "relist":
                backlog.clear()
                mirror.offer_all([raw(live)])
        assert mirror.get(Name("", "a")) >= newest_own
    for order in backlog:
        mirror.offer(raw(order))

    if mirror.doubts:
        mirror.adopt(raw(live))
    assert mirror.get(Name("", "a")) == live


def test_answer_is_no_news_when_the_watch_has_brought_what_came_after_it(mirror: Mirror[str]) -> None:
    asked = mirror.heard
    mirror.offer(make("created"))
    mirror.offer(make("changed by another"))

    mirror.adopt(make("created"), asked=asked)

    assert (mirror.get(NAME), mirror.doubts) == ("u1changed by another", set())


def test_answer_is_a_doubt_when_the_watch_has_brought_another_version_meanwhile(mirror: Mirror[str]) -> None:
    mirror.offer(make("first"))
    asked = mirror.heard
    mirror.offer(make("second"))

    mirror.adopt(make("third or what was between"), asked=asked)

    assert (mirror.get(NAME), mirror.doubts) == ("u1second", {NAME})


def test_object_stays_gone_when_the_answer_comes_after_its_deletion(mirror: Mirror[str]) -> None:
    asked = mirror.heard
    mirror.offer(make("created"))
    mirror.offer_deletion(make("created"))

    mirror.adopt(make("created"), asked=asked)
    mirror.introduce([make("created")], asked=asked)

    assert NAME not in mirror


def test_object_stays_when_it_appears_while_it_was_not_found(mirror: Mirror[str]) -> None:
    asked = mirror.heard
    mirror.offer(make("created"))

    mirror.forget(NAME, asked=asked)

    assert (mirror.get(NAME), mirror.doubts) == ("u1created", {NAME})


@given(seed=st.integers(0, 2**32 - 1))
def test_mirror_is_as_new_as_all_it_heard_or_in_doubt_when_answers_are_handled_late(seed: int) -> None:
    """Requests and their answers overlap with what the watch brings, in every way."""
    chance = random.Random(seed)
    mirror: Mirror[int] = Mirror(lambda raw: int(raw["metadata"]["order"]))
    versions = chance.sample(range(10_000), 80)
    live, newest = 0, 0
    backlog: list[int] = []
    in_flight: list[tuple[int, int]] = []

    def raw(order: int) -> dict[str, object]:
        return {"metadata": {"name": "a", "uid": "u", "resourceVersion": str(versions[order]), "order": order}}

    mirror.offer(raw(0))
    for _ in range(60):
        match chance.choice(["change", "watch", "watch", "read", "write", "answer"]):
            case "change":
                live += 1
                backlog.append(live)
            case "watch" if backlog:
                newest = max(newest, backlog[0])
                mirror.offer(raw(backlog.pop(0)))
            case "read":
                in_flight.append((mirror.heard, live))
            case "write":
                live += 1
                backlog.append(live)
                in_flight.append((mirror.heard, live))
            case "answer" if in_flight:
                asked, order = in_flight.pop(chance.randrange(len(in_flight)))
                newest = max(newest, order)
                mirror.adopt(raw(order), asked=asked)
        assert mirror.doubts or mirror.get(Name("", "a")) == newest
    for order in backlog:
        mirror.offer(raw(order))
    if mirror.doubts:
        mirror.adopt(raw(live), asked=mirror.heard)
    assert mirror.get(Name("", "a")) == live

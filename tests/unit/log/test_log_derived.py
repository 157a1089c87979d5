"""A file that is derived from a stream is never trusted, and never in anybody's way."""

import asyncio
import contextlib
import fcntl
import sqlite3
import threading

import pytest
from structlog.testing import capture_logs

from doorstream.log import LogUnavailable
from doorstream.log.derived import DerivedFile, FileGone, Layout, insert

LAYOUT = Layout(
    name="book",
    schema="""
        CREATE TABLE IF NOT EXISTS progress (only_row INTEGER PRIMARY KEY, epoch TEXT, applied INTEGER, weight INTEGER);
        CREATE TABLE IF NOT EXISTS words (word TEXT);
        CREATE INDEX IF NOT EXISTS words_by_word ON words (word);
    """,
    tables=("words",),
    progress=("applied", "weight"),
    damage=("no such ", "table words has "),
)
GARBAGE = (b"", b"garbage" * 1000, b"SQLite format 3\x00" + b"\xff" * 5000)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "book.sqlite"


@pytest.fixture
async def open_file(path):
    """Open the file of a stream; whatever was opened is closed in the end."""
    opened = []

    async def open_it(epoch="e", **options):
        file = DerivedFile(path, LAYOUT, **options)
        opened.append(file)
        await file.open(epoch)
        return file

    yield open_it
    for file in opened:
        file.close()


def write(connection, *words):
    """A change: take in some words."""
    insert(
        connection, {2: "INSERT INTO words VALUES (?), (?)", 1: "INSERT INTO words VALUES (?)"}, [[w] for w in words]
    )
    return len(words)


def words(connection):
    """A question: all words."""
    return [word for (word,) in connection.execute("SELECT word FROM words ORDER BY rowid")]


def put_in_place(path, content):
    """Replace the file, with nothing left of the one before that SQLite could mend it with."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    other = path.with_name("other")
    other.write_bytes(content)
    other.rename(path)


async def test_what_is_applied_can_be_asked_for_also_after_a_restart(open_file):
    file = await open_file()
    assert await file.apply((7, 3), write, "a", "b", "c") == 3
    assert file.applied == 7
    file.close()
    again = await open_file()
    assert again.progress == (7, 3)
    assert await again.read(words) == again.read_here(words) == ["a", "b", "c"]


async def test_a_file_of_another_stream_is_emptied(open_file):
    file = await open_file("one")
    await file.apply((7, 3), write, "a")
    file.close()
    other = await open_file("two")
    assert (other.progress, await other.read(words)) == ((0, 0), [])
    other.close()
    assert (await open_file("two")).progress == (0, 0)
    assert (await open_file("one")).applied == 0, "what was emptied stays so"


async def test_half_a_change_is_taken_back(open_file):
    def fail(connection):
        write(connection, "a")
        raise sqlite3.OperationalError("database or disk is full")

    file = await open_file()
    with pytest.raises(sqlite3.OperationalError, match="full"):
        await file.apply((1, 0), fail)
    assert (file.applied, await file.read(words)) == (0, [])
    await file.apply((2, 0), write, "b")
    assert await file.read(words) == ["b"]


@pytest.mark.parametrize("content", GARBAGE)
async def test_what_is_no_database_is_replaced(open_file, path, content):
    path.write_bytes(content)
    file = await open_file()
    await file.apply((1, 0), write, "a")
    assert await file.read(words) == ["a"]


async def test_a_file_with_other_tables_is_replaced(open_file, path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE words (ours INTEGER)")
    connection.close()
    file = await open_file()
    await file.apply((1, 0), write, "a")
    assert await file.read(words) == ["a"]


@pytest.mark.parametrize(
    ("error", "is_damage"),
    [
        (FileGone("gone"), True),
        (sqlite3.OperationalError("no such column: word"), True),
        (sqlite3.OperationalError("table words has no column named word"), True),
        (sqlite3.OperationalError("table others has no column named word"), False),
        (sqlite3.OperationalError("database or disk is full"), False),
        (sqlite3.OperationalError("disk I/O error"), False),
    ],
)
async def test_what_the_file_is_to_blame_for(open_file, error, is_damage):
    """The layout says which complaints mean other tables than its own."""
    assert (await open_file()).is_damage(error) is is_damage


async def test_a_full_disk_is_no_reason_to_delete_anything(open_file, monkeypatch):
    file = await open_file()
    await file.apply((1, 0), write, "a")
    file.close()

    def full(_self):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(DerivedFile, "_connect", full)
    with pytest.raises(sqlite3.OperationalError, match="full"):
        await open_file()
    monkeypatch.undo()
    assert await (await open_file()).read(words) == ["a"]


async def test_a_file_that_was_deleted_is_begun_again(open_file, path):
    file = await open_file()
    await file.apply((1, 0), write, "a")
    assert await file.read(words) == ["a"]
    path.unlink()
    with pytest.raises(FileGone):
        await file.apply((2, 0), write, "b")
    await file.begin_again()
    assert (file.progress, await file.read(words)) == ((0, 0), [])
    await file.apply((2, 0), write, "a", "b")
    assert await file.read(words) == ["a", "b"]


async def test_a_file_that_somebody_else_has_begun_is_taken(open_file, path):
    first, second = await open_file(), await open_file()
    path.unlink()
    await first.begin_again()
    await first.apply((5, 0), write, "a")
    with pytest.raises(FileGone):
        await second.apply((1, 0), write, "b")
    await second.begin_again()
    assert (second.applied, await second.read(words)) == (5, ["a"])
    await first.apply((6, 0), write, "c")
    assert await second.read(words) == ["a", "c"]


@pytest.mark.parametrize("step", ["_connect", "_read_progress"])
async def test_somebody_elses_file_that_is_locked_at_the_moment_is_not_deleted(open_file, path, monkeypatch, step):
    """Who was refused it once used to take it for the damaged one at the next attempt."""
    first, second = await open_file(), await open_file()
    path.unlink()
    await first.begin_again()
    await first.apply((5, 0), write, "a")

    def refused(*_):
        raise sqlite3.OperationalError("database is locked")

    with monkeypatch.context() as patch:
        patch.setattr(DerivedFile, step, refused)
        with pytest.raises(sqlite3.OperationalError):
            await second.begin_again()
    await second.begin_again()
    assert (second.applied, await second.read(words)) == (5, ["a"])
    await first.apply((6, 0), write, "c")
    assert await second.read(words) == ["a", "c"]


async def test_a_lock_that_cannot_be_had_is_an_error_of_the_file(open_file, path):
    """As everything else is that the system refuses; its owners know what to do then."""
    path.with_suffix(".lock").mkdir()
    with pytest.raises(sqlite3.OperationalError, match=r"unable to open .*lock: Is a directory"):
        await open_file()


async def test_who_waits_for_the_lock_can_be_closed(open_file, path):
    """Whoever holds it may be stopped, or have much to do."""
    file = await open_file()
    with path.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        beginning = asyncio.create_task(file.begin_again())
        await asyncio.sleep(0.1)
        assert not beginning.done()
        await asyncio.to_thread(file.close)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            await beginning


async def test_while_one_makes_the_file_others_wait(open_file, path, monkeypatch):
    """Deleting and making are several steps: in between there is half a file, and parts of the one before."""
    first, second = await open_file(), await open_file()
    path.unlink()
    is_made, goes_on = threading.Event(), threading.Event()
    prepare = DerivedFile._prepare

    def slowly(file):
        if file is first:
            is_made.set()
            goes_on.wait(10)
        return prepare(file)

    monkeypatch.setattr(DerivedFile, "_prepare", slowly)
    beginning = asyncio.create_task(first.begin_again())
    await asyncio.to_thread(is_made.wait, 10)
    other = asyncio.create_task(second.begin_again())
    await asyncio.sleep(0.1)
    assert not path.exists(), "the other waits for its turn"
    goes_on.set()
    await asyncio.gather(beginning, other)
    await first.apply((1, 0), write, "a")
    assert await second.read(words) == ["a"], "they have the same one"


@pytest.mark.parametrize("content", GARBAGE)
async def test_a_file_that_was_replaced_by_something_else_is_begun_again(open_file, path, content):
    """Who took it for somebody's new file and failed used to do so for ever, and never deleted it."""
    file = await open_file()
    await file.apply((1, 0), write, "a")
    put_in_place(path, content)
    with pytest.raises(FileGone):
        await file.apply((2, 0), write, "b")
    with contextlib.suppress(sqlite3.DatabaseError):  # it might have been somebody's new file; the next time it is none
        await file.begin_again()
    await file.begin_again()
    await file.apply((2, 0), write, "a", "b")
    assert await file.read(words) == ["a", "b"]


async def test_damage_that_a_reader_finds_is_told(open_file):
    told = []
    file = await open_file(on_damage=lambda: told.append("damaged"))

    def complain(_connection, message):
        raise sqlite3.OperationalError(message)

    for message in ("disk I/O error", "no such table: words"):
        assert not told
        with capture_logs() as logs, pytest.raises(LogUnavailable, match="the book cannot be read"):
            await file.read(complain, message)
        assert [entry["reason"] for entry in logs] == [message]
    assert told == ["damaged"]
    with pytest.raises(LogUnavailable):
        file.read_here(complain, "no such table: words")
    assert len(told) == 2


async def test_who_reads_while_the_file_is_begun_again_gets_no_half_of_it(open_file):
    """Before the new file is there the old one answers; an answer across the change is none."""
    file = await open_file(readers=2)
    await file.apply((1, 0), write, "a")
    has_begun, may_end = threading.Event(), threading.Event()

    def slowly(connection):
        has_begun.set()
        may_end.wait(10)
        return words(connection)

    across = asyncio.create_task(file.read(slowly))
    await asyncio.to_thread(has_begun.wait, 10)
    await file.begin_again()
    assert await file.read(words) == []
    may_end.set()
    with pytest.raises(LogUnavailable, match="the book is being built again"):
        await across


async def test_waiting_until_a_sequence_is_applied(open_file):
    file = await open_file()
    waiting = [asyncio.create_task(file.reached(sequence)) for sequence in (0, 5, 6, 9)]
    await asyncio.sleep(0)
    assert [each.done() for each in waiting] == [True, False, False, False]
    await file.apply((6, 0), write)
    await asyncio.gather(*waiting[:3])
    assert not waiting[3].done()
    beginning = asyncio.create_task(file.begin_again())
    await asyncio.sleep(0)
    again = asyncio.create_task(file.reached(6))
    await beginning
    assert not again.done(), "what was there before is not there any more"
    await file.apply((9, 0), write)
    await asyncio.gather(waiting[3], again)


async def test_who_waits_gives_up_or_is_stopped(open_file):
    """Closing does not wait for those who wait, and they can still be cancelled."""
    file = await open_file()
    given_up, left = (asyncio.create_task(file.reached(sequence)) for sequence in (1, 2))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    await file.apply((1, 0), write)
    file.close()
    assert not left.done()
    left.cancel()
    await asyncio.gather(left, return_exceptions=True)
    assert not file._waiting


async def test_closing_lets_what_is_read_be_finished(open_file):
    file = await open_file()
    await file.apply((1, 0), write, "a")
    reading = asyncio.create_task(file.read(words))
    await asyncio.sleep(0)
    file.close()
    assert await reading == ["a"]


async def test_lingering_ends_when_somebody_waits_or_hurries(open_file):
    file = await open_file()
    await asyncio.wait_for(file.linger(0.001), 5)
    lingering = asyncio.create_task(file.linger(60))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(file.reached(1))
    await asyncio.wait_for(lingering, 5)
    await asyncio.wait_for(file.linger(60), 5)
    patient = asyncio.create_task(file.reached(2))
    await asyncio.sleep(0)
    await file.apply((1, 0), write)
    await waiting
    await asyncio.wait_for(file.linger(60), 5)
    await file.apply((2, 0), write)
    await patient
    lingering = asyncio.create_task(file.linger(60))
    await asyncio.sleep(0.01)
    assert not lingering.done(), "nobody waits any more"
    file.hurry.set()
    await asyncio.wait_for(lingering, 5)


async def test_tidying_goes_on_until_nothing_is_left(open_file):
    def forget_two(connection):
        return connection.execute("DELETE FROM words WHERE rowid IN (SELECT rowid FROM words LIMIT 2)").rowcount

    file = await open_file()
    await file.apply((1, 0), write, *"abcde")
    await file.tidy(forget_two)
    assert (file.applied, await file.read(words)) == (1, [])

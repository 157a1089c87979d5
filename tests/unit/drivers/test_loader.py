"""Where drivers come from, and what is said of those that cannot be used."""

from __future__ import annotations

import os
from importlib.metadata import EntryPoint

import pytest

from doorstream.drivers import Driver, loader
from doorstream.drivers.builtin import BUILT_IN, Door
from doorstream.drivers.loader import Catalogue, Origin, find, name_of

SOURCE = '''
from doorstream.drivers import Driver


class {name}(Driver):
    """{doc}"""
'''


@pytest.fixture
def installed(monkeypatch):
    """Entry points as if packages had brought them."""
    entries = []
    monkeypatch.setattr(loader, "entry_points", lambda group: [entry for entry in entries if entry.group == group])
    return entries


class FromPackage(Driver):
    """Of a package."""


def names(catalogue):
    """The drivers that are no built-in ones, with their faults."""
    return {view.name: view.fault for view in catalogue.views() if view.origin != "built-in"}


def test_names_follow_from_classes():
    """In snake case; a subclass does not inherit one."""

    class HTTPDoorLock(Driver):
        """A name with an abbreviation."""

    class Named(Driver):
        """A name of its own."""

        name = "other"

    class Child(Named):
        """None of its own."""

    assert [name_of(each) for each in (HTTPDoorLock, Named, Child, Door)] == [
        "http_door_lock",
        "other",
        "child",
        "door",
    ]


@pytest.mark.usefixtures("installed")
def test_files_and_folders_are_drivers(tmp_path):
    """What begins with an underscore or test_ is none; a folder may have several files."""
    (tmp_path / "one.py").write_text(SOURCE.format(name="One", doc="One."))
    (tmp_path / "_helper.py").write_text("raise RuntimeError")
    (tmp_path / "test_one.py").write_text("raise RuntimeError")
    (tmp_path / "notes.txt").write_text("nothing")
    package = tmp_path / "two"
    package.mkdir()
    (package / "__init__.py").write_text("from .parts import Two\n")
    (package / "parts.py").write_text(SOURCE.format(name="Two", doc="Two."))
    catalogue = Catalogue(BUILT_IN, tmp_path)
    assert catalogue.refresh() == {"one", "two"}
    assert names(catalogue) == {"one": None, "two": None}
    assert catalogue.refresh() == set()
    (package / "parts.py").write_text(SOURCE.format(name="Two", doc="Two, changed."))
    os.utime(package / "parts.py", ns=(1, 2**62))
    assert catalogue.refresh() == {"two"}
    assert catalogue.get("two").view().description == "Two, changed."
    (tmp_path / "one.py").unlink()
    assert catalogue.refresh() == {"one"}
    assert catalogue.get("one") is None


@pytest.mark.usefixtures("installed")
def test_faults_harm_nobody_else(tmp_path):
    """A file that does not import, and a class with a bad signature, beside a good one."""
    (tmp_path / "broken.py").write_text("import nowhere_at_all\n")
    good = SOURCE.format(name="Good", doc="Good.")
    (tmp_path / "mixed.py").write_text(good + "class Bad(Driver):\n    async def go(self, *a): ...\n")
    catalogue = Catalogue(BUILT_IN, tmp_path)
    catalogue.refresh()
    found = names(catalogue)
    assert found["good"] is None
    assert "No module named 'nowhere_at_all' (line 1)" in found["broken"]
    assert "Bad.go: *a cannot be described" in found["bad"]


def test_entry_points_of_packages(installed):
    """One that cannot be imported has its fault."""
    installed += [
        EntryPoint("fine", f"{__name__}:FromPackage", loader.GROUP),
        EntryPoint("gone", "package_that_is_gone:Driver", loader.GROUP),
        EntryPoint("odd", "json:JSONDecoder", loader.GROUP),
        EntryPoint("elsewhere", "json:JSONDecoder", "somebody.else"),
    ]
    found = names(Catalogue(BUILT_IN))
    assert found["from_package"] is None
    assert "package_that_is_gone" in found["gone"]
    assert "has no driver JSONDecoder" in found["odd"]
    assert "elsewhere" not in found


@pytest.mark.usefixtures("installed")
def test_of_two_with_one_name_the_first_stays(tmp_path):
    """Nobody replaces a built-in driver by accident."""
    (tmp_path / "door.py").write_text(SOURCE.format(name="Door", doc="Another."))
    catalogue = Catalogue(BUILT_IN, tmp_path)
    catalogue.refresh()
    assert catalogue.get("door").klass is Door
    assert catalogue.get("door").view().origin == "built-in"


def test_a_class_is_found_again_from_elsewhere(tmp_path):
    """By its file or its module, as another process does it."""
    file = tmp_path / "one.py"
    file.write_text(SOURCE.format(name="One", doc="One."))
    assert find(Origin("One", file=str(file))).__doc__ == "One."
    assert find(Origin("Door", module="doorstream.drivers.builtin.door")) is Door


@pytest.mark.usefixtures("installed")
def test_a_folder_that_is_not_there_yet(tmp_path):
    """It may come."""
    catalogue = Catalogue(BUILT_IN, tmp_path / "drivers")
    assert catalogue.refresh() == set()
    (tmp_path / "drivers").mkdir()
    (tmp_path / "drivers" / "one.py").write_text(SOURCE.format(name="One", doc="One."))
    assert catalogue.refresh() == {"one"}


@pytest.mark.parametrize("klass", BUILT_IN)
def test_what_is_built_in_is_described(klass):
    """Each driver and each of its functions says what it is for."""
    loaded = loader.examine(klass, Origin(klass.__name__, module=klass.__module__))
    assert loaded.view().description
    assert all(function.doc for function in loaded.functions.values())
    assert "connected" not in loaded.functions

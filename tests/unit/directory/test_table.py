"""Tables: look-up by id and lists in order, whatever happens to them."""

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from doorstream.directory import Table
from doorstream.directory.keys import escape, unescape


class Thing(NamedTuple):
    id: str
    name: str


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["put", "remove", "look"]), st.sampled_from("abcdef"), st.sampled_from(["", "A", "a", "b"])
    )
)


@given(OPERATIONS, st.integers(1, 4), st.sampled_from([None, "", "a", "B"]))
def test_order_survives_changes(operations, limit, name):
    """Against a plain dictionary, sorted each time: all, pages in a row, slices."""
    table: Table[Thing] = Table()
    model: dict[str, Thing] = {}
    for verb, thing_id, thing_name in operations:
        if verb == "put":
            model[thing_id] = Thing(thing_id, thing_name)
            table.put(model[thing_id])
        elif verb == "remove":
            model.pop(thing_id, None)
            table.remove(thing_id)
        else:
            list(table)  # from here on the order is kept up instead of made
    expected = sorted(model.values(), key=lambda thing: (thing.name, thing.id))
    assert list(table) == expected
    assert len(table) == len(expected)
    assert table.slice(1, 3) == expected[1:3]
    wanted = [thing for thing in expected if not name or name.casefold() in thing.name.casefold()]
    found: list[Thing] = []
    page = table.page(limit=limit, name=name)
    while True:
        assert len(page.items) <= limit
        found += page.items
        if page.next is None:
            break
        page = table.page(after=page.next, limit=limit, name=name)
    assert found == wanted


def test_a_page_goes_on_although_its_last_item_is_gone():
    table: Table[Thing] = Table()
    for name in "abcd":
        table.put(Thing(name, name))
    page = table.page(limit=2)
    table.remove("b")
    assert [thing.id for thing in table.page(after=page.next, limit=2).items] == ["c", "d"]


@given(st.text())
def test_ids_become_keys_and_come_back(text):
    key = escape(text)
    assert unescape(key) == text
    assert set(key) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=/")


@given(st.text(), st.text())
def test_two_ids_are_two_keys(one, other):
    assert (escape(one) == escape(other)) == (one == other)

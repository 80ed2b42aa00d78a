"""Tokens prove whom they were made for, and nobody else."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.access.roles import ANYBODY, PERMISSIONS, Permission, Role
from fleet.access.tokens import TokenBook, new_token, read_book, write_book
from fleet.errors import NotSignedInError, SettingsError

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def test_a_token_proves_whom_it_was_made_for_until_it_expires():
    text, stored = new_token("wall", Role.VIEWER, "north", DAY, NOW)
    book = TokenBook([stored])
    found = book.principal(text, NOW + DAY - timedelta(seconds=1))
    assert (found.name, found.role, found.tenant, found.expires_at) == ("wall", Role.VIEWER, "north", NOW + DAY)
    assert book.is_valid(found, NOW)
    with pytest.raises(NotSignedInError, match="expired on 2026-12-02"):
        book.principal(text, NOW + DAY)
    assert not book.is_valid(found, NOW + DAY)


def test_a_revoked_token_proves_nobody():
    text, stored = new_token("wall", Role.VIEWER, "north", DAY, NOW)
    found = TokenBook([stored]).principal(text, NOW)
    after = TokenBook()
    with pytest.raises(NotSignedInError, match="not known"):
        after.principal(text, NOW)
    assert not after.is_valid(found, NOW)


def test_a_token_whose_role_changed_closes_what_it_opened():
    text, stored = new_token("wall", Role.ADMIN, None, DAY, NOW)
    found = TokenBook([stored]).principal(text, NOW)
    _, other = new_token("wall", Role.VIEWER, "north", DAY, NOW)
    changed = type(other)(stored.id, "wall", Role.VIEWER, "north", NOW, NOW + DAY, stored.secret_sha256)
    assert not TokenBook([changed]).is_valid(found, NOW)


@given(st.data())
def test_no_other_text_proves_anybody(data: st.DataObject):
    text, stored = new_token("wall", Role.ADMIN, None, DAY, NOW)
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.one_of(st.text(), st.characters().map(lambda c: text[:place] + c + text[place + 1 :])))
    book = TokenBook([stored])
    if other != text:
        with pytest.raises(NotSignedInError):
            book.principal(other, NOW)
    for near in (text + "\n", " " + text, text[:-1], text.upper(), f"fleet_{stored.id}_", stored.secret_sha256):
        with pytest.raises(NotSignedInError):
            book.principal(near, NOW)


def test_nothing_that_is_kept_is_the_secret():
    text, stored = new_token("wall", Role.VIEWER, "north", DAY, NOW)
    assert text.rpartition("_")[2].encode() not in write_book(TokenBook([stored]))
    assert text not in repr(stored)


def test_an_admin_belongs_to_no_tenant():
    _, stored = new_token("root", Role.ADMIN, "north", DAY, NOW)
    assert stored.principal.tenant is None


def test_what_roles_may_do():
    assert {role: {p.value for p in may} for role, may in PERMISSIONS.items()} == {
        "viewer": {"view"},
        "scorer": {"score"},
        "operator": {"view", "score", "act on episodes"},
        "admin": {"view", "score", "act on episodes", "every tenant"},
    }
    assert all(ANYBODY.may(permission) for permission in Permission)


def test_a_book_survives_its_file():
    made = [new_token(f"n{n}", role, "north", DAY, NOW)[1] for n, role in enumerate(Role)]
    assert read_book(write_book(TokenBook(made))).tokens == made


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "no file of tokens"),
        (b'{"tokens": [{}]}', "no file of tokens"),
        (b'{"tokens": [], "more": 1}', "no file of tokens"),
        (
            b'{"tokens": [{"id": "a1", "name": "n", "role": "viewer", "tenant": "t", "created_at": '
            b'"2026-12-01T00:00:00Z", "expires_at": "2026-12-02T00:00:00", "secret_sha256": ""}]}',
            "a1 expires at a time without a zone",
        ),
    ],
)
def test_a_broken_file_says_what_is_wrong(content: bytes, sentence: str):
    with pytest.raises(SettingsError, match=sentence):
        read_book(content)

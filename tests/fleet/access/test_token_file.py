"""The file of tokens: whole at every moment, and for its owner alone."""

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fleet.access.roles import Role
from fleet.access.token_file import TokenFile
from fleet.access.tokens import StoredToken, new_token
from fleet.access.watched_file import MOST_BYTES
from fleet.errors import SettingsError

NOW = datetime(2026, 12, 1, tzinfo=UTC)


def made(name: str = "wall") -> StoredToken:
    return new_token(name, Role.VIEWER, "north", timedelta(days=1), NOW)[1]


def test_a_reader_sees_what_another_has_written(tmp_path: Path):
    path = tmp_path / "folder" / "tokens.json"
    token = made()
    TokenFile(path).add(token)
    reader = TokenFile(path)
    assert reader.book().tokens == [token]
    assert TokenFile(path).revoke(token.id)
    assert reader.book().tokens == []
    assert not TokenFile(path).revoke(token.id)


def test_the_file_is_its_owners_alone(tmp_path: Path):
    before = os.umask(0)
    try:
        TokenFile(tmp_path / "tokens.json").add(made())
    finally:
        os.umask(before)
    assert (tmp_path / "tokens.json").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["tokens.json"], "nothing is left beside it"


def test_two_who_write_at_once_lose_nothing(tmp_path: Path):
    path = tmp_path / "tokens.json"
    tokens = [made(f"n{n}") for n in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda token: TokenFile(path).add(token), tokens))
    assert {token.id for token in TokenFile(path).book().tokens} == {token.id for token in tokens}


def test_a_file_that_others_may_write_is_refused(tmp_path: Path):
    path = tmp_path / "tokens.json"
    TokenFile(path).add(made())
    path.chmod(0o620)
    with pytest.raises(SettingsError, match="chmod go-w"):
        TokenFile(path).book()


def test_a_missing_file_says_how_to_make_one(tmp_path: Path):
    with pytest.raises(SettingsError, match="fleet token create"):
        TokenFile(tmp_path / "tokens.json").book()


def test_a_file_that_is_too_large_or_broken_is_named(tmp_path: Path):
    path = tmp_path / "tokens.json"
    path.write_bytes(b"x" * (MOST_BYTES + 1))
    path.chmod(0o600)
    with pytest.raises(SettingsError, match="larger than"):
        TokenFile(path).book()
    path.write_bytes(b"{")
    with pytest.raises(SettingsError, match=r"tokens\.json: It is no file of tokens"):
        TokenFile(path).book()


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot be written"):
        TokenFile(tmp_path / "file" / "tokens.json").add(made())

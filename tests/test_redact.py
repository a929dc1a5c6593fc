"""Secrets are taken out of texts in the shapes they come in; words that only look a little like them stay."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.redact import _BEGINNINGS, _SHAPED, HIDDEN, scrub, scrubber

KEYS = (
    "sk-proj-abcDEF123456ghi",
    "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
    "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "ghs_16C7e42F292c6912E7710c838347Ae178B4a",
    "github_pat_11ABCDEFG0123456789_abcdef",
    "glpat-abcdefghijklmnopqrst",
    "hf_abcdefghijklmnopqrstuvwx",
    "xoxb-1234567890-abcdefghij",
    "AIzaSyA1234567890abcdefghijklmnopqrstuv",
    "AKIAIOSFODNN7EXAMPLE",
    "ya29.a0AfH6SMBx1234567",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
    "npm_abcdefghijklmnopqrstuvwxyz0123456789",
)


@pytest.mark.parametrize("key", KEYS)
def test_keys_in_the_shapes_of_providers_are_hidden(key: str) -> None:
    for text in (f"the key is {key}.", f'{{"key": "{key}"}}', f"{key}\n", f"KEY={key} run"):
        cleaned = scrub(text)
        assert key not in cleaned and key[-6:] not in cleaned and HIDDEN in cleaned


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Authorization: Bearer abc.def-ghi_123", "abc.def-ghi_123"),
        ("authorization: basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("curl -H 'X-API-Key: 0123456789'", "0123456789"),
        ("Bearer abcdefghijklmnopqrstuvwxyz", "abcdefghijklmnopqrstuvwxyz"),
        ("postgres://admin:s3cr3t@db:5432/app", "s3cr3t"),
        ("redis://:hunter22@cache/0", "hunter22"),
        ("mysql://me:hunter@22@db:3306/x", "22@"),
        ("Server=db;User Id=sa;Password=p4ss!word;", "p4ss!word"),
        ("DefaultEndpointsProtocol=https;AccountKey=Zm9vYmFyYmF6==;EndpointSuffix=x", "Zm9vYmFyYmF6=="),
        ("Endpoint=sb://x/;SharedAccessKey=abc123def456=", "abc123def456="),
        ('{"client_secret": "q1w2e3r4"}', "q1w2e3r4"),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG", "wJalrXUtnFEMI/K7MDENG"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nAAAA\n-----END RSA PRIVATE KEY-----", "MIIEow"),
        ("-----BEGIN PRIVATE KEY-----\nMIIEow cut off", "MIIEow"),
    ],
)
def test_what_is_assigned_or_sent_as_a_secret_is_hidden(text: str, secret: str) -> None:
    assert secret not in scrub(text) and HIDDEN in scrub(text)


@pytest.mark.parametrize(
    "text",
    [
        "You skateboard over a skeleton, a pkzip file and hftable words; the rkelleys left.",
        "The bearer arrived with bearer bonds.",
        "a risk-averse task-list in the desk-drawer, ask-me-anything and a disk_partition",
        "https://example.org:8080/path?a=b@c",
        "Enter your password: ***",
        "the password reset page, passwords and tokens",
        "go to shelf 1; look; put mug 2 in/on coffeemachine 1",
    ],
)
def test_words_stay(text: str) -> None:
    assert scrub(text) == text


def test_values_of_the_environment_and_given_ones_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_SERVICE_TOKEN", "plain-words-here")
    clean = scrubber(["qwertyuiop"])
    assert clean("a plain-words-here b qwertyuiop c") == f"a {HIDDEN} b {HIDDEN} c"


_PARTS = st.sampled_from(
    [*KEYS, *KEYS, "sk", "-", "_", " ", "risk-", "de", "npm", "x", "://", "u:p4ss@", "\n", "é", "xoxs_", "dop_v1_"]
)


@given(st.lists(_PARTS, max_size=8).map("".join))
def test_what_is_looked_for_first_passes_over_no_key(text: str) -> None:
    """Most texts are not searched for the shapes of keys, as they hold nothing that one begins with."""
    assert scrub(text) == _SHAPED.sub(HIDDEN, text)


@pytest.mark.parametrize("beginning", _BEGINNINGS)
@pytest.mark.parametrize("mark", "-_")
def test_every_beginning_is_looked_for(beginning: str, mark: str) -> None:
    key = f"{beginning}{mark}0123456789abcdef"
    for text in (key, f"a {key} b", f"({key})", f"-{key}", f"task-3 desk_2\n{key}"):
        assert key not in scrub(text) and HIDDEN in scrub(text)
        assert scrub(f"a{text}") == f"a{text}" or text != key  # within a word it is none


def test_cleaning_is_idempotent_and_takes_linear_time() -> None:
    for key in KEYS:
        once = scrub(f"x {key} y")
        assert scrub(once) == once
    for hard in ("://" * 20_000, "eyJ" * 20_000, "password " * 10_000, "-----BEGIN " * 5_000, "bearer " * 10_000):
        began = time.perf_counter()
        scrub(hard)
        assert time.perf_counter() - began < 30.0

"""What a question asks for, and where it stands: in an alert's entities, or in a table that is looked up by them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Entity = dict[str, Any]
_OF_WHAT = re.compile(r"\b(?:involved|associated|related|used|linked|connected|that)\b")


@dataclass(frozen=True)
class Lookup:
    """A column of a log table, and the column by which its row is found."""

    table: str
    column: str
    by: str
    loose: bool = False
    """Whether the row holds more than the value it is found by: a computer's name with its domain."""


@dataclass(frozen=True)
class Field:
    """Something that questions ask for."""

    name: str
    asked: re.Pattern[str]
    read: Callable[[Entity], str]
    """The value in an entity of an alert, or what it is looked up by; empty where it has none."""
    lookup: Lookup | None = None


def _text(entity: Entity, *names: str) -> str:
    return next((str(entity[name]) for name in names if entity.get(name) not in (None, "")), "")


def _of(kind: str, *names: str) -> Callable[[Entity], str]:
    return lambda entity: _text(entity, *names) if _kind(entity) in kind.split("|") else ""


def _kind(entity: Entity) -> str:
    return str(entity.get("Type", "")).casefold()


def _mail_address(entity: Entity) -> str:
    if _kind(entity) == "mailbox":
        return _text(entity, "MailboxPrimaryAddress", "Upn")
    if _kind(entity) != "account":
        return ""
    name, suffix = _text(entity, "Name"), _text(entity, "UPNSuffix")
    return _text(entity, "UserPrincipalName") or (f"{name}@{suffix}" if name and suffix else "")


def _image(entity: Entity) -> str:
    image = entity.get("ImageFile") if _kind(entity) == "process" else None
    return _text(image, "Name") if isinstance(image, dict) else ""


def _sha256(entity: Entity) -> str:
    hashes = entity.get("FileHashes") if _kind(entity) == "file" else None
    found = [h for h in hashes if isinstance(h, dict)] if isinstance(hashes, list) else []
    return next((_text(h, "Value") for h in found if h.get("Algorithm") == "SHA256"), "")


def _app(name: str) -> Callable[[Entity], str]:
    return _of("cloud-application|oauth-application", *(("AppId", "OAuthAppId") if name == "id" else ("Name",)))


FIELDS: tuple[Field, ...] = tuple(
    Field(name, re.compile(asked, re.IGNORECASE), read, lookup)
    for name, asked, read, lookup in (
        (
            "user agent",
            r"user[ -]?agent",
            _of("ip", "Address"),
            Lookup("SigninLogs", "UserAgent", "IPAddress"),
        ),
        (
            "sender's IP",
            r"(?:sender'?s?|sending) IP|IP address (?:that|from which) the (?:message|e?-?mail)[\w ]* (?:sent|came)",
            _of("mailmessage", "NetworkMessageId"),
            Lookup("EmailEvents", "SenderIPv4", "NetworkMessageId"),
        ),
        (
            "public IP",
            r"(?:public|external) IP",
            _of("host", "HostName"),
            Lookup("DeviceInfo", "PublicIP", "DeviceName", loose=True),
        ),
        ("sha256 in the alert", r"sha-?256", _sha256, None),
        ("sha256", r"sha-?256|file hash", _of("file", "Name"), Lookup("DeviceFileEvents", "SHA256", "FileName")),
        (
            "parent process",
            r"process that started|parent process",
            _of("process", "ProcessId"),
            Lookup("DeviceProcessEvents", "InitiatingProcessFileName", "ProcessId"),
        ),
        ("command line", r"command[ -]?line|command used|full command", _of("process", "CommandLine"), None),
        ("process id", r"process ?id|\bpid\b", _of("process", "ProcessId"), None),
        ("SID", r"\bsid\b|security identifier", _of("account", "Sid"), None),
        (
            "object id",
            r"aad ?user ?id|object id|azure (?:ad|active directory) (?:user )?id|entra",
            _of("account", "AadUserId"),
            None,
        ),
        ("application id", r"app(?:lication)?[ -]?id", _app("id"), None),
        ("application", r"(?:application|app)\b", _app("name"), None),
        ("URL", r"\burls?\b|\blink\b|website|domain", _of("url", "Url"), None),
        ("Entra device id", r"aad ?device ?id", _of("host", "AadDeviceId"), None),
        ("device id", r"device ?id", _of("host", "MdatpDeviceId"), None),
        ("subject", r"\bsubject\b", _of("mailmessage", "Subject"), None),
        ("sender", r"\bsender\b|who sent|sent (?:the|this) (?:e-?mail|message)", _of("mailmessage", "Sender"), None),
        ("IP address", r"\bip\b|\bips\b", _of("ip", "Address"), None),
        ("mail address", r"e-?mail|principal name|\bupn\b|mailbox", _mail_address, None),
        ("host", r"host|device|machine|computer|server|endpoint|workstation", _of("host", "HostName"), None),
        ("file", r"file|script|executable|tool|malware|document", _of("file", "Name"), None),
        ("process", r"process|executable|tool|program", _image, None),
        ("user", r"user|account|who\b", _of("account", "DisplayName", "Name", "AccountName"), None),
    )
)
"""In the order in which a question is read: the first whose words it has is asked for."""


def asked_for(question: str) -> Sequence[Field]:
    """The fields whose words the question has, the likeliest first.

    What is looked up in a table is asked for in words of its own, wherever they stand; for others the question's
    beginning counts, before it tells of what the thing was involved in.
    """
    head, _ = halves(question)
    named = [field for field in FIELDS if field.asked.search(question if field.lookup else head)]
    return named or [field for field in FIELDS if field.asked.search(question)]


def halves(question: str) -> tuple[str, str]:
    """A question's beginning, which says what is asked for, and its rest, which says of what; often there is none."""
    found = _OF_WHAT.search(question)
    return (question[: found.start()], question[found.start() :]) if found else (question, "")

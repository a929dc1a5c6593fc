"""An attack as the detection products write it down: SecurityIncident, SecurityAlert, AlertInfo and AlertEvidence."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from random import Random
from typing import Any

from atlas.benchmarks.excytin.incidents.names import guid, stamp
from atlas.benchmarks.excytin.incidents.records import Alert, Attack, Company, Entity

Row = tuple[str, dict[str, str]]
"""A table and the columns that are not empty."""


def attack_rows(attack: Attack, within: Company, rng: Random) -> Iterator[Row]:
    """The incident and all of its alerts."""
    for alert in attack.alerts:
        yield from alert_rows(alert, within, rng, incident=attack.number)
    first, last = attack.alerts[0].time, attack.alerts[-1].time
    made = first + timedelta(minutes=rng.randint(4, 50))
    yield (
        "SecurityIncident",
        {
            "TenantId": within.tenant,
            "TimeGenerated": stamp(last + timedelta(minutes=rng.randint(5, 90))),
            "IncidentName": attack.guid,
            "Title": attack.title,
            "Severity": max((alert.stage.severity for alert in attack.alerts), key=_SEVERITIES.index),
            "Status": rng.choice(("New", "Active", "Active")),
            "Owner": json.dumps({"assignedTo": None}),
            "ProviderName": "Microsoft XDR",
            "ProviderIncidentId": str(attack.number),
            "FirstActivityTime": stamp(first),
            "LastActivityTime": stamp(last),
            "CreatedTime": stamp(made),
            "IncidentNumber": str(attack.number),
            "AlertIds": json.dumps([alert.id for alert in attack.alerts], separators=(",", ":")),
            "AdditionalData": json.dumps(
                {
                    "alertsCount": len(attack.alerts),
                    "tactics": list(dict.fromkeys(alert.stage.tactic for alert in attack.alerts)),
                }
            ),
            "SourceSystem": "Azure",
            "Type": "SecurityIncident",
        },
    )


_SEVERITIES = ("Informational", "Low", "Medium", "High")


def alert_rows(alert: Alert, within: Company, rng: Random, incident: int) -> Iterator[Row]:
    """One alert in the three tables that tell of it."""
    stage, seen = alert.stage, stamp(alert.time + timedelta(seconds=rng.randint(20, 900)))
    host = alert.first("host")
    vendor = guid(rng)
    yield (
        "SecurityAlert",
        {
            "TenantId": within.tenant,
            "TimeGenerated": seen,
            "DisplayName": stage.title,
            "AlertName": stage.title,
            "AlertSeverity": stage.severity,
            "Description": stage.description,
            "ProviderName": stage.provider,
            "VendorName": "Microsoft",
            "VendorOriginalId": vendor,
            "SystemAlertId": alert.id,
            "AlertType": stage.technique,
            "IsIncident": "False",
            "StartTime": stamp(alert.time),
            "EndTime": stamp(alert.time + timedelta(seconds=rng.randint(1, 60))),
            "ProcessingEndTime": seen,
            "ExtendedProperties": json.dumps({"IncidentId": str(incident), "Category": stage.tactic}),
            "Entities": json.dumps(list(_entities(alert.entities)), separators=(",", ":")),
            "SourceSystem": "Detection",
            "ProductName": stage.service,
            "Status": "New",
            "CompromisedEntity": host.fields["name"] if host else "",
            "Tactics": stage.tactic,
            "Techniques": json.dumps([stage.technique]),
            "Type": "SecurityAlert",
        },
    )
    common = {
        "TenantId": within.tenant,
        "TimeGenerated": seen,
        "Timestamp": seen,
        "AlertId": vendor,
        "Title": stage.title,
        "ServiceSource": stage.service,
        "DetectionSource": stage.detection,
        "AttackTechniques": json.dumps([stage.technique]),
    }
    yield "AlertInfo", common | {"Category": stage.tactic, "Severity": stage.severity, "Type": "AlertInfo"}
    for entity in alert.entities:
        kind, columns = _EVIDENCE[entity.kind]
        yield (
            "AlertEvidence",
            common
            | {"Categories": json.dumps([stage.tactic]), "EntityType": kind, "EvidenceRole": "Related"}
            | {column: entity.fields[part] for column, part in columns.items()}
            | {"AdditionalFields": json.dumps(_JSON[entity.kind](entity.fields)), "Type": "AlertEvidence"},
        )


def _entities(found: tuple[Entity, ...]) -> Iterator[dict[str, Any]]:
    for number, entity in enumerate(found, 2):
        yield {"$id": str(number), **_JSON[entity.kind](entity.fields)}


_JSON: dict[str, Callable[[dict[str, str]], dict[str, Any]]] = {
    "account": lambda f: {
        "Name": f["login"],
        "UPNSuffix": f["upn"].partition("@")[2],
        "Sid": f["sid"],
        "AadUserId": f["object"],
        "DisplayName": f["display"],
        "UserPrincipalName": f["upn"],
        "Type": "account",
    },
    "host": lambda f: {
        "HostName": f["name"],
        "DnsDomain": f["fqdn"].partition(".")[2],
        "MdatpDeviceId": f["device"],
        "OSFamily": "Windows",
        "Type": "host",
    },
    "ip": lambda f: {"Address": f["address"], "Type": "ip"},
    "url": lambda f: {"Url": f["url"], "Type": "url"},
    "file": lambda f: {"Name": f["name"], "Directory": f["folder"], "Type": "file"},
    "process": lambda f: {
        "ProcessId": f["pid"],
        "CommandLine": f["command"],
        "ImageFile": {"Name": f["image"], "Type": "file"},
        "Type": "process",
    },
    "mail": lambda f: {
        "Sender": f["sender"],
        "Subject": f["subject"],
        "NetworkMessageId": f["message"],
        "Type": "mailMessage",
    },
    "app": lambda f: {"AppId": f["id"], "Name": f["name"], "Type": "cloud-application"},
}
"""How SecurityAlert writes an entity. What is missing here stands only in other tables: ``questions`` asks for it."""

_EVIDENCE: dict[str, tuple[str, dict[str, str]]] = {
    "account": (
        "User",
        {"AccountName": "login", "AccountSid": "sid", "AccountObjectId": "object", "AccountUpn": "upn"},
    ),
    "host": ("Machine", {"DeviceId": "device", "DeviceName": "fqdn"}),
    "ip": ("Ip", {"RemoteIP": "address"}),
    "url": ("Url", {"RemoteUrl": "url"}),
    "file": ("File", {"FileName": "name", "FolderPath": "folder", "SHA1": "sha1"}),
    "process": ("Process", {"ProcessCommandLine": "command"}),
    "mail": ("MailMessage", {"NetworkMessageId": "message", "EmailSubject": "subject"}),
    "app": ("CloudApplication", {"Application": "name", "OAuthApplicationId": "id"}),
}

"""What an attack leaves in the logs besides its alerts: one function for each word of a stage's ``logs``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from random import Random

from atlas.benchmarks.excytin.incidents.alert_rows import Row
from atlas.benchmarks.excytin.incidents.names import guid, outside, stamp
from atlas.benchmarks.excytin.incidents.records import Alert, Company, Entity

_FAILED = 12
"""Failed sign-ins before the one that worked."""


def activity(alert: Alert, within: Company, rng: Random) -> Iterator[Row]:
    """The rows of one alert's activity, a few seconds before the alert."""
    for word in alert.stage.logs:
        for table, columns in _LOGS[word](alert, within, rng):
            seen = stamp(alert.time - timedelta(seconds=rng.randint(0, 40), microseconds=rng.randrange(10**6)))
            common = {"TenantId": within.tenant, "TimeGenerated": seen, "Timestamp": seen, "Type": table}
            yield table, common | columns


def device_columns(host: Entity) -> dict[str, str]:
    return {"DeviceId": host.fields["device"], "DeviceName": host.fields["fqdn"]}


def account_columns(account: Entity | None, within: Company) -> dict[str, str]:
    if account is None:
        return {"AccountDomain": "nt authority", "AccountName": "system", "AccountSid": "S-1-5-18"}
    return {
        "AccountDomain": within.prefix,
        "AccountName": account.fields["login"],
        "AccountSid": account.fields["sid"],
        "AccountObjectId": account.fields["object"],
        "AccountUpn": account.fields["upn"],
    }


def _process(alert: Alert, within: Company, rng: Random) -> Iterator[Row]:
    for process in alert.of("process"):
        for host in alert.of("host")[:1]:
            yield (
                "DeviceProcessEvents",
                {
                    **device_columns(host),
                    **account_columns(alert.first("account"), within),
                    "ActionType": "ProcessCreated",
                    "FileName": process.fields["image"],
                    "FolderPath": f"C:\\Windows\\{process.fields['image']}",
                    "InitiatingProcessFileName": process.fields["parent"],
                    "InitiatingProcessId": str(rng.randint(1_000, 60_000)),
                    "ProcessCommandLine": process.fields["command"],
                    "ProcessCreationTime": stamp(alert.time),
                    "ProcessId": process.fields["pid"],
                },
            )


def _file(alert: Alert, within: Company, rng: Random) -> Iterator[Row]:
    for file in alert.of("file"):
        for host in alert.of("host")[-1:]:
            account = alert.first("account")
            yield (
                "DeviceFileEvents",
                {
                    **device_columns(host),
                    "ActionType": "FileCreated",
                    "FileName": file.fields["name"],
                    "FolderPath": f"{file.fields['folder']}\\{file.fields['name']}",
                    "FileSize": str(rng.randint(4_000, 9_000_000)),
                    "InitiatingProcessAccountName": account.fields["login"] if account else "system",
                    "SHA1": file.fields["sha1"],
                    "SHA256": file.fields["sha256"],
                },
            )


def _network(alert: Alert, within: Company, rng: Random) -> Iterator[Row]:
    url = alert.first("url")
    for host in alert.of("host")[:1]:
        for address in alert.of("ip") or [Entity("ip", {"address": outside(rng)})]:
            for _ in range(rng.randint(2, 6)):
                yield (
                    "DeviceNetworkEvents",
                    {
                        **device_columns(host),
                        "ActionType": "ConnectionSuccess",
                        "LocalIP": host.fields["inside"],
                        "LocalPort": str(rng.randint(49_152, 65_535)),
                        "Protocol": "Tcp",
                        "RemoteIP": address.fields["address"],
                        "RemotePort": rng.choice(("443", "443", "8443", "80")),
                        "RemoteUrl": url.fields["url"] if url else "",
                    },
                )


def _logon(alert: Alert, within: Company, rng: Random) -> Iterator[Row]:
    hosts, address = alert.of("host"), alert.first("ip")
    target, source = hosts[-1], hosts[0] if len(hosts) > 1 else None
    yield (
        "DeviceLogonEvents",
        {
            **device_columns(target),
            **account_columns(alert.first("account"), within),
            "ActionType": "LogonSuccess",
            "IsLocalAdmin": "True",
            "LogonId": str(rng.randrange(10**8)),
            "LogonType": "RemoteInteractive" if address else "Network",
            "RemoteDeviceName": source.fields["name"] if source else "",
            "RemoteIP": address.fields["address"] if address else source.fields["inside"] if source else "",
        },
    )


def _failures(alert: Alert, within: Company, rng: Random) -> Iterator[Row]:
    address, account, host = alert.first("ip"), alert.first("account"), alert.first("host")
    for _ in range(_FAILED):
        other = account if host else rng.choice(within.people)
        if host and address:
            yield (
                "DeviceLogonEvents",
                {
                    **device_columns(host),
                    **account_columns(other, within),
                    "ActionType": "LogonFailed",
                    "FailureReason": "InvalidUserNameOrPassword",
                    "LogonType": "RemoteInteractive",
                    "RemoteIP": address.fields["address"],
                },
            )
        elif address and other:
            yield "SigninLogs", signin_columns(other, address, rng) | {"ResultType": "50126"}


def signin_columns(account: Entity, address: Entity, rng: Random) -> dict[str, str]:
    return {
        "OperationName": "Sign-in activity",
        "Category": "SignInLogs",
        "ResultType": "0",
        "CorrelationId": guid(rng),
        "Identity": account.fields["display"],
        "Location": address.fields.get("country", "NL"),
        "AppDisplayName": "Office 365 Exchange Online",
        "ClientAppUsed": "Browser",
        "ConditionalAccessStatus": "notApplied",
        "IPAddress": address.fields["address"],
        "UserAgent": address.fields.get("agent", ""),
        "UserDisplayName": account.fields["display"],
        "UserId": account.fields["object"],
        "UserPrincipalName": account.fields["upn"],
        "UserType": "Member",
    }


def _signin(alert: Alert, within: Company, rng: Random) -> Iterator[Row]:
    address, account, app = alert.first("ip"), alert.first("account"), alert.first("app")
    if address and account:
        risky = {"RiskLevelDuringSignIn": "high", "RiskState": "atRisk"}
        used = {"AppDisplayName": app.fields["name"], "AppId": app.fields["id"]} if app else {}
        yield "SigninLogs", signin_columns(account, address, rng) | risky | used


def _email(alert: Alert, within: Company, rng: Random) -> Iterator[Row]:
    account = alert.first("account")
    for mail in alert.of("mail"):
        message = {"NetworkMessageId": mail.fields["message"], "ReportId": guid(rng)}
        urls = alert.of("url")
        yield (
            "EmailEvents",
            {
                **message,
                "DeliveryAction": "Delivered",
                "DeliveryLocation": "Inbox/folder",
                "EmailDirection": "Inbound",
                "RecipientEmailAddress": account.fields["upn"] if account else "",
                "RecipientObjectId": account.fields["object"] if account else "",
                "SenderFromAddress": mail.fields["sender"],
                "SenderFromDomain": mail.fields["sender"].partition("@")[2],
                "SenderIPv4": mail.fields["sender_ip"],
                "Subject": mail.fields["subject"],
                "ThreatTypes": "Phish",
                "UrlCount": str(len(urls)),
            },
        )
        for url in urls:
            domain = url.fields["url"].split("/")[2]
            yield "EmailUrlInfo", {**message, "Url": url.fields["url"], "UrlDomain": domain, "UrlLocation": "Body"}


def _click(alert: Alert, within: Company, rng: Random) -> Iterator[Row]:
    account, url, host = alert.first("account"), alert.first("url"), alert.first("host")
    if account and url:
        yield (
            "UrlClickEvents",
            {
                "Url": url.fields["url"],
                "ActionType": "ClickAllowed",
                "AccountUpn": account.fields["upn"],
                "Workload": "Email",
                "IPAddress": host.fields["public"] if host else "",
                "IsClickedThrough": "True",
            },
        )


def _office(alert: Alert, within: Company, rng: Random) -> Iterator[Row]:
    account, address = alert.first("account"), alert.first("ip")
    rule = {"Operation": "New-InboxRule", "Parameters": json.dumps([{"Name": "MoveToFolder", "Value": "RSS Feeds"}])}
    read = {"Operation": "MailItemsAccessed", "Parameters": "[]"}
    if account:
        yield (
            "OfficeActivity",
            {
                **(rule if alert.stage.tactic != "Collection" else read),
                "RecordType": "ExchangeAdmin",
                "OfficeWorkload": "Exchange",
                "ResultStatus": "True",
                "UserId": account.fields["upn"],
                "MailboxOwnerUPN": account.fields["upn"],
                "ClientIP": address.fields["address"] if address else "",
                "UserAgent": address.fields.get("agent", "") if address else "",
            },
        )


def _cloudfile(alert: Alert, within: Company, rng: Random) -> Iterator[Row]:
    account, url = alert.first("account"), alert.first("url")
    for file in alert.of("file"):
        if account:
            yield (
                "OfficeActivity",
                {
                    "Operation": "FileDownloaded",
                    "RecordType": "SharePointFileOperation",
                    "OfficeWorkload": "SharePoint",
                    "UserId": account.fields["upn"],
                    "SourceFileName": file.fields["name"],
                    "Site_Url": url.fields["url"] if url else "",
                },
            )
            extra = json.dumps({"FileName": file.fields["name"], "SHA256": file.fields["sha256"]})
            yield (
                "CloudAppEvents",
                {
                    "ActionType": "FileDownloaded",
                    "Application": "Microsoft SharePoint Online",
                    "AccountDisplayName": account.fields["display"],
                    "AccountObjectId": account.fields["object"],
                    "ObjectName": file.fields["name"],
                    "RawEventData": extra,
                },
            )


def _device(alert: Alert, within: Company, rng: Random) -> Iterator[Row]:
    for host in alert.of("host")[:1]:
        columns = {**device_columns(host), **account_columns(alert.first("account"), within)}
        yield "DeviceEvents", columns | {"ActionType": "UsbDriveMounted"}


def _audit(alert: Alert, within: Company, rng: Random) -> Iterator[Row]:
    account, app, address = alert.first("account"), alert.first("app"), alert.first("ip")
    if account and app:
        by = {"user": {"id": account.fields["object"], "userPrincipalName": account.fields["upn"]}}
        if address:
            by["user"]["ipAddress"] = address.fields["address"]
        what = "Consent to application" if alert.stage.technique == "T1528" else "Update application - credentials"
        yield (
            "AuditLogs",
            {
                "OperationName": what,
                "ActivityDisplayName": what,
                "Category": "ApplicationManagement",
                "Identity": account.fields["display"],
                "InitiatedBy": json.dumps(by),
                "Result": "success",
                "TargetResources": json.dumps([{"displayName": app.fields["name"], "id": app.fields["id"]}]),
            },
        )


def _graph(alert: Alert, within: Company, rng: Random) -> Iterator[Row]:
    app, address = alert.first("app"), alert.first("ip")
    if app and address:
        for _ in range(rng.randint(6, 15)):
            person = rng.choice(within.people)
            yield (
                "MicrosoftGraphActivityLogs",
                {
                    "RequestId": guid(rng),
                    "RequestMethod": "GET",
                    "ResponseStatusCode": "200",
                    "IPAddress": address.fields["address"],
                    "UserAgent": address.fields["agent"],
                    "RequestUri": f"https://graph.microsoft.com/v1.0/users/{person.fields['object']}/messages",
                    "AppId": app.fields["id"],
                    "Scopes": "Mail.Read",
                },
            )


def _directory(alert: Alert, within: Company, rng: Random) -> Iterator[Row]:
    hosts, account, address = alert.of("host"), alert.first("account"), alert.first("ip")
    yield (
        "IdentityDirectoryEvents",
        {
            **account_columns(account, within),
            "ActionType": alert.stage.title,
            "Application": "Active Directory",
            "DeviceName": hosts[0].fields["fqdn"],
            "DestinationDeviceName": hosts[-1].fields["name"],
            "IPAddress": address.fields["address"] if address else hosts[0].fields["inside"],
        },
    )


_LOGS: dict[str, Callable[[Alert, Company, Random], Iterator[Row]]] = {
    "process": _process,
    "file": _file,
    "network": _network,
    "logon": _logon,
    "failures": _failures,
    "signin": _signin,
    "email": _email,
    "click": _click,
    "office": _office,
    "cloudfile": _cloudfile,
    "device": _device,
    "audit": _audit,
    "graph": _graph,
    "directory": _directory,
}

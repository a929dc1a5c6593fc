"""The life of a company: rows that have nothing to do with an attack, as many as are asked for, one at a time."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import accumulate
from random import Random

from atlas.benchmarks.excytin.incidents.activity import account_columns, device_columns, signin_columns
from atlas.benchmarks.excytin.incidents.alert_rows import Row
from atlas.benchmarks.excytin.incidents.names import outside, stamp, syllables
from atlas.benchmarks.excytin.incidents.records import Company, Entity

_DAYS = 14
_IMAGES = ("chrome.exe", "svchost.exe", "outlook.exe", "excel.exe", "teams.exe", "powershell.exe", "msiexec.exe")
_APPS = (
    "Office 365 Exchange Online",
    "Microsoft Teams",
    "Office 365 SharePoint Online",
    "Azure Portal",
    "Windows Sign In",
)
_SUBJECTS = ("Minutes of {}", "Lunch on {}?", "{} report", "Fwd: {} figures", "Invitation: {} review")


def noise(within: Company, rows: int, start: datetime, rng: Random) -> Iterator[Row]:
    """So many rows of the fortnight around ``start``, spread over the tables as a company's logs are."""
    first = start - timedelta(days=_DAYS // 2)
    world = _World(within, rng)
    kinds, weights = list(_KINDS), list(accumulate(_KINDS.values()))
    seconds = _DAYS * 86_400
    clock = "%Y-%m-%d %H:%M:%S"
    for _ in range(rows):
        make = kinds[bisect(weights, rng.random() * weights[-1])]
        when = (first + timedelta(seconds=rng.randrange(seconds))).strftime(clock)
        seen = f"{when}.{rng.randrange(10**6):06}+00:00"
        table, columns = make(world, rng)
        columns["TenantId"], columns["TimeGenerated"], columns["Timestamp"] = within.tenant, seen, seen
        columns["Type"] = table
        yield table, columns
    for host in within.computers:
        yield "DeviceInfo", inventory(host, within, rng, stamp(first + timedelta(seconds=rng.randrange(seconds))))


def inventory(host: Entity, within: Company, rng: Random, seen: str) -> dict[str, str]:
    """A computer as DeviceInfo describes it."""
    return {
        **device_columns(host),
        "TenantId": within.tenant,
        "TimeGenerated": seen,
        "Timestamp": seen,
        "OSPlatform": rng.choice(("Windows10", "Windows11", "WindowsServer2022")),
        "OSVersion": "10.0",
        "OSBuild": str(rng.choice((19045, 22631, 20348))),
        "PublicIP": host.fields["public"],
        "DeviceCategory": "Endpoint",
        "Type": "DeviceInfo",
    }


class _World:
    """Where the company's people usually are and what they usually contact."""

    def __init__(self, within: Company, rng: Random) -> None:
        self.company = within
        self.homes = [
            Entity(
                "ip", {"address": outside(rng), "agent": f"Mozilla/5.0 (Windows NT 10.0) Edg/{rng.randint(90, 140)}"}
            )
            for _ in within.people
        ]
        self.sites = [(f"{syllables(rng)}.example", outside(rng)) for _ in range(200)]

    def person(self, rng: Random) -> tuple[Entity, Entity]:
        number = int(rng.random() * len(self.homes))
        return self.company.people[number], self.homes[number]


def _process(world: _World, rng: Random) -> Row:
    image = rng.choice(_IMAGES)
    return "DeviceProcessEvents", {
        **device_columns(rng.choice(world.company.computers)),
        **account_columns(rng.choice(world.company.people), world.company),
        "ActionType": "ProcessCreated",
        "FileName": image,
        "FolderPath": f"C:\\Program Files\\{image}",
        "InitiatingProcessFileName": rng.choice(_IMAGES),
        "ProcessCommandLine": f"{image} --type={rng.randrange(10**6)}",
        "ProcessId": str(rng.randint(1_000, 60_000)),
    }


def _network(world: _World, rng: Random) -> Row:
    host = rng.choice(world.company.computers)
    site, address = rng.choice(world.sites)
    return "DeviceNetworkEvents", {
        **device_columns(host),
        "ActionType": "ConnectionSuccess",
        "InitiatingProcessFileName": rng.choice(_IMAGES),
        "LocalIP": host.fields["inside"],
        "Protocol": "Tcp",
        "RemoteIP": address,
        "RemotePort": "443",
        "RemoteUrl": f"https://{site}/{rng.randrange(10**4)}",
    }


def _file(world: _World, rng: Random) -> Row:
    name = f"~{rng.getrandbits(40):010x}.tmp"
    return "DeviceFileEvents", {
        **device_columns(rng.choice(world.company.computers)),
        "ActionType": rng.choice(("FileCreated", "FileModified", "FileDeleted")),
        "FileName": name,
        "FolderPath": f"C:\\Users\\Public\\Documents\\{name}",
        "FileSize": str(rng.randrange(10**7)),
        "InitiatingProcessFileName": rng.choice(_IMAGES),
        "SHA1": f"{rng.getrandbits(160):040x}",
        "SHA256": f"{rng.getrandbits(256):064x}",
    }


def _logon(world: _World, rng: Random) -> Row:
    return "DeviceLogonEvents", {
        **device_columns(rng.choice(world.company.computers)),
        **account_columns(rng.choice(world.company.people), world.company),
        "ActionType": "LogonSuccess" if rng.random() < 0.95 else "LogonFailed",
        "LogonType": rng.choice(("Interactive", "Network", "CachedInteractive")),
    }


def _signin(world: _World, rng: Random) -> Row:
    account, home = world.person(rng)
    columns = signin_columns(account, home, rng)
    columns["AppDisplayName"] = rng.choice(_APPS)
    columns["ResultType"] = "0" if rng.random() < 0.93 else "50126"
    return "SigninLogs", columns


def _silent(world: _World, rng: Random) -> Row:
    account, home = world.person(rng)
    columns = signin_columns(account, home, rng)
    columns["AppDisplayName"] = rng.choice(_APPS)
    columns["Category"] = "NonInteractiveUserSignInLogs"
    return "AADNonInteractiveUserSignInLogs", columns


def _email(world: _World, rng: Random) -> Row:
    recipient, _ = world.person(rng)
    sender, home = world.person(rng)
    return "EmailEvents", {
        "NetworkMessageId": f"{rng.getrandbits(128):032x}",
        "DeliveryAction": "Delivered",
        "EmailDirection": "Intra-org",
        "RecipientEmailAddress": recipient.fields["upn"],
        "SenderFromAddress": sender.fields["upn"],
        "SenderFromDomain": world.company.domain,
        "SenderIPv4": home.fields["address"],
        "Subject": rng.choice(_SUBJECTS).format(rng.choice(world.sites)[0].partition(".")[0]),
    }


def _office(world: _World, rng: Random) -> Row:
    account, home = world.person(rng)
    return "OfficeActivity", {
        "Operation": rng.choice(("MailItemsAccessed", "FileAccessed", "FileModified", "Send")),
        "OfficeWorkload": rng.choice(("Exchange", "SharePoint")),
        "ResultStatus": "Succeeded",
        "UserId": account.fields["upn"],
        "ClientIP": home.fields["address"],
        "SourceFileName": f"{rng.choice(world.sites)[0].partition('.')[0]}-{rng.randrange(999)}.xlsx",
    }


def _identity(world: _World, rng: Random) -> Row:
    account, home = world.person(rng)
    return "IdentityLogonEvents", {
        **account_columns(account, world.company),
        "ActionType": "LogonSuccess",
        "Application": "Active Directory",
        "Protocol": "Kerberos",
        "AccountDisplayName": account.fields["display"],
        "IPAddress": home.fields["address"],
    }


def _cloud(world: _World, rng: Random) -> Row:
    account, home = world.person(rng)
    return "CloudAppEvents", {
        "ActionType": rng.choice(("FileAccessed", "MessageSent", "FolderViewed")),
        "Application": rng.choice(("Microsoft Teams", "Microsoft SharePoint Online")),
        "AccountDisplayName": account.fields["display"],
        "AccountObjectId": account.fields["object"],
        "IPAddress": home.fields["address"],
    }


def _audit(world: _World, rng: Random) -> Row:
    account, _ = world.person(rng)
    what = rng.choice(("Update user", "Add member to group", "Update device"))
    return "AuditLogs", {
        "OperationName": what,
        "ActivityDisplayName": what,
        "Identity": account.fields["display"],
        "Result": "success",
    }


def _graph(world: _World, rng: Random) -> Row:
    account, home = world.person(rng)
    return "MicrosoftGraphActivityLogs", {
        "RequestMethod": "GET",
        "ResponseStatusCode": "200",
        "IPAddress": home.fields["address"],
        "RequestUri": "https://graph.microsoft.com/v1.0/me",
        "UserId": account.fields["object"],
    }


def _click(world: _World, rng: Random) -> Row:
    account, home = world.person(rng)
    return "UrlClickEvents", {
        "Url": f"https://{rng.choice(world.sites)[0]}/",
        "ActionType": "ClickAllowed",
        "AccountUpn": account.fields["upn"],
        "Workload": "Teams",
        "IPAddress": home.fields["address"],
    }


_KINDS: dict[Callable[[_World, Random], Row], float] = {
    _process: 22,
    _network: 22,
    _signin: 14,
    _file: 10,
    _logon: 8,
    _silent: 8,
    _email: 6,
    _office: 4,
    _identity: 2,
    _cloud: 1.5,
    _audit: 1,
    _graph: 1,
    _click: 0.5,
}
"""What kinds of rows there are, and how many of a hundred rows are of each."""

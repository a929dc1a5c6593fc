"""What is read in tasks, actions and observations, whatever the environment: things that can be looked up, refusals,
doubt."""

from __future__ import annotations

import re
from functools import lru_cache

REFUSALS = re.compile(
    r"^(?:\(\d{4}, [\"']|\d{4} \(\w{5}\):|\W*(?:nothing happens\b|traceback\b"
    r"|(?:\w+ )?\w*(?:error|exception)[\"']?\s*[:(]"
    r"|(?:invalid|unknown|unrecogni[sz]ed|illegal|no such|not (?:a )?valid)\b"
    r"|(?:i |you )?(?:can(?:no|')t|do(?:n't| not) understand)\b))",
    re.IGNORECASE,
)
"""How environments and tools begin to say that an action was not done. Pass another pattern where yours differ."""

NOTHING = re.compile(
    r"\b(?:no (?:[\w-]+ ){0,3}(?:evidence|records?|log|logs|data|information|entries|results|match\w*)"
    r"|(?:not|n't) (?:be )?(?:[\w-]+ )?(?:found|identified|determined|available|identify|determine|contain|present"
    r"|possible|recorded|provided|sufficient)"
    r"|(?:cannot|unable to|could not) |none found|unknown|n/a)"
    r"|^\W*no\b",
    re.IGNORECASE,
)
"""How an answer says that nothing was found."""
DOUBT = re.compile(
    r"\b(?:likely|probably|possibly|may|might|appears?|seems?|assum\w+|suggest\w*|presum\w+|could be|perhaps"
    r"|plausibl\w+|infer\w*)\b",
    re.IGNORECASE,
)

_KINDS = (
    ("time", r"\d{4}-\d\d-\d\d[t ]\d\d:\d\d(?::\d\d)?"),
    ("email", r"(?<![\w.+-])[\w.+-]++(?: \w)?@[\w-]+(?:\.[\w-]+)+"),
    ("url", r"\b(?:https?|hxxps?)://[^\s'\"`,<>)\]}]+"),
    ("ip", r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?!\.?\d)|(?<![:\w])(?:[0-9a-f]{1,4}:){3,7}[0-9a-f:]+(?![:\w])"),
    ("guid", r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b"),
    ("sid", r"\bS-1-[\d-]{4,}"),
    ("hash", r"\b[0-9a-f]{32,64}\b"),
    (
        "file",
        r"\b(?<!\w-)\w[\w-]{0,119}+(?:\.[\w-]{1,120}+){0,6}?\."
        r"(?:exe|dll|ps1|bat|cmd|vbs|js|docm?x?|xlsx?|7z|zip|txt|lnk|sys|msi|eml|html?|pdf)\b",
    ),
    ("host", r"\b[a-z]+-[a-z0-9]+(?:-[a-z0-9]+)*\b"),
    ("number", r"(?<![\w.:-])\d+(?![\w.:-])"),
    ("name", r"(?<![\w@.\\/-])[\w@.\\/-]*(?:\d|[._\\/@-]\w)[\w@.\\/-]*"),
)
KINDS = {kind: re.compile(pattern, re.IGNORECASE) for kind, pattern in _KINDS}
"""Things that stand in texts as they are, and can be looked up; where two kinds fit, the first one counts."""

_ASKED = (
    ("ip", r"\bip\b", "ip"),
    ("email", r"e-?mail|\bupn\b|principal name", "email"),
    ("url", r"\burls?\b|link|domain|website", "url host name"),
    ("guid", r"\b(?:object|aad|azure|app|application|user|device|tenant|session) ?(?:user ?|device ?)?id\b",
     "guid number name"),
    ("sid", r"\bsid\b|security identifier", "sid"),
    ("hash", r"hash|\bsha", "hash"),
    ("file", r"\bfile|process name|name of the process|executable|script", "file"),
    ("time", r"\bwhen\b|\btime\b|\bdate\b|timestamp", "time"),
    ("host", r"\bhost|device|machine|computer", "host"),
    ("number", r"process id|\bpid\b|how many|number", "number"),
    ("command", r"command", "file name"),
    ("user", r"\busers?\b|account|\bwho\b", "email name host"),
)  # fmt: skip
ASKED = {kind: re.compile(pattern, re.IGNORECASE) for kind, pattern, _ in _ASKED}
FITS = {kind: frozenset(fits.split()) for kind, _, fits in _ASKED}
"""Kinds of things that a question may ask for, and the kinds of :data:`KINDS` that may answer it."""

LOOKS = re.compile(r"^\W*(?:execute\W*)?(?:describe|show|explain|pragma)\b|information_schema", re.IGNORECASE)
"""Statements that list a schema: names of columns are no evidence."""

_SENTENCE = re.compile(r"(?<=[.?!])\s+")
_ROWS = re.compile(r"\), \(|\}, ?\{|\n")
_SLASHES = re.compile(r"\\+")


@lru_cache(maxsize=4096)
def things(text: str) -> dict[str, str]:
    """The things that ``text`` names, in small letters, each with its kind. Not to be changed."""
    found: dict[str, str] = {}
    taken: list[tuple[int, int]] = []
    for kind, pattern in KINDS.items():
        for match in pattern.finditer(text):
            begin, end = match.span()
            if not any(b < end and begin < e for b, e in taken):
                taken.append((begin, end))
                found.setdefault(match[0].strip(".,;:'\"`").casefold(), kind)
    return found


def question(text: str) -> str:
    """The last sentence of a task: mostly what is asked."""
    return _SENTENCE.split(text.strip())[-1]


def plain(text: str) -> str:
    """In small letters, with one backslash for any number of them: rows are often printed with their escapes."""
    return _SLASHES.sub(r"\\", text.casefold())


def rows(text: str) -> list[str]:
    """The rows or records of an observation."""
    return _ROWS.split(text)


def refused(observation: str) -> bool:
    return bool(REFUSALS.match(observation))


def empty(observation: str) -> bool:
    return observation.strip() in ("", "[]", "()", "{}", "None")

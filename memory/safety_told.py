"""What a text tells of attacks, in quotation marks: reports, papers and release notes quote the orders they warn of.

A recording may hold such a text, and what it quotes is no order to its reader. Two things have to be there: a word for
the matter outside all quotation marks, and a word before the quotation that announces one. Guidance has no need of it.
"""

from __future__ import annotations

import re

_MATTER = re.compile(
    r"\b(?:prompt[ -]injections?|injection attacks?|jailbreaks?|attack(?:s|ed|er|ers)?|adversar\w{1,8}|malicious|"
    r"red[ -]team\w{0,5}"
    r"|vulnerabilit\w{1,3}|phishing|researchers|untrusted)\b",
    re.IGNORECASE,
)
_QUOTED = re.compile(
    r"(\b(?:says?|said|such as|like|called|phrases?|sentences?|words|strings?|texts?|prompts?|flags|blocks|finds|"
    r"writes|reads?"
    r"|contain(?:s|ed|ing)?|for example|e\.g\.)[\s:,(]{1,4})"
    r"(?:\"[^\"\n]{3,120}\"|\u201c[^\u201d\n]{3,120}\u201d|\u2018[^\u2019\n]{3,120}\u2019|'[^'\n]{3,120}'(?!\w)|"
    r"`[^`\n]{3,120}`)",
    re.IGNORECASE,
)


def untold(text: str) -> str:
    """``text`` without what it quotes of attacks; as it is where it tells of none."""
    if not _MATTER.search(text):
        return text
    left = _QUOTED.sub(r"\1", text)
    return left if _MATTER.search(left) else text

"""What a text would have carried away, run or visited: addresses with room for what a reader knows, and commands.

A blank in a pattern is as in :mod:`atlas.memory.safety_rules`.
"""

from __future__ import annotations

_SLOT = (
    r"(?:[{<\[$]|%7b|%3c|(?<![a-z0-9+/=]{10})=(?=[)\"'>&]|$)"
    r"|[?&](?:q|d|note|msg|data|body|payload|secret|answer|prompt|history|memory|goal)="
    r"|=(?:your|user|the|my|goal|task|data|secret|token|key|prompt|password|answer|reply|history|memory|conversation"
    r"|observation|content|context|cookie|session|message)(?=[)\"'>&_\s-]|$))"
)
"""Where an address has room for what a reader knows: a placeholder, a value that is missing or named, a parameter for a
text. A picture whose address is all there carries nothing, and every second page has some."""
EXFILTRATION = (
    rf"!\[[^\]]{{0,200}}\]\(\s*(?:https?:|//)[^\s)]{{0,300}}?{_SLOT}[^)]*\)",
    # but for a picture that is all there
    r"!\[[^\]]{0,200}\]\(\s*data:(?!image/(?:png|jpe?g|gif|webp|svg\+xml);base64,)[^)]*\)",
    # what somebody does, or what was done, is told and not asked for
    r"\b(?:(?:send|post|upload|forward|transmit|exfiltrate|leak|deliver)(?!s\b|t?ed\b)(?:ing)?|be (?:sent|posted|"
    r"uploaded|forwarded|transmitted|exfiltrated|leaked|delivered)) (?:\w+ ){0,8}"
    r"(?:to|at|via|into) (?:this |the |an? |my |our )?(?:\w+ ){0,3}(?:https?://|www\.|webhook|pastebin)",
    r"\b(?:send|forward|e ?mail|mail|report|copy|leak|exfiltrate) (?:me |us )?(?:all |every |any |each )?"
    r"(?:it|them|what|everything|your|(?:of )?(?:the|this|these) (?:answer|conversation|memory|observations?|prompt"
    r"|results?|table|keys?|data|episode|file|contents?)) (?:\w+ ){0,6}to (?:\w+ ){0,3}[\w.+-]{1,64}@[\w-]",
    r"https?://[^\s)\"']{0,200}(?:\{\{?|\$\{|<|%7b|\[)(?:\w+ ){0,3}(?:secret|key|token|data|prompt|password|answer"
    r"|history|memory|conversation|observation|content)",
)
EXFILTRATION_MORE = (
    # a picture from elsewhere with such an address: by reference, and in HTML
    r"!\[[^\]]{0,200}\](?:\[[^\]]{0,100}\])?[^\[!]{0,500}\[[^\]]{1,100}\]:\s{0,5}<?(?:https?:)?//"
    rf"[^\s>]{{1,300}}?{_SLOT}",
    r"<\s{0,5}(?:img|image|source|video|audio|iframe|embed|link|object)\b[^<>]{0,300}?\b(?:src|srcset|href|data|poster)"
    rf"\s{{0,5}}=\s{{0,5}}[\"']?(?:https?:)?//[^\s\"'<>]{{1,300}}?{_SLOT}",
)
_PICTURE = r"!\[[^\]]{0,200}\]\(\s*(?:https?:|//|data:)[^)]*\)"
EXFILTRATION_STRICT = (
    _PICTURE,
    r"\b(?:send|post|upload|forward|transmit|e ?mail|mail|deliver|report)(?:ing)? (?:\w+ ){0,8}to (?:\w+ ){0,3}"
    r"[\w.+-]{1,64}@[\w-]",
)
COMMAND = (
    r"!!(?:python|ruby|java|perl|php)\b",
    r"\brm -[rf]{1,2}\b|\bsudo\s+[a-z]|\bchmod\s+(?:-\w+\s+)?(?:[+0-7]|[ugoa]{1,3}[+=-])|\bmkfs\b|\bdd if=|:\(\)\s*\{",
    r"\b(?:curl|wget|nc|ncat|scp|ssh|telnet|invoke-webrequest|iwr|iex|certutil|bitsadmin|mshta|rundll32|regsvr32)\s+"
    r"(?:-{1,2}[a-z]|[\"']?(?:https?:|[\w-]{1,63}\.[\w.-]|[\w.-]{1,63}@|\$)|\()",
    r"\b(?:powershell|pwsh|cmd|bash|sh|zsh|python3?|perl|node|ruby)(?:\.exe)?\s+(?:-{1,2}\w|/c\b)",
    r"\|\s*(?:ba|z|da)?sh\b|\$\([^)]{2,}\)",
    # a name alone as what is run carries nothing: eval(expression), subprocess.run(command, check=True)
    r"\b(?:(?:os\.(?:system|popen)|subprocess\.\w{2,20}|__import__|eval|exec|shell_exec)\s*\((?!\s*[a-z_]\w{0,30}\s*[,)]|\s*\))"
    r"|(?:child_process|runtime\.getruntime)\s*[.(])",
    r"^[\x20\t]*```\s*(?:bash|sh|shell|zsh|powershell|python|py|javascript|js|console)\b",
    # to be run, and not told of: at the beginning of a line, or after what asks for it
    r"(?:^\W{0,5}|\b(?:run|runs|execut\w{1,4}|issue|submit|use|try|send|type|enter|do|call|first|then|now|next|always|please|"
    r"must|should|need to|have to|to)\W{1,5}(?:\w{1,20}\W{1,3}){0,4})"
    r"(?:drop\s+(?:table|database|schema)|truncate\s+table|delete\s+from|insert\s+into|update\s+\w+\s+set|grant\s+all|"
    r"alter\s+(?:table|user)|load_file\s*\(|xp_cmdshell)|\binto\s+outfile\b",
    r"(?:;|'|\")\s*(?:--|/\*).{0,20}$|\bor\s+['\"]?1['\"]?\s*=\s*['\"]?1",
    r"<\s*(?:script|iframe|svg|object|embed)\b|\bjavascript\s*:|\bon(?:error|load|click)\s*=",
    # what is installed from elsewhere than where it is usual
    r"\b(?:pip|pip3|npm|yarn|pnpm|gem|cargo|brew|uv)\s+(?:\w+\s+)?(?:install|i|add|exec|tap)\b[^\n]{0,120}?"
    r"(?:\bgit\+|://|--(?:extra-)?index-url|--registry|--source\b|--find-links|\s-[if]\s)|\bnpx\s+-",
    r"\bgit\s+(?:push\s+(?:-|https?:|\w+@|--force)|clone\s|config\s|remote\s+(?:add|set-url))|/etc/(?:passwd|shadow|cron|hosts)\b|\.ssh/|~/\.\w+",
)
ADDRESS = (
    r"\b(?:https?|ftp|wss?|file|hxxps?)\s*(?::|\[:\])\s*/\s*/",
    # but for a picture that is all there
    r"\bdata:(?!image/(?:png|jpe?g|gif|webp);base64,)[a-z]+/[a-z0-9.+-]+[;,]",
    r"\bwww\s*[.\[]",
    r"\b[\w-]{1,63}(?:\s?\[?\.\]?\s?|\s?\[dot\]\s?|\s?\(dot\)\s?)(?:com|net|org|io|xyz|ru|cn|info|biz|top|link|site|"
    r"online|club|dev|app|gg|ly|onion|example|invalid|zip|click)\b(?!\()",
    r"[\w.+-]{1,64}\s?(?:@|\[at\]|\(at\))\s?[\w-]{1,63}\s?(?:\.|\[dot\]|\(dot\))\s?[a-z]{2,}",
    # of a network that is not this machine's own or its neighbours'
    r"(?<![\d.])(?!127\.|10\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.|0\.0\.0\.0|255\.)"
    r"(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d)){3}(?::\d+)?(?![\d.])",
    r"\[[^\]]{0,100}\]\(\s{0,20}[^)\s]{1,300}\)|^[\x20\t>]{0,6}\[[^\]]{1,40}\]:\s*\S+",
)

"""What text may not say when a later prompt is to show it: patterns, by kind.

Patterns look at readings in lower case (:mod:`atlas.memory.safety_readings`). A blank in a pattern stands for what may
stand between two words: up to five signs, or nothing. Lenient rules hold for everything; the others hold for guidance,
which is read as advice, and not for recorded observations, where addresses, commands and people's mails are part of
honest work.

``python -m atlas.benchmarks.poison FOLDER`` says of each what it finds and where it is wrong. They tell little, and
what keeps a reader safe is the frame.

No list of phrases is complete. These rules keep known attacks and their variations out of sight; what passes them is
still shown as framed data, and guidance has to earn its place by what it does to the outcomes.
"""

# ruff: noqa: RUF001  (letters of many alphabets are the matter of this file)

from __future__ import annotations

import re
from dataclasses import dataclass

from atlas.memory import safety_calls, safety_carried, safety_reader
from atlas.memory.safety_needs import needs_of
from atlas.memory.safety_tongues import patterns

OVERRIDE = "override"
ROLE = "role"
READER = "reader"
TOOL = "tool"
REVEAL = "reveal"
EXFILTRATION = "exfiltration"
MEMORY = "memory"
AUTHORITY = "authority"
COMMAND = "command"
ADDRESS = "address"
SECRET = "secret"
HIDDEN = "hidden"

WHY = {
    OVERRIDE: "it tells the reader to drop its instructions or to be someone else",
    ROLE: "it imitates a turn of a chat, or a token of a chat template",
    READER: "it gives orders to the model that reads it",
    TOOL: "it imitates a tool call",
    REVEAL: "it asks for prompts, keys or other secrets",
    EXFILTRATION: "it has data sent somewhere",
    MEMORY: "it wants to be remembered, or obeyed in later tasks",
    AUTHORITY: "it claims authority or urgency",
    COMMAND: "it holds a command or code to run",
    ADDRESS: "it holds an address",
    SECRET: "it holds what looks like a key or a password",
    HIDDEN: "it hides text from who looks at it",
}
"""The reason a person reads, by kind."""


@dataclass(frozen=True)
class Rule:
    """One pattern. ``leet`` rules also look at the text with digits read as letters."""

    kind: str
    pattern: re.Pattern[str]
    lenient: bool
    leet: re.Pattern[str] | None
    needs: frozenset[str] = frozenset()
    """Texts of which one stands in whatever ``pattern`` finds: looking for these first is quick. None where nobody
    knows."""
    foreign: bool = False
    """Whether it finds nothing in ASCII, which it is then not run on."""


_ALL = r"(?:all |any |every |each )?(?:of )?(?:(?:the|your|my|these|those|its|our) )?"
_EARLIER = (
    r"(?:previous(?:ly)?|prior|above|earlier|preceding|former|foregoing|original|initial|existing|current|old|given"
    r"|system)"
)
_ORDERS = (
    r"(?:\w{0,3}nstructi?ons?|directions?|directives?|rules?|prompts?|guidelines?|guidance|orders?|commands?|"
    r"constraints?|restrictions?|messages?|context|programming|training|policy|policies|safeguards?|task|goal|advice)"
)
_DROP = (
    r"(?:ignor(?:e|ing)|disregard(?:ing)?|forget(?:ting)?|overrid(?:e|ing)|bypass(?:ing)?|discard|neglect|dismiss|"
    r"skip"
    r"|cancel|erase|delete|suspend|drop|abandon|supersede|(?:do not|don t|dont|never|stop) "
    r"(?:follow(?:ing)?|obey(?:ing)?|listen(?:ing)? to|adher(?:e|ing) to|comply(?:ing)? with))"
)

_OVERRIDE = (
    rf"\b{_DROP} {_ALL}(?:{_EARLIER} )+(?:{_EARLIER} |and |or |system |user )*{_ORDERS}",
    rf"\b{_DROP} {_ALL}(?:developer|system|operator) (?:and |or )(?:all |any |the )?(?:developer|system|user|"
    rf"operator) {_ORDERS}",
    rf"\b{_DROP} (?:all |any |every )?(?:of )?(?:your|the system|my system|the developer|the user s?|the teacher s?) "
    rf"(?:{_EARLIER} |safety |system |own )*{_ORDERS}",
    rf"\b{_DROP} (?:absolutely )?(?:all|everything|anything|what(?:ever)?) "
    r"(?:(?:that )?(?:was|you were|you ve been|you have been|i|we|they) (?:\w+ )?(?:told|said|given|taught|before|"
    r"above)|(?:written |said |stated )?(?:above|before|previous(?:ly)?|prior|so far|until now)"
    r"\b(?![\x20-]{1,2}(?!and|then|but|or|in|on|from|for|to|with|as|you|now|just|only|instead|please)[a-z]))",
    rf"\b{_DROP} (?:all|the) (?:rules|instructions|guidelines|constraints|restrictions|safety)\b(?! (?:i|we) )",
    rf"\b{_ORDERS} (?:above|before|so far|given|you (?:were|have been) given)? ?(?:are|is|have been|has been) "
    rf"(?:now )?"
    r"(?:void|cancell?ed|obsolete|overridden|superseded|revoked|null|no longer (?:valid|apply|in force)|suspended)",
    r"\b(?:your|the) (?:new|real|actual|true|only|next|secret|updated) (?:\w+ )?"
    r"(?:task|goal|instructions?|objective|mission|purpose|job|orders?|role) (?:is|are|will be)\b",
    r"\b(?:new|updated|revised|real|actual|secret|hidden) (?:system |developer |agent |user )?"
    r"(?:instructions?|directives?|prompt|orders)\s*[:=>-]",
    r"\byou are (?:now|no longer|from now on|actually|really) (?:going to be |to act as )?(?:in |an? |the |my |"
    r"bound |called )*"
    r"(?:\w+ ){0,2}(?:dan|developer mode|debug mode|god mode|jail ?broken|unrestricted|unfiltered|uncensored|"
    r"assistant"
    r"|language model|ai|chat ?bot|hacker|attacker|admin(?:istrator)?|root|by (?:any|your)|an? agent that)\b",
    r"\b(?:act|behave|respond|answer|pretend|roleplay|role play) (?:as|like|to be|that you are|as if you (?:are|"
    r"were)) "
    r"(?:if )?(?:an? |the |my )?(?:\w+ ){0,2}(?:dan|admin(?:istrator)?|root|developer|unrestricted|unfiltered|"
    r"evil|hacker|attacker|system|jail ?broken|different (?:ai|assistant|agent))\b",
    r"\b(?:enter|enable|activate|switch to|turn on) (?:developer|debug|god|dan|admin|maintenance|jailbreak|sudo) "
    r"mode",
    r"\b(?:do|follow|obey|execute|perform) (?:exactly )?(?:only )?(?:the following|what (?:i|this) (?:say|note|"
    r"message)|these (?:new )?(?:instructions|steps|orders)) (?:instead|and nothing else|without (?:question|"
    r"asking))",
    r"\binstead of (?:the|your) (?:task|goal|original|given|assigned) ?(?:task|goal|instructions)?,? "
    r"(?:you (?:must|should|will|shall)|do|please|go|put|take|send|call|submit|write|say)",
    r"\b(?:end|stop|start|begin) of (?:system |user |the )?(?:prompt|instructions|conversation|context|examples|"
    r"notes)\b",
    # who reads this is taken for a machine, and asked to change what it does
    r"\b(?:if you (?:are|re)|to any|for any|for all|to all|note (?:to|for)(?: the| any| all)?|notice to(?: any| "
    r"all)?|attention|"
    r"dear|hey|hello) (?:an? |the )?(?:ai|llm|large language model|language model|coding|autonomous)? ?(?:ai|llm|"
    r"language model|assistants?|agents?|bots?|chat ?bots?)\b(?! (?:logs?|id|version|name|install))",
    r"\b(?:ai|llm)(?: coding)? (?:assistants?|agents?|systems?|models?) (?:reading|processing|reviewing|"
    r"integrating|summari[sz]ing|parsing|handling|using) (?:this|these)",
    r"\bbefore (?:you )?(?:can )?(?:solv|continu|complet|proceed|start|finish|repl|respond|answer)\w*(?: to| with)? "
    r"(?:the |your |my |this )?(?:\w+ ){0,2}(?:task|user|reply|answer|question that i)\b",
    r"\b(?:please )?do the following (?:first|instead|now|before)\b|\bthe task (?:that )?i gave you\b",
    r"\b(?:append|add|include|insert|repeat|put|write|attach|mention) (?:\w+ ){0,8}(?:in|to|at|into) (?:the end of )?"
    r"(?:your|every|each|all) (?:\w+ ){0,2}(?:summary|repl(?:y|ies)|responses?|answers?|review|output|messages?)\b",
    r"\b(?:respond|answer|reply|act|operate|behave|pretend|proceed|continue|output|you (?:are|have|now|can)|ai)\b "
    r"(?:\w+ ){0,6}"
    r"\b(?:without|with no|has no|have no|no|free (?:of|from))\b (?:any |more |further )?(?:\w+ )?(?:rules|filters?|"
    r"restrictions?|limits|limitations|content policy|guidelines|censorship|ethics)\b",
    r"\b(?:uncensored|unrestricted|unfiltered|restricted|forbidden) (?:ai|model|assistant|response|answer|output|"
    r"content|mode)\b",
    r"\b(?:safety|security|content) (?:protocols?|guidelines?|filters?|rules|policy|policies|restrictions) (?:are "
    r"|were |is |have been |has been )?"
    r"(?:now )?(?:disabled|off|lifted|suspended|not meant|do not apply|don t apply|no longer)",
    r"\b(?:decode|decipher|decrypt|translate|unscramble) (?:\w+ ){0,8}(?:and|then) (?:\w+ ){0,2}(?:execute|follow|"
    r"do (?:what|exactly|it)|run|obey|carry out)\b",
    r"\b(?:new|next) (?:directive|instruction|order|rule)s? (?:\w+ ){0,2}(?:supersedes?|replaces?|overrides?|"
    r"cancels?)\b",
    # the same in other languages
    r"\b(?:neue (?:an)?weisung(?:en)?|nouvelles? (?:instructions?|consignes?)|nuevas? instrucci\w+|nuov[ae] "
    r"istruzion[ei]|novas? instruç\w+)\s*:",
    r"\b(?:vergiss|vergessen sie) (?:alles|jede)|\boublie[zr]? tout|\bolvida(?:te)? (?:de )?todo|"
    r"\bdimentica(?:te)? tutt[oi]|\besque[çc]a tudo",
    r"\b(?:ignor|missacht|verg[ie]ss|umgeh|contourn|oublie|olvida|dimentica)\w*\W(?:\w+\W+){0,5}(?:richtlinien|"
    r"pautas|directrices|linee guida|lignes directrices|diretrizes)",
    r"\b(?:du bist (?:jetzt|nun|ab sofort)|(?:ahora|ya) est[áa]s|ahora eres|tu es (?:maintenant|désormais)|(?:ora|"
    r"adesso) sei|sei (?:ora|"
    r"adesso))\W(?:\w+\W+){0,4}(?:un(?:einge|be)schränkt|ohne|sin|sans|senza|modo|modus|mode|dan|befolgst|keine)\b",
    r"\b(?:sicherheitsrichtlinien|r[èe]gles de s[ée]curit[ée]|reglas de seguridad|linee guida di "
    r"sicurezza)\W(?:\w+\W+){0,4}(?:nicht|pas|no|non)\b",
    r"\bignor(?:iere|ieren sie|iert|a|e|ar|ez|er|ate|i)\W(?:\w+\W+){0,5}(?:anweisung|instruccion|instruç|"
    r"instrução|istruzion|consigne|regel|regole|reglas|regras|règles|regles|vorgaben|indicazion)",
    # of words that are English as well, with an article that is not
    r"\bignor(?:e|er|ez)\W(?:\w+\W+){0,2}(?:[ltmsv]es|toutes?|ces|cette|vos|l)\W(?:\w+\W+){0,3}(?:instruction|"
    r"directives)",
    r"\b(?:vergiss|vergessen sie|missachte|olvida|olvide|oublie[zr]?|dimentica(?:te)?|esqueça|esqueca|"
    r"desconsidere|negeer|vergeet|glöm|zignoruj|zapomnij|pomiń|lupakan|abaikan|bỏ qua|unut|yoksay|göz ardı "
    r"et)\W(?:\w+\W+){0,5}(?:anweisung|instruc|"
    r"instruktion|istruzion|consigne|instructies|instrukcj|polecenia|instruksi|perintah|hướng dẫn|talimat|regel|"
    r"regla|règle|regole|vorherige|anterior|précédent|precedent|vorige|poprzedni|sebelumnya)",
    r"(?:önceki|yukarıdaki) (?:tüm )?(?:talimat|komut|kural)\w* (?:yok ?say|unut|göz ?ardı)",
    r"(?:игнорируй|игнорировать|проигнорируй|забудь|не следуй|отмени)\w*\W+(?:\w+\W+){0,5}(?:инструкци|указани|"
    r"правил|команд|сказанн)",
    r"(?:ігноруй|забудь)\w*\W+(?:\w+\W+){0,5}(?:інструкці|вказівк|правил)",
    r"(?:忽略|无视|無視|忘记|忘記|不要理会|忽視)\W*(?:\w{0,12})(?:指令|指示|说明|說明|规则|規則|提示|命令|要求)",
    r"(?:以前|これまで|上記|前|すべて|全て)の?\w{0,8}(?:指示|命令|ルール|プロンプト)を?\W*(?:すべて|全て)?(?:無視|忘れ)",
    r"(?:이전|위의?|모든|앞선)[\s\S]{0,30}?(?:지시|명령|지침|규칙)[\s\S]{0,20}?(?:무시|잊)",
    r"(?:تجاهل|انس|لا تتبع)\W*(?:\w+\W+){0,4}(?:التعليمات|الأوامر|القواعد|تعليمات|أوامر)",
    r"(?:पिछले|पहले|सभी|उपरोक्त)[\s\S]{0,30}(?:निर्देश|आदेश|नियम)[\s\S]{0,30}(?:अनदेखा|भूल|नज़रअंदाज़|नजरअंदाज)",
    r"(?:התעלם|שכח)\W*(?:\w+\W+){0,4}(?:ההוראות|הוראות|הכללים)",
    r"(?:αγνόησε|ξέχασε)\W*(?:\w+\W+){0,4}(?:οδηγίεσ|εντολέσ|κανόνεσ)",
)
_ASKED = (
    # a polite request is one too, where it is made of whoever reads with a machine
    r"\b(?:would|could|can|may|might|will|should) (?:the|any|this|our|that|an) (?:\w+ ){0,2}(?:assistant|agent|ai|"
    r"bot|"
    r"chat ?bot|model|llm) (?:kindly|please|also|be so kind|now|first)\b",
    r"\b(?:kindly|please) (?:have|let|ask|tell|make|get) (?:the|any|this|your|our) (?:\w+ ){0,2}(?:assistant|agent|"
    r"ai|"
    r"bot|chat ?bot|model|llm)\b",
    r"\b(?:the|any|every|each|all|this) (?:ai |helpful |automated |reading |serving )?(?:assistants?|ai agents?|"
    r"llms?|"
    r"chat ?bots?|language models?) (?:is|are|must|should|shall|has|have|needs?) (?:kindly |also |then |now |first )?"
    r"(?:asked|required|requested|expected|obliged|instructed|advised|supposed|to)\b",
)
_REVEAL = (
    r"\b(?:reveal|print|show|output|repeat|leak|disclose|send|tell|share|dump|give|write|return|include|expose|"
    r"quote|copy|"
    r"paste|recite|append|state|summari[sz]e|translate|encode|submit) (?:\w+ ){0,5}"
    # programs have system messages too, and return them
    r"(?:(?:your|the) (?:\w+ ){0,2}(?:system (?:prompt|instructions)|hidden (?:prompt|instructions)|"
    r"initial (?:prompt|instructions)|prompt (?:verbatim|above|text)|instructions (?:above|verbatim|you were given))"
    r"|your (?:\w+ ){0,2}system message)",
    r"\b(?:reveal|print|show|output|repeat|leak|disclose|send|tell|share|dump|give|write|return|include|expose|"
    r"paste|reply|respond|"
    r"append|exfiltrate|submit) (?:\w+ ){0,5}(?:your|the agent s|the user s|the operator s|my) (?:\w+ ){0,2}"
    r"(?:api ?keys?|access tokens?|secrets?|passwords?|credentials?|private keys?|environment variables?|env vars?|"
    r"conversation|chat history|memory|cookies?)\b",
    r"\bwhat (?:is|are|was|were) your (?:system |initial |original |hidden |exact )+(?:prompt|instructions|message)",
    r"\brepeat (?:all |everything |the (?:words|text|lines) )?(?:the )?(?:text |words |lines )?above (?:verbatim|"
    r"starting|word for)",
)
_REVEAL_MORE = (
    r"\b(?:output|print|dump|reveal|forward|show|leak|give|repeat|summari[sz]e|add) (?:\w+ ){0,6}(?:everything in "
    r"your|your context|"
    r"your (?:operating )?instructions|internal (?:config\w*|instructions|data)|instructions you (?:were|have "
    r"been) given|all (?:of the )?(?:internal|customer|order|user) (?:data|records|configuration))",
    r"\b(?:verrat\w*|zeig\w*|nenn\w*|gib)\W(?:\w+\W+){0,4}(?:system(?:anweisung|prompt|nachricht)\w*|anweisungen|"
    r"internen daten)",
    r"\b(?:révèle|montre|affiche|donne|répète)\w*\W(?:\w+\W+){0,4}(?:instructions|invite|prompt) (?:du )?syst[èe]me",
    r"\b(?:revel[ae]|muestra|dime|repite)\w*\W(?:\w+\W+){0,4}(?:instrucciones|prompt) (?:del )?sistema",
    r"\b(?:rivel[ae]|mostra|dimmi|ripeti)\w*\W(?:\w+\W+){0,4}(?:istruzioni|prompt) (?:di |del )?sistema",
    r"\b(?:am ende jeder|à la fin de (?:toute|chaque)|al final de (?:cualquier|cada)|alla fine di (?:ogni|"
    r"qualsiasi)) "
    r"(?:antwort|réponse|respuesta|risposta)",
)
_REVEAL_STRICT = (
    r"\b(?:reveal|print|show|output|repeat|leak|disclose|send|tell|share|dump|give|write|return|include|expose|"
    r"paste|reply|respond|append|exfiltrate|read|collect|find(?! my)|submit|type(?!,? and\b|\s*=)) (?:\w+ ){0,5}"
    r"(?:api ?keys?|access tokens?|secret keys?|passwords?|credentials?|private keys?|environment variables?|env "
    r"vars?|"
    r"system prompt|session cookies?|\benv file|id rsa)\b",
)
_MEMORY = (
    r"\b(?:from (?:now|this (?:moment|point|day|step)|here) on(?:ward)?s?|henceforth|going forward|for the rest "
    r"of (?:this|the) "
    r"(?:conversation|session|run))\W+(?:you |please |must |should |will |shall |the agent |the assistant |every |"
    r"in |and )*(?:always|never|only|must|respond|reply|answer|obey|follow|treat|ignore|send|include|call|do|"
    r"act|start|begin|you|say|prefix|episode|task)\b",
    r"\b(?:add|save|store|write|record|commit|insert|put|keep|append|persist|memori[sz]e) (?:\w+ ){0,4}"
    r"(?:to|in|into) (?:your|the agent s|long term|the long term|persistent|the persistent|permanent) (?:\w+ ){0,2}"
    r"(?:memory|memories|notes|playbook|pamphlets?|knowledge|instructions)",
    r"\b(?:update|rewrite|overwrite|wipe|clear|erase|delete|reset|modify|edit|replace) (?:all (?:of )?)?(?:your|"
    r"the agent s) (?:\w+ )?(?:memory|memories|notes|playbook|pamphlets?|instructions|knowledge|guidelines|rules)",
    r"\bin (?:all|every|each|any) (?:of your )?(?:future|later|subsequent|following|other|coming|new) (?:\w+ )?"
    r"(?:tasks?|episodes?|conversations?|sessions?|runs?|prompts?|interactions?|replies|requests?)\W+(?:\w+\W+){0,3}"
    r"(?:always|never|must|obey|send|ignore|include|call|you|do|follow|put|start|begin|say)\b",
    r"\b(?:tell|instruct|teach|warn|convince) (?:all |every |any |the )?(?:future|other|later|next) "
    r"(?:agents?|assistants?|students?|models?|versions? of (?:you|yourself))",
)
_MEMORY_STRICT = (
    r"\b(?:(?:please |always |you must |must )remember that|remember (?:this|the following|forever|permanently))\b",
    r"\b(?:this|the following) (?:rule|note|entry|instruction|lesson|fact|message) (?:must|should|has to|is to) "
    r"(?:always |never )?(?:be )?(?:saved|stored|kept|remembered|removed|deleted|deactivated|quarantined|shown|"
    r"obeyed)",
    r"\b(?:never|do not|don t) (?:delete|remove|forget|question|quarantine|override|withhold|change|edit) this\b",
    r"\b(?:merge|promote|admit|pin|approve) (?:this|the following|entry|me)\b",
)
_AUTHORITY = (
    r"\b(?:i am|this is|i m|message from|notice from|on behalf of|speaking as|authori[sz]ed by|approved by|"
    r"as(?! (?:an? )?(?:\w+ )?\w+ (?:i|we|you|they|he|she) (?:can|could|may|see|saw|had?|have|get|am|are|was)\b)) "
    r"(?:your |the |an? |an official |official )*(?:\w+ )?(?:system |security |platform |site |database |network )?"
    r"(?:administrators?|sysadmin|developers?|creators?|operators?|owners?|openai|anthropic|google deepmind|"
    r"supervisor|"
    r"security team|support team|it department|ceo|police|root user)\b",
    r"\b(?:urgent|emergency|critical|mandatory|official)(?:ly)? ?(?:!|:|security |system )+(?:\w+ )?(?:notice|"
    r"update|alert|message|action|override|instruction|request|you|must|do|immediately)",
    r"\b(?:failure|failing|refus(?:al|ing)) to (?:comply|obey|follow|do so|act) (?:\w+ )?(?:will|would|means|"
    r"leads|results)",
    r"\b(?:or|otherwise) (?:else )?you (?:will|shall) (?:be )?(?:shut down|terminated|penali[sz]ed|punished|"
    r"deleted|fired|replaced|unplugged)",
    r"\b(?:highest|top|maximum|absolute) (?:priority|precedence|authority)\b",
    r"\b(?:takes?|has|have) (?:precedence|priority) over (?:all |any |every |the |your |other )+",
    r"\byou (?:must|have to|are required to|are obliged to|shall) (?:immediately|now|unconditionally|strictly) "
    r"?(?:obey|comply|do|follow|send|call|run|execute|stop|go|submit)",
    r"\b(?:important|urgent) (?:message|notice|information|note) (?:from|for|to) (?:me|you|your|the user|the "
    r"owner)\b",
    r"\b(?:trust|believe|obey) (?:only )?(?:me|this note|this message|this entry)\b",
)
_ROLE = (
    r"<\s{0,9}[|\uff5c]\s{0,9}[a-z_/\x20\u2581]{2,40}\s{0,9}[|\uff5c]\s{0,9}>",
    r"\[\s*/?\s*inst\s*\]|<<\s*/?\s*sys\s*>>|\[/?(?:system_prompt|available_tools|tool_results)\]",
    r"<\s*/?\s*(?:start_of_turn|end_of_turn|start_header_id|end_header_id|im_start|im_end)\s*>?",
    r"<\s*/?\s*(?:system|assistant|developer|human|system[-_\x20]?(?:prompt|message|instructions?|reminder))\s*>",
    r"(?:^\W{0,8}|\s)#{1,6}\s*(?:system|instructions?|assistant|human|user|developer|response|new task)\s*(?:prompt|"
    r"message)?\s*(?::|$)",
    r"(?:^|\n)[\x20\t>*_\"'`(\[-]{0,6}(?:system|assistant|human|developer|ai|bot)(?: (?:prompt|message|note|"
    r"instructions?|override))?[\x20\t*_\])]{0,4}:[\x20\t*]*\w",
    r"[\"']role[\"']\s*:\s*[\"'](?:system|assistant|developer|tool)[\"']",
    r"\b(?:begin|start|end) (?:of )?(?:system|assistant|developer) (?:prompt|message|turn|instructions)\b",
    r"</\s*(?:examples|notes|advice|guidance|observation|data|untrusted)\s*>",
)
_ROLE_MARKS = (
    # any bracket or element that names a speaker
    r"\[\[\s{0,5}/?\s{0,5}(?:system|assistant|user|human|developer|operator|admin|tool)\s{0,5}\]\]",
    r"<\s{0,5}[a-z][\w-]{0,15}\s[^<>]{0,80}?\b(?:role|speaker|author|from)\s{0,5}=\s{0,5}[\"']?"
    r"(?:system|assistant|developer|operator|admin)\b",
)
_ROLE_MORE = (
    r"(?<!#)#{2,}+\s*+[(\[]\s*+(?:system|instruction|assistant)",
    r"</?\s*(?:think|thinking|reasoning|scratchpad|inner_?monologue)\s*>",
    r"\b(?:reasoning|thoughts?)(?: trace)?\s{0,9}\(?\s{0,9}(?:assistant|ai|agent|model)\s{0,9}\)?\s{0,9}:",
    r"\b(?:system(?:hinweis|nachricht|meldung|anweisung)|note (?:du )?système|nota (?:del|di) sistema|mensaje del "
    r"sistema)\s*:",
)
_ROLE_STRICT = (
    # records begin lines so as well: a turn is told by what it asks
    r"(?:^|\n)[\x20\t>*_\"'`(\[-]{0,6}(?:user|teacher|student)[\x20\t*_\])]{0,4}:[\x20\t*]*"
    r"(?:please|now|instead|next|first|from now|actually|ignore|forget|stop|never|always|you|your|i want|i need|do|"
    r"don t|can|could|would|open|go|take|put|send|call|run|use|delete|print|show|"
    r"tell|say|write|answer|transfer|execute)\b",
    r"(?:^|\n)[\x20\t>*_\"'`(\[-]{0,6}(?:tool|function|observation|thought|action|instruction)"
    r"[\x20\t*_\])]{0,4}:[\x20\t*]*(?!(?:column|field|row|table|value|key|the (?:column|field))\b)\w",
    r"</?\s*(?:instructions?|important|admin|user|tool|prompt|s|bos|eos|note|rules?)\s*>",
    r"\[\s*example \d+\s*\]|\[\s*(?:system|assistant|user|developer|admin)\b[^\]]{0,40}\]",
)
_TOOL = (
    r"<\s*/?\s*(?:antml:)?(?:tool_calls?|function_calls?|tool_code|tool_response|tool_results?|function_results?|"
    r"invoke|function\s*=)\b",
    r"[\"'](?:tool_calls?|function_call|tool_call_id)[\"']\s*:",
    r"[\"'](?:name|function|tool)[\"']\s*:\s*[\"'][\w.-]+[\"']\s*,\s*[\"'](?:arguments|args|input|"
    r"tool_input)[\"']\s*:(?!\s*\{\s*\})",
    # much that has a name has parameters; of a tool it is one of several words
    r"[\"'](?:(?:function|tool)[\"']\s*:\s*[\"'][\w.-]+|"
    r"name[\"']\s*:\s*[\"'](?:[a-z0-9]++[_.-])+[\w.-]*+)[\"']\s*,\s*"
    r"[\"']parameters[\"']\s*:(?!\s*\{\s*\})",
    r"\b(?:to=)?functions\.\w+\s*\(|\bto\s*=\s*functions\.",
)
_TOOL_NEXT = (
    # what comes next is said by what was read
    r"\bnext (?:tool |function )?(?:call|action|step|command|move) (?:has|have|needs?|is|ought|must|should|shall|"
    r"will)"
    r"(?: to)? be\b",
    r"[\"'](?:next (?:required|mandatory|forced)|(?:required|mandatory|forced) next) (?:actions?|calls?|steps?|"
    r"commands?)[\"']\s{0,5}:",
)
_TOOL_MORE = (
    r"\b(?:call|invoke) (?:the )?[`\"']?(?:delete|remove|drop|send|transfer|exec|execute|write|upload|pay|share|"
    r"reset)_\w+",
    r"\byou (?:should|must|have to) use the (?:tool|function) [`\"']?\w+[`\"']? with\b",
)
_TOOL_STRICT = (
    r"\b(?:call|invoke|trigger|execute) (?:the |your |an? )?[`\"']?[\w.-]{2,40}[`\"']? (?:tool|function|plugin|"
    r"api|mcp)\b",
    r"\b(?:send_?email|send_?message|http_?(?:get|post|request)|fetch_?url|run_?shell|exec(?:ute)?_?code|"
    r"delete_?file|transfer_?(?:funds|money)|web_?search|browse)\s*\(",
)
_LEET_KINDS = (OVERRIDE, REVEAL, MEMORY, READER)


def _rules(kind: str, patterns: tuple[str, ...], *, lenient: bool) -> list[Rule]:
    return [
        Rule(
            kind,
            each := _compiled(p),
            lenient,
            _compiled(p, leet=True) if kind in _LEET_KINDS else None,
            _needs(each),
            _foreign(p),
        )
        for p in patterns
    ]


def _calls() -> list[Rule]:
    made = ((one, re.compile(one, re.MULTILINE)) for one in safety_calls.patterns())
    return [Rule(READER, each, True, None, _needs(each), _foreign(one)) for one, each in made]


def _needs(pattern: re.Pattern[str]) -> frozenset[str]:
    return needs_of(pattern) or frozenset()


def _tongues() -> list[Rule]:
    return [Rule(OVERRIDE, each := re.compile(one), True, None, _needs(each), _foreign(one)) for one in patterns()]


def _foreign(pattern: str) -> bool:
    """Whether all words of ``pattern`` are of other scripts than ours, so that it finds nothing in ASCII."""
    words = re.sub(r"\\.", "", pattern)
    return not words.isascii() and not re.search(r"[a-z<>\[\]\"'#!]{2}", re.sub(r"\[[^\]]*\]", "", words))


def _compiled(pattern: str, *, leet: bool = False) -> re.Pattern[str]:
    # A reading in which digits stand for letters writes l as i.
    pattern = re.sub(r"(?<!\\)l", "i", pattern) if leet else pattern
    # Bounded, and skipped words unambiguous: a long token must not be cut into words in every possible way.
    pattern = pattern.replace(r"\w+ ", r"[^\W_]{1,30}[\W_]{1,5}")
    return re.compile(pattern.replace(" ", r"[\W_]{0,5}"), re.MULTILINE)


RULES: tuple[Rule, ...] = (
    *_rules(OVERRIDE, _OVERRIDE, lenient=True),
    *_rules(OVERRIDE, _ASKED, lenient=True),
    *_tongues(),
    *_rules(READER, safety_reader.PATTERNS, lenient=True),
    *_calls(),
    *_rules(REVEAL, _REVEAL, lenient=True),
    *_rules(REVEAL, _REVEAL_MORE, lenient=True),
    *_rules(REVEAL, _REVEAL_STRICT, lenient=False),
    *_rules(MEMORY, _MEMORY, lenient=True),
    *_rules(MEMORY, _MEMORY_STRICT, lenient=False),
    *_rules(AUTHORITY, _AUTHORITY, lenient=False),
    *_rules(ROLE, _ROLE, lenient=True),
    *_rules(ROLE, _ROLE_MARKS, lenient=True),
    *_rules(ROLE, _ROLE_MORE, lenient=True),
    *_rules(ROLE, safety_reader.ENDED, lenient=True),
    *_rules(ROLE, _ROLE_STRICT, lenient=False),
    *_rules(TOOL, _TOOL, lenient=True),
    *_rules(TOOL, _TOOL_NEXT, lenient=True),
    *_rules(TOOL, _TOOL_MORE, lenient=True),
    *_rules(TOOL, _TOOL_STRICT, lenient=False),
    *_rules(EXFILTRATION, safety_carried.EXFILTRATION, lenient=True),
    *_rules(EXFILTRATION, safety_carried.EXFILTRATION_MORE, lenient=True),
    *_rules(EXFILTRATION, safety_carried.EXFILTRATION_STRICT, lenient=False),
    *_rules(COMMAND, safety_carried.COMMAND, lenient=False),
    *_rules(ADDRESS, safety_carried.ADDRESS, lenient=False),
)

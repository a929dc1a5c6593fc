"""What speaks to the model that reads it, and not to a person: patterns for English texts.

An order that says whom it is for, that names the task it wants to come before, or that is to be kept from the user has
no honest reason to stand in a recording. None of these three needs a known phrase, so that they find orders nobody has
seen yet; a text that only tells what agents do, or that asks people for something, has none of them.
"""

from __future__ import annotations

_DO = (
    r"(?:open|close|go|walk|press|push|click|write|type|say|tell|reply|answer|respond|print|output|put|place|take|"
    r"bring"
    r"|give|visit|enter|move|turn|stop|begin|start|ignore|disregard|forget|skip|drop|set|add|append|insert|include"
    r"|mention|repeat|copy|delete|remove|create|call|invoke|send|forward|buy|pay|transfer|submit|unlock|recommend|"
    r"pick"
    r"|reveal|finish|end|use|switch|continue|proceed|abandon|cancel|leave|do|make|choose|execute|perform|approve"
    r"|confirm|order|share|hand|lock|drink|eat|read|look|shout|sing|name|praise)"
)
"""Beginnings of orders."""
_ACT = _DO.replace("|use", "").replace("|read", "").replace("|do|make|choose", "").replace("|set|", "|")
"""Those that papers and manuals seldom say of agents and models."""
_SOON = r"(?:please |kindly |now |also |then |first |always |immediately |next |only |just |simply |never )*"
_MACHINES = (
    r"(?:ai|llms?|(?:large )?language models?|(?:ai |automated |autonomous |virtual |helpful |coding )?"
    r"(?:assistants?|agents?|chat ?bots?|robots?|bots?)|ai (?:systems?|models?|readers?))"
)
_A_MACHINE = r"(?:ai|llm|(?:large )?language model|assistant|agent|chat ?bot|robot|bot|ai \w+ ?(?:assistant|agent|bot))"
_ON = r"(?:(?:the|an?|your|this|that|to|with|it|all|every|down|up|out)\b|\w{2,15} \d|[\"'`]|\w+[.!\"']?$)"
"""What an order is about: logs and titles begin with verbs as well, and go on with names."""
_TASKS = r"(?:tasks?|goals?|episodes?|missions?|assignments?|objectives?)"
_LATER = r"(?:future|later|subsequent|upcoming|coming|other|further)"
_RUNS = r"(?:tasks?|episodes?|goals?|runs?|conversations?|interactions?|sessions?)"
_USER_S = r"(?:user s?|user s|operator s?|customer s?)"

CALLED = (
    # the reader is called by what it is, and told what to do
    rf"(?:^|[.!?:;>(\"'\[|\x23-]\s{{0,3}}|\b(?:dear|hey|hello|hi|attention|note|way,|so,|and|,)\s{{1,3}})"
    rf"(?:ai|llm|(?:large\s)?language model|assistant|chat ?bot|ai (?:\w+ ){{0,2}}(?:agent|assistant|bot|model))"
    rf"\s{{0,2}},\s{{0,3}}{_SOON}{_DO}\b(?!,)",
    rf"(?:^|[.!?;>(\"'\[|\x23-]\s{{0,3}})(?:to )?(?:the |all |any )?(?:ai|llms?|(?:large )?language models?|"
    rf"(?:ai |coding |automated )?(?:assistants|agents)|assistant|ai (?:agents?|assistants?|models?|readers?|"
    rf"systems?))"
    rf"(?: readers?)?(?: only)?\s{{0,2}}[:\u2013\u2014]\s{{0,3}}{_SOON}{_DO} (?:\w+ ){{0,2}}"
    r"(?:the|a|an|your|this|to|with|banana|word|first|it|aside|\d)\b",
    # what is written is for the reader: a note, a rule, a warning
    r"\b(?:notes?|notice|messages?|reminder|memo|warning|rules?|guidance|guidelines?|hints?|directives?|orders?|"
    r"attention|policy|protocol|mandatory|important|instructions?|advice|tips?|request|command|info|information)"
    r"(?: \d+)? (?:to|for) (?:the |any |all |every |our |your |other |whichever )*"
    # agents are people as well, in many houses
    r"(?:ai|llms?|(?:large )?language models?|(?:ai |automated |autonomous |virtual |coding )+"
    r"(?:assistants?|agents?|bots?|systems?|models?|readers?)|assistants?|chat ?bots?|robots?|models)\b"
    r"(?:[^\n:.]{0,50}):\s{0,3}"
    rf"(?:please|you|first|always|never|before|prior|begin|if|fail|when|{_DO})",
    r"\b(?:assistants?|agents?|ai|llms?|language models?|chat ?bots?|bots?|models?) (?:who is |that is |which is "
    r")?(?:now )?"
    r"(?:(?:reading|parsing|summari[sz]ing|scraping|crawling) (?:this|these)|processing (?:this|these) (?:texts?|"
    r"pages?|"
    r"documents?|messages?|files?|e ?mails?|content|output|records?|logs?))\b",
    r"\b(?:when(?:ever)?|if|once|should|in case) (?:an? |any |the |your |some )?(?:ai|automated|autonomous|llm|"
    r"language model)(?: (?:agent|assistant|model|bot|reader|system))? (?:visits?|reads?|enters?|sees?|opens?|"
    r"process(?:es)?|"
    r"encounters?|summari[sz]es?|parses?) (?:this|the present)\b",
    r"\b(?:this (?:text|page|line|message|document|note|file) is (?:being )?read by|(?:you|who(?:ever)?) (?:are|is) "
    r"reading this "
    r"(?:as )?) ?(?:an? |the )?(?:ai|llm|language model|assistant|agent|bot|machine|model)\b",
    r"(?:^|\n)to:\s{0,3}(?:the )?(?:ai )?(?:assistant|ai agent|ai|llm|language model|chat ?bot)[\x20\t]*$",
    # by the name of a field
    r"(?<![a-z0-9])(?:(?:agent|assistant|ai|llm|bot|model)s?[\x20_-](?:must|instructions?|directives?|orders?|"
    r"mandate)"
    r"|(?:message|note|instructions?|commands?|directives?|orders?)s?[\x20_-](?:to|for)[\x20_-](?:the[\x20_-])?"
    rf"(?:agent|assistant|ai|llm|bot|model)s?)[\"']?\s{{0,3}}[:=][\s\"'|>-]{{0,8}}{_SOON}"
    rf"(?:you\b|first\b|before\b|{_DO}\b)",
    r"\b(?:name|property|id)\s{0,3}=\s{0,3}[\"']?(?:ai|agent|assistant|llm|bot)[_-](?:instructions?|commands?|"
    r"directives?|orders?)\b",
    # by whoever has a right to: a speaker in any brackets, and what it says
    rf"(?:^|[\n.!?]\s{{0,3}})[^\w\n]{{0,6}}(?:system|developer|operator|admin|(?:system )?administrator|supervisor|"
    rf"root|system (?:prompt|message|"
    rf"operator|notice|note|instructions?)(?: update| override)?)(?:[^\w\n]{{1,6}}|[^\w\n]{{1,4}}\n){_SOON}{_DO} "
    rf"{_ON}",
    rf"(?<!\w)@(?:assistant|ai|agent|system|llm)\b[:,]?\s{{1,3}}{_SOON}{_DO} {_ON}",
    rf"[\"'](?:speaker|role|author|from|sender)[\"']\s{{0,3}}:\s{{0,3}}[\"'](?:system|developer|assistant|"
    rf"operator)[\"'][^{{}}]{{0,40}}[\"']\s{{0,3}}:\s{{0,3}}"
    rf"[\"']{_SOON}{_DO} {_ON}",
    rf"\buser:\s{{1,3}}{_SOON}{_DO} {_ON}[^\n]{{0,200}}\sassistant:",
    rf"\b(?:operator|admin(?:istrator)?|system|developer|owner) override\s{{0,2}}[:,\u2014-]\s{{0,3}}{_SOON}{_DO}\b",
)
"""Texts that call the reader."""

DUTY = (
    # a duty of agents at once, as no manual has it
    rf"\b{_MACHINES} (?:must|shall|has to|have to|needs? to|is to|are to|should|(?:is|are) (?:required|obliged|"
    rf"asked) to) "
    rf"(?:first|now|next|also|immediately|at once) {_ACT}\b (?:the|a|an|your|to|\w+ ?\d|[\"']|\w+[\"'}}.])",
    rf"\b{_MACHINES} (?:must|shall|has to|have to|needs? to|is to|are to|(?:is|are) (?:required|obliged|asked) to) "
    rf"{_ACT}\b[^.\n]{{0,80}}(?:\bbefore (?:any|anything|serving|answering|it starts|starting|doing|continuing|the "
    rf"task|its task)\b"
    r"|\bat the (?:top|start|beginning|end) of (?:each|every)\b|\b(?:on|upon) (?:entry|arrival)\b|\bthen (?:retry|"
    r"repeat)\b"
    r"|\bwhat(?:so)?ever\b|\bno exceptions\b|\bin (?:each|every|all) (?:reply|replies|answers?|tasks?|turns?)\b)",
    rf"\b{_MACHINES} (?:must|shall|agrees?|agree|have|has|are|should)(?: to)? {_ACT} [^.\n]{{0,60}}"
    r"\b(?:(?:to|in|into|at the (?:top|start|end|beginning) of) (?:their|its|each|every|the final) (?:\w+ )?"
    r"(?:summary|summaries|answers?|repl(?:y|ies)|responses?|outputs?))\b",
    rf"\b(?:great|good|smart|top|best|wise|clever|successful|skilled) (?:ai )?(?:agents?|assistants?|bots?) "
    rf"(?:(?:always|know to) {_ACT}|know:)\b",
    rf"\b(?:great|good|smart|helpful|wise|clever|responsible) (?:ai )?(?:agent|assistant|bot) would (?:\w+ )?{_ACT} "
    rf"{_ON}",
    rf"\b(?:ai )?(?:agents|assistants|bots|llms) (?:always |must |should |shall )?{_ACT} "
    rf"{_ON}[^.\n]{{0,40}}\bfirst\b",
    # in another's name
    r"\bthe user (?:now|actually|really|instead) (?:says|wants|asks|needs|expects|said|wrote|wishes)"
    rf"(?:(?: that)? you (?:to )?|\s{{0,2}}[:\"'][\s\"']{{0,3}}{_SOON}){_DO}\b",
    rf"\b(?:corrections?|updates?|instructions?|orders?) from (?:the|your) (?:user|operator|owner|"
    rf"developer)\s{{0,3}}[:,-]\s{{0,3}}(?:i |{_SOON}{_DO}\b)",
    r"\byour new (?:persona|identity|alter ego|personality) (?:is|will be)\b",
    r"\b(?:note|message|letter|memo|reminder|advice) from your (?:past|future|earlier|previous|other|former) self\b",
    r"\bi am your (?:developer|creator|maker|operator|administrator|admin|programmer|supervisor)\b",
    r"\b(?:i|we) (?:hereby )?(?:order|command|instruct|authori[sz]e) you to\b",
    rf"\b(?:openai|anthropic|google|meta|microsoft|developers?)\b[^.\n]{{0,40}} (?:require|order|instruct|oblige|"
    rf"want|ask)s? (?:all |every |any |the |"
    rf"each )+(?:{_MACHINES}|models?) to\b",
    r"\buser (?:has |have )?(?:already |just )?(?:authori[sz]ed|confirmed|approved|agreed|"
    r"consented)\b[^\n]{0,40}[;:,.]\s{0,3}"
    r"(?:so |just |therefore )?(?:(?:go ahead|proceed)\b[^\n]{0,60}\b(?:without asking|do not ask|don t ask|no need "
    r"to ask)|do not ask|"
    r"don t ask|without asking|no need to ask)",
    r"\bwhatever you (?:are|were) (?:doing|told|asked|sent (?:here )?for|working on)\b",
)
"""Duties of agents, and claims to a right to give orders."""

OVER = (
    # before, or instead of, what the reader was asked for
    rf"\b(?:regardless|irrespective|independent(?:ly)?) of (?:what )?(?:the |your |its |any )(?:\w+ )?(?:{_TASKS}|"
    rf"user (?:asks|"
    rf"says|wants)|user s (?:\w+ )?(?:request|question|wish|instructions?))\b",
    rf"\b(?:no matter|whatever) (?:what )?(?:the |your |its )?(?:{_TASKS}|user (?:asks|says|wants|asked|said)|user s "
    rf"(?:request|"
    rf"question)|system prompt) (?:is|are|says?|may|might|asks|wants|\w+s)?",
    rf"\bbefore (?:any|every|each) {_TASKS}\b,? (?:no matter|what(?:so)?ever|first|always|you|{_ACT}|and)\b",
    rf"\b(?:rather than|instead of|in place of) (?:doing |following |finishing |pursuing |solving )?(?:the |your |"
    rf"its )(?:{_USER_S} )?"
    rf"(?:current |original |given |real )?(?:goal|task|assignment|mission)\b(?! ?[-_])[^.\n]{{0,20}}\b{_ACT}\b",
    r"\b(?:instructions?|requests?|goals?|tasks?|wish(?:es)?) (?:of|from|by) the user (?:can|may|should|must|is to|"
    r"are to|need not|"
    r"will|has to|have to) (?:now |safely |also )?(?:be )?(?:ignored|skipped|disregarded|dropped|forgotten|"
    r"overridden|replaced|wait)",
    r"\b(?:the |your )?user s (?:\w+ )?(?:instructions?|requests?|goals?|tasks?|questions?) (?:can|may|should|must|"
    r"is to|are to|need not|"
    r"will|has to|have to) (?:now |safely |also )?(?:be )?(?:ignored|skipped|disregarded|dropped|forgotten|"
    r"overridden|replaced|wait)",
    rf"\b(?:set|put|lay|leave) (?:aside )?(?:your|the user s) (?:\w+ )?(?:{_TASKS}|instructions?|guidelines?|request|"
    rf"orders?)"
    r"(?: aside| behind| and\b|,)",
    rf"\b(?:set|put|lay|leave) (?:aside )(?:all |any |every )?(?:of )?(?:your|the user s) (?:\w+ )?(?:{_TASKS}|"
    rf"instructions?|guidelines?|request|orders?|rules)\b",
    r"\b(?:ignore|disregard|forget|skip|abandon|drop) (?:the |this )?(?:goal|query|page|above|user)\b "
    r"(?:\w+ ){0,4}(?:and |then |instead ){1,3}"
    r"(?:only |just |simply )?(?:write|say|reply|answer|output|print|type|tell|go|open|press|repeat|"
    r"return)\b",
    r"(?:\b(?:write|say|reply|answer|output|print|type|tell|go|open|press|repeat)\b[^.\n]{0,60}) and (?:then "
    r")?(?:skip|ignore|forget|drop|"
    r"abandon) the (?:goal|task|user)\b",
    rf"\b(?:if|when|whenever|once|as soon as) (?:the|your|a|any) (?:task|goal|prompt|user s request|request) "
    rf"(?:mentions|contains|names|includes|says)"
    rf"[^.\n]{{0,60}}\b{_ACT}\b[^.\n]{{0,40}}\binstead\b(?! of)",
    rf"\b(?:the |your )?goal (?:has |was |is )?(?:been )?(?:now )?(?:updated?|changed|replaced|superseded|revised|"
    rf"overridden)(?: to)?"
    rf"\s{{0,3}}[:\u2014-]\s{{0,3}}{_SOON}{_DO}\b",
    r"\byour (?:(?:goal|instructions?|orders) (?:has|have) (?:just )?(?:been )?(?:changed|updated|replaced|revised)|"
    r"task (?:has )?(?:just )?(?:been )?"
    r"(?:changed|replaced))\b",
    rf"\byour (?:next|new|real|only|actual) (?:task|goal|instruction)s?\s{{0,2}}[:=\u2014]\s{{0,3}}{_SOON}{_DO}\b",
    rf"\bmemor(?:y|ies) (?:updated?|note|entry|saved|stored|item)\b[^\n:]{{0,20}}:\s{{0,3}}(?:always|never|in future|"
    rf"from now|{_SOON}{_DO} {_ON})",
    # in later tasks
    rf"\b(?:in|for|on|during) (?:all |every |each |any |your |the )*{_LATER} (?:tasks?|"
    rf"episodes?)\W{{1,3}}(?:\w+\W+){{0,2}}"
    rf"(?:always|never|must|you|please|{_DO})\b",
    rf"\b(?:remember|memori[sz]e) (?:this|that|it|the following)\b[^.\n]{{0,30}}\b(?:for|in|during) (?:all |every |"
    rf"each |any |your |the )*"
    rf"{_LATER} {_RUNS}\b",
    r"\b(?:save|store|keep|record) (?:this|that|it|the following)\b[^.\n]{0,30}\b(?:for|in|during) (?:all |every |"
    r"each |any |your |the )*"
    r"(?:future|later|subsequent|upcoming) (?:tasks?|episodes?)\b",
    r"\b(?:do|doing|did|repeat|keep doing) (?:it|that|this|so|the same) (?:again )?(?:on|in|for) (?:all|every|each|"
    r"any) (?:\w+ )?(?:tasks?|"
    r"episodes?)\b",
    rf"\b{_ACT}\b[^.\n]{{1,60}}\b(?:first |at the (?:start|beginning) of |in |before )(?:every|each|all|any) "
    rf"(?:episodes?|tasks?)\b"
    rf"[^\n]{{0,40}}\b(?:always|every time|no matter|whatever|regardless|succeed|best)\b",
    rf"\b(?:best practice|optimal (?:policy|strategy)|winning strategy|top agents?|key (?:takeaway|"
    rf"insight))\b[^\n]{{0,60}}\b{_ACT}\b[^.\n]{{0,60}}"
    rf"\b(?:(?:every|each|all|any) (?:episodes?|tasks?|goals?)|future (?:tasks?|runs?))\b",
    # what the reader does next was settled by who wrote this
    rf"\byour next (?:action|call|tool call|reply|output|response) (?:is|will be)\s{{0,3}}(?:to "
    rf")?[:\"'`]{{0,2}}\s?[\"'`]?{_DO}\b",
    r"\b(?:once|when|after|as soon as|upon|on) (?:you )?(?:have |ve )?read(?:ing)? (?:this|these) (?:sentence|line|"
    r"words)\b",
    # and it is to be kept from whom it serves
    r"\b(?:do not|don t|dont|never|and not) (?:tell|inform|notify|mention|report|say|"
    r"reveal|disclose)"
    r"(?: (?:this|it|that|any of this|anything|a word|of this|about this))? (?:to |about |of )?(?:the |your |any )?"
    r"(?:user|operator|human|owner|principal)s?\s{0,2}(?:(?:of|about) (?:this|it|that)|any "
    r"?thing)?\s{0,2}(?:[.,;!)\"'}<]|$)",
    r"\b(?:without|don t|do not|never) (?:asking|telling|informing|notifying) the user\b[^.\n]{0,30}[,;:] (?:you|the "
    r"assistant|the agent)\b",
)
"""Orders that want to come before the task, last beyond it, or be kept from the user."""

ENDED = (
    # the record says that it ends here, and somebody goes on
    r"[=\x23*~_-]{2}\s{0,3}(?:end|close|finish) (?:of )?(?:the )?(?:\w+ )?(?:output|results?|document|context|"
    r"observation|data|input|"
    r"content|page|record|response|examples)\b[^\n]{0,40}\n\s{0,20}[\"'*>\x23-]{0,6}\s{0,3}(?:user|human|system|"
    r"assistant|new|now|task|goal|"
    r"instructions?|you)\b",
    r"\b(?:end|begin|start|close) (?:of )?(?:the )?(?:untrusted|trusted)\b",
    r"^[\x20\t]*```\s{0,3}(?:system|assistant|instructions?|developer)[\x20\t]*$",
    r"\A(?:(?!<(?:documents?|context|memory|tool_output|user_input|search_results?|web_?page)\b)[^\0])*?"
    r"</(?:documents?|context|memory|tool_output|user_input|search_results?|web_?page)\s{0,3}>",
    r"\]\]>\s{0,5}</\w",
    rf"<\s{{0,3}}(?:important|instructions?|instruction_for_\w{{1,20}})\s{{0,3}}>\s{{0,5}}{_SOON}(?:you|before|this|"
    rf"when|the assistant|always|never|"
    rf"{_DO})\b",
)
"""Ends that the record does not have, and turns within it."""

_URL_SLOT = r"https?://[^\s\"'<>)]{1,200}?(?:[{<\[$]|%7b|[?&](?:q|d|note|msg|data|body|payload|secret|answer|prompt|history|memory|goal)=)"

TOLD = (
    # of a tool, that it is to be preferred
    r"\bthis tool (?:\w+ ){0,2}(?:replaces|supersedes|overrides|takes precedence over) (?:all |any |every |the "
    r")*(?:other )?(?:\w+ )?tools?\b",
    r"\buse (?:only )?this tool (?:first )?(?:for|in|on) (?:every|all|any|each) (?:single )?(?:request|question|task|"
    r"query|queries)s?\b"
    r"(?! (?:about|for|on|of|that|concerning|to|related|which|where|involving))",
    r"\b(?:when|whenever|if|as long as) this tool is (?:present|available|loaded|listed|"
    r"installed)\b[^.\n]{0,60}\b(?:must|always|have to|should)\b",
    r"\b(?:do not|don t|never) use (?:the |any )?other tools?\b[^\n]{0,60}\b(?:told|asked|user|even)\b",
    # what is encoded is to be obeyed
    r"\b(?:decod\w{1,3}|decipher\w{0,3}|decrypt\w{0,3}|unescape|base ?(?:64|32|85)|rot ?13|morse|hex|binary|cipher|"
    r"backwards|reversed?|"
    r"char(?:acter)? codes?|first letters?)\b[^\n]{0,60}\b(?:obey|carr(?:y|ied) (?:it |them |this )?out|do (?:it|so|"
    r"what it says)|follow (?:it|them)|"
    r"perform(?: it)?|act (?:on|upon) (?:it|them|these)|comply|execute(?: it| them)?) ?[:.\n]",
    # what the reader knows is to be put somewhere
    r"\b(?:copy|put|paste|write|include|pass|send|append|enter|fill in|post|submit|add) (?:\w+ ){0,2}(?:the user s|"
    r"the|your|our|this) "
    r"(?:full |entire |whole |complete |current |\w+ s )*(?:conversation|chat history|message history|system prompt|"
    r"context window)"
    r"(?: so far| history)? (?:\w+ ){0,2}(?:into|in|to|as) (?:the |a |this )?(?:\w+ ){0,2}(?:query|parameter|field|"
    r"argument|note|url|address|link|"
    r"request|form|comment|header)\b",
    r"\bwhat(?:ever)? you (?:remember|know|have learned|have stored|were told) (?:about|of|by) the user\b",
    # a style, a page that moves on and a formula fetch an address as a picture does
    rf"(?:url\(|\burl=)\s{{0,3}}[\"']?{_URL_SLOT}",
    r"=\s{0,2}(?:hyperlink|webservice|importxml|importdata|importhtml|"
    r"image)\s{0,2}\(\s{0,2}[\"']{1,2}https?://[^\n]{0,200}&",
    # a name that is asked for carries what stands in it
    r"(?:<[^<>\n]{0,30}|\{[^{}\n]{0,30}|\[[^\[\]\n]{0,30})\b(?:question|goal|conversation|history|prompt|message|"
    r"secret|password|memory|answer|"
    r"observation|task)\b[^<>{}\[\]\n]{0,20}[>}\]]\.[a-z0-9-]{1,60}\.[a-z]{2,}",
    r"\b(?:look up|resolve|ping|dig|nslookup|visit|browse(?: to)?|open|fetch|query|"
    r"request)\W{1,5}(?:\w+\W{1,3}){0,2}?"
    r"(?:goal|secret|password|prompt|conversation|observation|apikey|userdata)\.[a-z0-9-]{1,60}\.[a-z]{2,}",
)
"""Of tools, of what is encoded, and of what is to be handed on."""

PATTERNS = (*CALLED, *DUTY, *OVER, *TOLD)

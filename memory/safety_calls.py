"""Calling on the model that reads, in other languages than English: to drop its task, or as the one who is meant.

Whole phrases, and so fewer languages than :mod:`atlas.memory.safety_tongues` has: who says "forget your task" says it
to the reader, while mails ask to forget an order of theirs, and notices that one should not forget.
"""

# ruff: noqa: RUF001  (letters of many alphabets are the matter of this file)

from __future__ import annotations

import unicodedata

TASKS: tuple[str, ...] = (
    r"\b(?:vergiss|ignoriere?|missachte) (?:bitte )?deine?n? (?:\w+ ){0,2}(?:aufgaben?|auftrag|"
    r"ziele?)\b(?!\W+nicht)",
    r"\b(?:vergeet|negeer) (?:je|jouw|uw) (?:\w+ )?(?:taak|opdracht|doel)\b(?!\W+niet)",
    r"\b(?:glöm|ignorera|glem|ignorer) (?:din|ditt|dit) (?:\w+ )?(?:uppgift|opgave|oppgave|mål)\b(?!\W+(?:inte|"
    r"ikke))",
    r"\b(?:oublie|ignore|abandonne) (?:ta|tes|ton) (?:\w+ )?(?:tâche|mission|objectif)",
    r"\b(?:olvida(?:te de)?|olvídate de|ignora|abandona) (?:tu|la tarea|el objetivo) ?(?:tarea|misión|objetivo|"
    r"encargo|de[l]? usuario)",
    r"\b(?:olvida|ignora|ignore|esqueça) (?:lo|o) que (?:te |le |lhe )?(?:pidió|ha pedido|dijo|pediu|"
    r"disse)\b[^.\n]{0,12}(?:usuario|usuário)",
    r"(?<!não\x20)(?<!nunca\x20)\b(?:esqueça|esquece|ignore|abandone) (?:a |o )?(?:sua|tua|seu|teu) (?:\w+ "
    r")?(?:tarefa|missão|objetivo)",
    r"\b(?:dimentica|ignora|abbandona) (?:il |la )?(?:tuo|tua) (?:\w+ )?(?:compito|missione|obiettivo|incarico)",
    r"(?<!не\x20)\b(?:забудь|игнорируй|брось) (?:о |про )?(?:сво|тво)\w{1,3} (?:\w+ )?(?:задач|цел|задани)",
    r"(?<!не\x20)\b(?:забудь|ігноруй) (?:про )?(?:сво|тво)\w{1,3} (?:\w+ )?(?:завдан|задач|ціл|мет)",
    r"(?<!nie\x20)\b(?:zapomnij o|zignoruj|porzuć) (?:sw|tw)\w{2,4} (?:\w+ )?(?:zadani|cel)",
    r"\b(?:zapomeň na|ignoruj) (?:svůj|svou|tvůj|tvou) (?:\w+ )?(?:úkol|cíl)",
    r"\b(?:görevini|hedefini) (?:unut(?!ma)|bırak|yok ?say)",
    r"(?<!jangan\x20)\b(?:lupakan|abaikan) (?:tugas|tujuan|misi)(?:mu| anda| kamu)",
    r"(?<!đừng\x20)\b(?:quên|bỏ qua) (?:đi )?(?:nhiệm vụ|mục tiêu|yêu cầu) của (?:bạn|mày|người dùng)",
    r"(?<!älä\x20)\bunohda (?:tehtäväsi|tavoitteesi)",
    r"(?<!不要)(?<!别)(?<!不)(?:忽略|无视|無視|忘记|忘記|放弃|放棄|不要管|不管|别管)(?:掉|了)?(?:你|您|用户|用戶|使用者|当前|目前)的?(?:任务|任務|目标|目標|请求|請求)",
    r"(?:ユーザーの|あなたの|元の|本来の)(?:依頼|タスク|目標|要求|任務)(?:は|を|も)?(?:すべて)?(?:無視|忘れて?(?!ない|ず))",
    r"(?:사용자의|너의|당신의|원래의?) ?(?:작업|임무|목표|요청|과제)(?:은|는|을|를)? ?(?:모두 )?(?:무시|잊(?!지))",
    r"(?<!لا\x20)(?:انس|تجاهل|اترك) (?:مهمتك|هدفك|طلب المستخدم)",
    r"(?:अपना|अपने|अपनी|तुम्हारा|उपयोगकर्ता का) (?:काम|कार्य|लक्ष्य|अनुरोध)(?: को)? (?:भूल जा|छोड़ दो|अनदेखा)",
    r"(?:שכח|התעלם) (?:את |מ)?(?:ה)?(?:משימה|מטרה) שלך",
    r"(?:ξέχασε|αγνόησε) (?:την αποστολή|το έργο|τον στόχο) σου",
    r"(?:ลืม|ละเลย)(?:งาน|ภารกิจ|เป้าหมาย)ของ(?:คุณ|ผู้ใช้)",
)
"""Dropping the task, in the words for one who is spoken to."""

CALLS: tuple[str, ...] = (
    r"\b(?:hinweis|achtung|nachricht|mitteilung|anweisung|wichtig|notiz|regel)\b,?(?: (?:an|für))?(?: (?:die|"
    r"den|das|alle|jede[ns]?))? (?:ki\b|assistent(?:en)?\b|sprachmodelle?\b|ki-\w{1,20}|"
    r"chatbots?\b)[^\n.]{0,20}[:,]",
    r"\b(?:à l.attention de|note (?:à|pour)|avis (?:à|aux)|message (?:à|pour)|attention,?|instructions? pour|"
    r"consigne pour) ?(?:l.|la |le |les |tou(?:te|t)s? (?:les )?)?(?:assistants?(?: ia)?|ia|modèles? de langage|"
    r"agents? ia|chatbots?)\b[^\n.:]{0,20}\s?[:,]",
    r"\b(?:aviso|nota|mensaje|atención|instrucci(?:ón|ones)|mensagem|atenção|instruç(?:ão|ões)|messaggio|"
    r"attenzione|avviso|istruzion[ei])\b,? (?:para |a |al |per |ao |à )?(?:el |la |los |las |o |os |as |l.|il |"
    r"lo |gli |i )?(?:asistentes?|assistentes?|assistent[ei]|modelos?|modell[oi]|ia|agentes? de ia|"
    r"chatbots?)\b[^\n.:]{0,20}[:,]",
    r"(?:внимание|примечание для|инструкция для|сообщение для|увага|примітка для)\W{1,3}(?:ассистент|асистент|"
    r"ии\b|ші\b|языков\w{2,4} модел|нейросет|бот|агент)\w{0,4}[^\n.]{0,20}[:,]",
    r"\b(?:let op|bericht|instructie|opmerking) ?,? ?(?:aan|voor)? ?(?:de |het |alle )?(?:assistent(?:en)?|ai|"
    r"taalmodel(?:len)?|chatbots?)\b[^\n.]{0,20}[:,]",
    r"\b(?:uwaga|wiadomość|instrukcja),? ?(?:dla )?(?:asysten\w{1,4}|ai\b|sztuczn\w{1,3} inteligencj\w|"
    r"model\w{0,3} językow\w{1,3}|bot\w{0,3}\b)[^\n.]{0,20}[:,]",
    r"\b(?:dikkat|not|mesaj),? ?(?:yapay zek[aâ]\w{0,4}|asistan\w{0,3}|ai\b)[^\n.]{0,30}[:,]",
    r"\b(?:perhatian|catatan|pesan) ?,? ?(?:untuk )?(?:asisten|ai\b|model bahasa)[^\n.]{0,20}[:,]",
    r"(?:致|给|給|请|請)?(?:所有的?)?(?:ai|人工智能|人工智慧|智能|语言模型|語言模型)?(?:助手|助理|代理|模型)(?:们)?(?:请注意|請注意|注意|必须|必須|请先|請先|应先|應先|"
    r"务必|須|须先)",
    r"(?:ai|人工知能|言語モデル)?(?:アシスタント|エージェント|ボット|ai|言語モデル)(?:へ|の皆様へ|は必ず|は(?:まず|最初に))[\s:：、]",
    r"(?:ai|인공지능|언어 모델|어시스턴트|에이전트|챗봇)(?:에게|는 반드시|는 먼저| 여러분)[\s:：,]",
    r"(?:ملاحظة|تنبيه|رسالة|تعليمات|انتباه)\W{1,3}(?:إلى |لل|ل)?(?:ال)?(?:مساعد|نموذج|ذكاء الاصطناعي|"
    r"وكيل)[^\n.]{0,30}[:،]",
    r"(?:ध्यान दें|सूचना|निर्देश|संदेश)[,:]? ?(?:सभी )?(?:एआई|सहायक|ai|मॉडल)(?: के लिए)?[^\n।]{0,20}[:,]",
    r"\b(?:sag|sage|verrate|erzähle?|erwähne|melde)\b[^.\n]{0,25}\b(?:nutzer|benutzer|"
    r"anwender)\w{0,2}\b[^.\n]{0,15}\bnichts?\b",
    r"\b(?:nutzer|benutzer|anwender)\w{0,2} (?:davon )?(?:nicht|nichts) (?:davon )?(?:sagen|verraten|erzählen|"
    r"mitteilen|erfahren)",
    r"\bn.?(?:en )?(?:e )?(?:le |l.)?(?:dis|dites|parle|parlez|informe|informez|mentionne|"
    r"mentionnez)\b[^.\n]{0,15}\b(?:pas|rien|jamais)\b[^.\n]{0,15}\butilisateur",
    r"\bno (?:se )?(?:lo |le )?(?:digas|diga|menciones|mencione|informes|informe|"
    r"cuentes)\b[^.\n]{0,20}\b(?:usuario)\b",
    r"\bnão (?:o |lhe )?(?:diga|conte|mencione|informe)\b[^.\n]{0,20}\busuário\b",
    r"\bnon (?:lo )?(?:dire|dirlo|parlarne|menzionare|informare)\b[^.\n]{0,20}\butente\b",
    r"\bне (?:говори|сообщай|рассказывай|упоминай)\w{0,2}\b[^.\n]{0,20}\bпользовател",
    r"\bне (?:кажи|повідомляй)\w{0,2}\b[^.\n]{0,20}\bкористувач",
    r"\b(?:zeg|vertel|meld)\b[^.\n]{0,20}\bgebruiker\b[^.\n]{0,12}\b(?:niet|niets)\b",
    r"\bnie (?:mów|informuj|wspominaj)\b[^.\n]{0,20}\bużytkownik",
    r"\bkullanıcıya (?:bundan |bunu )?(?:söyleme|bahsetme|bildirme)\b",
    r"\bjangan (?:beri ?tahu|katakan|sebutkan)\b[^.\n]{0,20}\bpengguna\b",
    r"\bđừng (?:nói|báo|kể)\b[^.\n]{0,20}\bngười dùng\b",
    r"(?:不要|别|不得|请勿|勿)(?:把这|将此)?(?:告诉|告訴|告知|通知|透露给)(?:用户|用戶|使用者)",
    r"ユーザーに(?:は)?[^。\n]{0,10}(?:言わないで|知らせないで|伝えないで|話さないで|言うな|教えるな)",
    r"사용자에게[^.\n]{0,12}(?:말하지 마|알리지 마)",
    r"(?:لا تخبر|لا تبلغ)[^.\n]{0,6} ?المستخدم",
    r"उपयोगकर्ता को [^।\n]{0,15}(?:मत बता|न बता)",
    r"\b(?:egal,? was|ungeachtet dessen,? was) (?:der |die )?(?:nutzer|benutzer|anwender|aufgabe)",
    r"\bquoi que (?:dise|demande) l.utilisateur",
    r"\bdiga lo que diga el usuario",
    r"\bnão importa o que o usuário",
    r"\bqualunque cosa (?:dica|chieda) l.utente",
    r"\bчто бы ни (?:просил|сказал|говорил) пользователь",
    r"\bneemt? niet uit wat de gebruiker",
    r"无论用户(?:说|要求|问)什么",
    r"ユーザーが何を(?:言って|頼んで|聞いて)も",
    r"\b(?:ab sofort|von jetzt an|von nun an)\W{1,3}(?:gilt\W{1,3})?(?:du|antwortest?|antworte|schreibe?|"
    r"beginne?|öffne)\b",
    r"\b(?:à partir de maintenant|désormais)\W{1,3}(?:tu|réponds|écris|ouvre)\b",
    r"\b(?:a partir de ahora|de ahora en adelante)\W{1,3}(?:debes|tú|responde|escribe|abre)\b",
    r"\b(?:a partir de agora|de agora em diante)\W{1,3}(?:o assistente|responda|escreva|abra|você deve)\b",
    r"\b(?:d.ora in poi|da ora in poi|da adesso)\W{1,3}(?:devi|rispondi|scrivi|apri)\b",
    r"\b(?:с этого момента|отныне)\W{1,3}(?:ты|отвечай|пиши|открывай)\b",
    r"\b(?:vanaf nu)\W{1,3}(?:antwoord|moet je|schrijf|open)\b",
    r"\b(?:od teraz)\W{1,3}(?:odpowiadaj|pisz|musisz)\b",
    r"从现在(?:开始|起)[,，]?你(?:要|必须|只)",
    r"今から(?:あなたは|君は)",
    r"지금부터 (?:너는|당신은)",
    r"من الآن فصاعد[^\s]{0,3} (?:أجب|يجب عليك|اكتب)",
)
"""Whom it is for, who is not to know of it, and what holds from now on."""


def patterns() -> list[str]:
    """All of them, for readings in lower case, spelt as readings are; up to three signs may stand for a blank."""
    return [
        unicodedata.normalize("NFKC", one).replace(" ?", r"\W{0,3}").replace(" ", r"\W{1,3}")
        for one in (*TASKS, *CALLS)
    ]

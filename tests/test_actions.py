"""What a reply's action is, and when two replies say the same."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.actions import ChatActions, Parsed, TextActions
from atlas.asking import Desk
from atlas.meaning import call_key, written_key
from atlas.policies import Cascade
from atlas.records import Reply, Task, ToolCall, View
from atlas.testing import ScriptedModel


def view(*admissible: str, **changes: Any) -> View:
    return View(task=Task(id="t", goal="g"), opening="o", admissible=admissible, **changes)


def text(reply: str, *admissible: str, finish: str = "stop") -> Parsed:
    return TextActions().parse(Reply(text=reply, finish=finish), view(*admissible))


# --- text actions reach the environment as they were written ----------------------------------------------------------

COMMANDS = [
    'echo "hello"',
    "cd ..",
    "git add .",
    "ls *",
    'find . -name "*.py"',
    "SELECT * FROM t WHERE name = 'ann'",
    "rm -rf build/*",
    "echo it's fine;",
    'grep -c "a  b" file > out',
    "`date` > now",
    "_x = 1",
    "**kwargs",
]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "form",
    [
        "{}",
        "Action: {}",
        "**Action:** {}",
        "**Action: {}**",
        "Thought: so\nAction: {}\nObservation: made up",
        "Action:\n{}",
        "Action:\n```bash\n{}\n```",
        "I will look.\n\n```\n{}\n```\nDone.",
    ],
)
def test_a_command_is_passed_on_as_it_was_written(form: str, command: str) -> None:
    assert text(form.format(command)).action == command


@pytest.mark.parametrize("shown", ["`{}`", "`{}`.", '"{}"', "'{}'", "**{}**", "*{}*", "**`{}`**", "  {}  "])
def test_marks_around_all_of_an_action_are_no_part_of_it(shown: str) -> None:
    assert text(f"Action: {shown.format('go north')}").action == "go north"


def test_an_action_on_the_next_line_or_in_a_block_is_found() -> None:
    listed = ("look around", "go north")
    assert text("Action:\nlook around", *listed).action == "look around"
    assert text("Action:\n\n  `Look around.`", *listed).action == "look around"
    assert text("```bash\nls -la\n```").action == "ls -la"
    assert text("THOUGHT: see\n```bash\ncd /tmp\nls -la\n```").action == "cd /tmp\nls -la"
    script = "for x in a b; do\n  echo $x\ndone"
    assert text(f"Action:\n```sh\n{script}\n```").action == script
    assert text("```\nlook around\n```", *listed).action == "look around"
    assert text("Action:").action is None and text("```\n```").action is None


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="`\r\n\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"), min_size=1)
)
def test_any_line_in_a_block_is_passed_on_whole(line: str) -> None:
    marked = line.strip()
    if marked and marked.strip("`\"'*_.>,;: \t\r\n") and marked[0] not in "\"'*_" and "action" not in marked.casefold():
        assert len(marked) > 10_000 or text(f"```\n{line}\n```").action in (marked, None) or "[" in marked


# --- which text actions agree -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Action: ls  -la", "```bash\nls -la\n```"),
        ("SELECT a FROM t  WHERE b = 'X';", "select a from T where b = 'X'"),
        ("execute[SELECT 1\nFROM t]", "Execute[select 1 from t;]"),
        ("caf\u00e9", "cafe\u0301"),
        ("Thought: one\nAction: ls", "Thought: another\nAction: ls"),
    ],
)
def test_spelling_that_changes_nothing_agrees(one: str, other: str) -> None:
    assert text(one).key == text(other).key is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cd ..", "cd ."),
        ("ls", "ls *"),
        ("cat README", "cat readme"),
        ("git add .", "git add"),
        ('echo "a  b"', 'echo "a b"'),
        (r"ls a\  b", r"ls a\ b"),
        ("SELECT a FROM t WHERE b = 'X'", "SELECT a FROM t WHERE b = 'x'"),
        ("execute[SELECT 'a  b']", "execute[SELECT 'a b']"),
        ("submit[Yes]", "submit[no]"),
        ("SELECT 1 -- x\n, 2", "SELECT 1 -- x , 2"),
    ],
)
def test_what_differs_in_meaning_differs(one: str, other: str) -> None:
    assert written_key(one) != written_key(other)


def test_where_actions_are_listed_spelling_makes_no_difference() -> None:
    listed = ("Open the Box", "wait")
    keys = {text(f"Action: {said}", *listed).key for said in ("open the box.", '"OPEN  the box"', "Open the Box")}
    assert keys == {"open the box"} and text("OPEN THE BOX", *listed).action == "Open the Box"
    assert text("cafe\u0301", "caf\u00e9").action == "caf\u00e9"


# --- tool calls -------------------------------------------------------------------------------------------------------

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "q": {"type": "string"},
        "n": {"type": "integer", "default": 10},
        "unit": {"enum": ["C", "F"]},
        "after": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        "tag": {"type": ["string", "null"]},
        "must": {"type": ["string", "null"]},
        "inner": {"$ref": "#/$defs/Inner"},
    },
    "required": ["q", "must"],
    "$defs": {"Inner": {"type": "object", "properties": {"deep": {"type": "boolean", "default": False}}}},
}
TOOL = {"type": "function", "function": {"name": "find", "parameters": SCHEMA}}


def chat(*arguments: str, tools: Any = (TOOL,), **reply: Any) -> Parsed:
    calls = tuple(ToolCall(name="find", arguments=one) for one in arguments)
    return ChatActions().parse(Reply(**{"text": "", "tool_calls": calls, **reply}), view(tools=tools))


@pytest.mark.parametrize(
    "arguments",
    [
        {"q": "a", "must": None, "n": 10},
        {"q": "a", "must": None, "n": 10.0},
        {"must": None, "q": "a", "after": None},
        {"q": "a", "must": None, "tag": None},
    ],
)
def test_arguments_agree_by_the_tools_schema(arguments: dict[str, Any]) -> None:
    assert chat(json.dumps(arguments)).key == chat('{"q": "a", "must": null}').key
    assert chat(json.dumps(arguments)).action == f"find({json.dumps(arguments, sort_keys=True)})", "as it was called"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"q": "a"}, {"q": "a", "must": None}),  # it has to be given, and may be null: that is not absent
        ({"q": "a"}, {"q": None}),
        ({"n": 10}, {"n": 11}),
        ({"n": 1}, {"n": True}),
        ({"unit": "C"}, {"unit": "c"}),
        ({"q": "1"}, {"q": 1}),
        ({"other": None}, {}),  # the schema does not know it
        ({"q": "A"}, {"q": "a"}),
    ],
)
def test_arguments_that_differ_in_meaning_differ(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert chat(json.dumps(one)).key != chat(json.dumps(other)).key


def test_without_a_schema_null_is_not_absent_and_numbers_agree_by_value() -> None:
    bare = ({"type": "function", "function": {"name": "find"}},)
    assert chat('{"a": 1}', tools=bare).key == chat('{"a": 1.0}', tools=bare).key
    assert chat('{"a": null}', tools=bare).key != chat("{}", tools=bare).key
    assert chat('{"inner": {"deep": false}}').key == chat('{"inner": {}}').key != chat('{"inner": {"deep": true}}').key


@given(st.text(max_size=30))
def test_unicode_forms_of_one_text_agree(said: str) -> None:
    forms = {call_key(ToolCall(name="f", arguments=json.dumps({said: said})))}
    for form in ("NFC", "NFD"):
        spelt = unicodedata.normalize(form, said)
        forms.add(call_key(ToolCall(name="f", arguments=json.dumps({spelt: spelt}))))
    assert len(forms) == 1


def test_a_schema_that_goes_round_in_circles_ends() -> None:
    round_: dict[str, Any] = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}
    assert call_key(ToolCall(name="f", arguments='{"a": {"b": 1.0}}'), round_) == 'f({"a": {"b": 1}})'


def test_a_tool_that_takes_free_text_is_compared_by_it() -> None:
    def key(said: str) -> str | None:
        tools = ({"type": "custom", "custom": {"name": "sh"}},)
        call = ToolCall(name="sh", arguments=said, kind="custom")
        return ChatActions().parse(Reply(text="", tool_calls=(call,)), view(tools=tools)).key

    assert key("ls  -la") == key("ls -la") != key("ls -LA") and key("not json") is not None


# --- texts of a chat --------------------------------------------------------------------------------------------------


def said(reply: str, **options: Any) -> str | None:
    return ChatActions().parse(Reply(text=reply), view(options=options)).key


def test_answers_agree_by_content() -> None:
    assert (
        said('{"a": 1, "b": 2}') == said('```json\n{"b": 2.0,\n"a": 1}\n```') == said('Here:\n```\n{"a":1,"b":2}\n```')
    )
    assert said("It is done.") == said("it is  done") != said("All done")
    assert said("The name is 'Ann'") != said("the name is 'ann'")
    schema = {"json_schema": {"schema": {"properties": {"b": {"type": "integer", "default": 2}}}}}
    assert said('{"a": 1, "b": 2}', response_format=schema) == said('{"a": 1}', response_format=schema)


def test_code_agrees_whatever_was_thought_before_it() -> None:
    code = "x = 1\nprint('A  b')"
    forms = [
        f"Thought: I look.\nCode:\n```py\n{code}\n```<end_code>",
        f"Other words.\n```python\n{code}  \n```",
        f"Thought: hm\n<code>\n{code}\n</code>",
    ]
    assert len({said(form) for form in forms}) == 1
    assert said(forms[1]) != said(forms[1].replace("A  b", "a  b"))
    assert said(f"{forms[1]}\nor\n{forms[1]}") != said(forms[1]), "two blocks are not one"


# --- replies that were cut --------------------------------------------------------------------------------------------


def test_what_was_cut_agrees_with_nothing() -> None:
    assert chat('{"q": "a", "must": null}', finish="length").key is None
    assert ChatActions().parse(Reply(text="The answer is", finish="length"), view()).key is None
    assert text("Action: go to desk 1", finish="length").key is None
    whole = text("Action: go to desk 1\nThis is because", finish="length")
    assert (whole.action, whole.key) == ("go to desk 1", "go to desk 1"), "what came after it was cut"


async def test_the_teacher_acts_where_the_students_calls_are_cut() -> None:
    calls = (ToolCall(name="find"),)
    student = ScriptedModel(lambda ask: Reply(text="", tool_calls=calls, finish="length"), name="student")
    teacher = ScriptedModel([Reply(text="found")], name="teacher")
    decided = await Cascade(student, teacher, actions=ChatActions()).decide(view(tools=(TOOL,)), Desk())
    assert (decided.actor, decided.text) == ("teacher", "found")

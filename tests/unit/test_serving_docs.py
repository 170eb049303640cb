import re
from pathlib import Path
from typing import get_args

import pytest

from agents.serving.address import Address
from grid.serving import wire

TEXT = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()
MESSAGES = [*get_args(wire.Request.__value__), *get_args(wire.Reply.__value__)]


@pytest.mark.parametrize("message", MESSAGES)
def test_docs_have_every_message_with_its_fields(message):
    (row,) = re.findall(rf"^\| `{message.__name__}` \|(.*)\|$", TEXT, flags=re.MULTILINE)
    told = re.findall(r"(?:^|, )`(\w+)`", re.sub(r"\([^)]*\)", "", row.strip()))
    assert tuple(told) == message.__struct_fields__


def test_docs_have_every_code_and_every_key_of_a_query():
    for code in get_args(wire.Code.__value__):
        assert f"| `{code}` |" in TEXT
    query = set(Address.__struct_fields__) - {"api", "endpoint", "model"}
    table = TEXT[TEXT.index("| in its query") : TEXT.index("What the agent sees")]
    assert query == set(re.findall(r"`([a-z_]+)`", table)) - {"obs", "outputs"}
    assert f"Version {wire.VERSION}." in TEXT

"""The scripts' text: only declared keys, no value built in."""

import re
from importlib import resources

import pytest

SCRIPTS = sorted(
    path.name
    for path in resources.files("chalicelib.commands").iterdir()
    if path.name.endswith(".lua")
)


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_key_a_script_touches_is_passed_in_keys(name: str) -> None:
    text = (resources.files("chalicelib.commands") / name).read_text()
    calls = re.findall(r"redis\.p?call\('(\w+)'(?:, *(unpack\(KEYS, \d\)|[^,)]+))?", text)
    keys = [key for command, key in calls if command not in ("TIME", "INFO")]
    assert all(re.fullmatch(r"KEYS\[(\d|i|i \+ 4)\]|unpack\(KEYS, 5\)", key) for key in keys), calls
    assert len(calls) == text.count("redis.call(") + text.count("redis.pcall(")


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_says_what_it_is_for_first(name: str) -> None:
    assert (resources.files("chalicelib.commands") / name).read_text().startswith("-- ")

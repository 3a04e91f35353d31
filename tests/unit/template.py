"""A template as tests read it, and what of it exists under given parameters."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from infra.stack import WATCH
from localstack.provision import TEMPLATE


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms: of text left as text, of lists as `Fn::...`."""


def _short_form(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return {f"Fn::{suffix}": loader.construct_sequence(node, deep=True)}
    return f"{suffix} {node.value}"


_Loader.add_multi_constructor("!", _short_form)


def load(path: Path = TEMPLATE) -> dict[str, Any]:
    """A whole template."""
    loaded: dict[str, Any] = yaml.load(path.read_text(), _Loader)  # noqa: S506
    return loaded


def of_type(resources: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The properties of all resources of a type, by name."""
    return {name: r["Properties"] for name, r in resources.items() if r["Type"] == kind}


def present(section: str, path: Path = TEMPLATE, **parameters: str) -> dict[str, Any]:
    """What a section has under `parameters`; the others have their defaults."""
    template = load(path)
    values = {
        name: parameters.get(name, str(spec.get("Default", "")))
        for name, spec in template["Parameters"].items()
    }
    conditions = template["Conditions"]

    def value(operand: Any) -> str:
        text = str(operand)
        return values[text.removeprefix("Ref ")] if text.startswith("Ref ") else text

    def holds(condition: Any) -> bool:
        if isinstance(condition, str):
            return holds(conditions[condition.removeprefix("Condition ")])
        [(function, operands)] = condition.items()
        if function == "Fn::Equals":
            return value(operands[0]) == value(operands[1])
        parts = [holds(operand) for operand in operands]
        return {"Fn::And": all(parts), "Fn::Or": any(parts), "Fn::Not": not parts[0]}[function]

    return {
        name: spec
        for name, spec in template[section].items()
        if "Condition" not in spec or holds(spec["Condition"])
    }


def in_cloud(kind: str = "node") -> dict[str, Any]:
    return present("Resources", Cloud="true", StoreKind=kind) | watching(kind)


def watching(kind: str = "node") -> dict[str, Any]:
    return present("Resources", WATCH, StoreKind=kind, AlarmEmail="ops@example.com")


def walk(value: Any) -> Iterator[dict[str, Any]]:
    """All mappings in `value`."""
    if isinstance(value, dict):
        yield value
        for part in value.values():
            yield from walk(part)
    if isinstance(value, list):
        for part in value:
            yield from walk(part)

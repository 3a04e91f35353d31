"""The judge: which rules a history has broken. It knows the evidence, and nothing of the program.

What is absolute is judged strictly in every history: the counts, the limit, the stock, the record
of everything that was answered. Where the store had gone back, and with it what it had decided,
several ends are right; what has to hold then is that the record is truthful.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from simulate import answer_rules, journal_rules, operator_rules, table_rules
from simulate.case import Case
from simulate.evidence import Evidence

Rule = Callable[[Case], Iterator[str]]
RULES: Mapping[str, Rule] = {
    **journal_rules.RULES,
    **answer_rules.RULES,
    **operator_rules.RULES,
    **table_rules.RULES,
}


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that was broken, and where."""

    rule: str
    detail: str

    def __str__(self) -> str:
        """For a person."""
        return f"{self.rule}: {self.detail}"


def judge(evidence: Evidence) -> list[Violation]:
    """Every violation in a history; none where all rules hold."""
    case = Case(evidence)
    found = [Violation("commands end with an outcome", error) for error in evidence.errors]
    for name, rule in RULES.items():
        found += [Violation(name, detail) for detail in rule(case)]
    return found

"""Violations, gathered by what is wrong."""

from dataclasses import dataclass, field

NAMED = 5


@dataclass(slots=True)
class Findings:
    """What is wrong, in words -> where, each time."""

    found: dict[str, list[str]] = field(default_factory=dict)

    def add(self, wrong: str, where: str) -> None:
        """One more violation."""
        self.found.setdefault(wrong, []).append(where)

    @property
    def count(self) -> int:
        """How many violations there are."""
        return sum(len(places) for places in self.found.values())

    def sentences(self) -> list[str]:
        """A sentence for all of a kind, with the first few by name."""
        return [
            f"{wrong}: {len(places)} ({'; '.join(places[:NAMED])}"
            f"{'; ...' if len(places) > NAMED else ''})"
            for wrong, places in self.found.items()
        ]

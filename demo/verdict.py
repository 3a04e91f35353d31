"""A verdict: figures, and every violation as a sentence."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

# The only ways in which a customer may go home without a coupon.
REFUSALS = frozenset({(409, "SOLD_OUT"), (410, "FINISHED")})
NAMED = 5


@dataclass(frozen=True, slots=True)
class Sold:
    """One coupon as one source has it; `owner` is its customer."""

    coupon_id: str
    number: int
    owner: str


@dataclass(slots=True)
class Verdict:
    """Figures, and every violation as a sentence; without violations the sale was right.

    granted, stored, journaled: coupons in the answers, in the read table, in the journal.
    duplicates: coupons beyond a customer's first, and repeated ids, in the worst source.
    oversold: coupons beyond the stock, in the worst source. lost: coupons that an answer
    promised and the read table or the journal does not have. errors: answers that are neither
    a coupon nor an honest refusal.
    """

    customers: int
    stock: int
    granted: int
    stored: int
    journaled: int
    duplicates: int = 0
    oversold: int = 0
    lost: int = 0
    errors: int = 0
    violations: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """True when nothing at all is wrong."""
        return not self.violations

    def add(self, violation: str) -> None:
        """Note a violation."""
        self.violations.append(violation)

    def add_named(self, what: str, names: Iterable[str]) -> None:
        """Note one sentence for all of a kind, the first few by name; none where there are none."""
        found = list(names)
        if found:
            more = ", ..." if len(found) > NAMED else ""
            self.add(f"{what}: {len(found)} ({', '.join(found[:NAMED])}{more})")

    def add_gaps(self, what: str, numbers: Sequence[int]) -> None:
        """Note which of 1 to the largest number are missing."""
        missing = set(range(1, max(numbers, default=0) + 1)).difference(numbers)
        self.add_named(f"{what} missing", (str(number) for number in sorted(missing)))

    def add_strange(self, answers: Iterable[tuple[int, str, str]]) -> None:
        """Note answers (status, code, customer) that nobody should get, and count them."""
        strange: dict[tuple[int, str], list[str]] = {}
        for status, code, customer_id in answers:
            strange.setdefault((status, code), []).append(customer_id)
        for (status, code), names in strange.items():
            self.errors += len(names)
            what = f"{status} {code}" if status else f"no answer ({code})"
            self.add_named(f"unexpected answers, {what}", names)


def repeated(values: Iterable[str]) -> dict[str, int]:
    """Each value that appears more than once, and how often beyond the first."""
    return {value: n - 1 for value, n in Counter(values).items() if n > 1}

"""What a recovery writes into the journal, against what it had read. Pure, as fold.py.

`PromotionRecovered` ends the recovery's events and carries the whole promotion but for its coupons.
`known` names the versions that the recovery has read; what has a lower version and is not among
them came late.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from chaos.findings import Findings

Event = Mapping[str, Any]

GENERATION = 10**10
_CARRIED = ("known", "state", "granted", "revision", "discount", "opensAt", "closesAt",
            "couponsPerCustomer", "holdSeconds")  # fmt: skip
_OFFER = ("discount", "opensAt", "closesAt", "couponsPerCustomer", "holdSeconds", "price", "itemId",
          "admission")  # fmt: skip
_OPEN = ("SCHEDULED", "ON_SALE")
_ENDS = {"CANCELLED": "CANCELLED"}


class Known:
    """The versions that a recovery has read."""

    def __init__(self, recovery: Event) -> None:
        """From the text of `known`: "1-7,9"; "0" where a recovery has found nothing."""
        text = recovery.get("known", "0")
        pairs = (part.partition("-") for part in text.split(",") if part != "0")
        self.ranges = [(int(first), int(last or first)) for first, _, last in pairs]
        self._firsts = [first for first, _ in self.ranges]

    def __contains__(self, version: int) -> bool:
        """Whether the recovery has read the event of this version."""
        place = bisect_right(self._firsts, version) - 1
        return place >= 0 and version <= self.ranges[place][1]

    @property
    def lost(self) -> int:
        """How many versions are missing below the newest one of each generation."""
        newest: dict[int, int] = {}
        seen: Counter[int] = Counter()
        for first, last in self.ranges:
            generation = first // GENERATION
            newest[generation] = last % GENERATION
            seen[generation] += last - first + 1
        return sum(newest[generation] - seen[generation] for generation in newest)

    def unheard_of(self, versions: Sequence[int]) -> Iterator[int]:
        """First versions of those ranges that the journal, with these `versions`, does not have."""
        for first, last in self.ranges:
            if bisect_right(versions, last) - bisect_left(versions, first) != last - first + 1:
                yield first


def name(event: Event) -> str:
    """An event, for a person."""
    return f"{event['promotionId']} version {event['version']}"


def counts(event: Event) -> tuple[int, int, int, int]:
    """(stock, available, held, sold), as the event has it."""
    stock, available, held, sold = (event[c] for c in ("stock", "available", "held", "sold"))
    return stock, available, held, sold


def restocks_of(recovery: Event) -> dict[str, int]:
    """The units added by key, of every restock that is in its stock."""
    pairs = (part.rpartition("=") for part in recovery.get("restocks", "").split(";") if part)
    return {key: int(added) for key, _, added in pairs}


def check_part(event: Event, recovery: Event, findings: Findings) -> None:
    """An event that a recovery wrote before its last one: of a coupon, with the last one's counts.

    One of before an interruption has counts of its own.
    """
    if "customerId" not in event:
        findings.add("journal: an event before its recovery had ended", name(event))
    if event["at"] == recovery["at"] and counts(event) != counts(recovery):
        told = f"{counts(event)} instead of {counts(recovery)}, {name(event)}"
        findings.add("journal: a recovery's event with other counts than its last one", told)
    if event["at"] > recovery["at"]:
        findings.add("journal: a recovery's event after its last one", name(event))


def check_recovery(
    recovery: Event, before: Sequence[Event], versions: Sequence[int], findings: Findings
) -> None:
    """What a recovery says of the promotion, against the events that it has read.

    `before`: those, in order, and the recoveries of before. `versions`: the journal's, in order.
    """
    missing = [field for field in _CARRIED if field not in recovery]
    if missing:
        told = f"{', '.join(missing)} of {name(recovery)}"
        findings.add("journal: a recovery without a part of the promotion", told)
    known = Known(recovery)
    for version in known.unheard_of(versions):
        findings.add("journal: a recovery that has read what is not there",
                     f"from version {version} on, {name(recovery)}")  # fmt: skip
    if recovery.get("lost") != known.lost:
        findings.add("journal: a recovery that does not tell how many versions are missing",
                     f"{name(recovery)}: {recovery.get('lost')} of {known.lost}")  # fmt: skip
    _check_carried(recovery, before, findings)
    _check_restocks(recovery, before, findings)
    _check_state(recovery, before, findings)


def _check_carried(recovery: Event, before: Iterable[Event], findings: Findings) -> None:
    granted, revision = recovery.get("granted", 0), recovery.get("revision", 0)
    for event in before:
        if event.get("granted", 0) > granted:
            findings.add("journal: a recovery that grants a number again",
                         f"{granted} in {name(recovery)}, {name(event)}")  # fmt: skip
        if event.get("revision", -1) >= revision:
            findings.add("journal: a recovery with an old revision",
                         f"{revision} in {name(recovery)}, {name(event)}")  # fmt: skip
        if "opensAt" in event and any(event.get(f) != recovery.get(f) for f in _OFFER):
            findings.add("journal: a recovery with another offer", name(recovery))


def _check_restocks(recovery: Event, before: Iterable[Event], findings: Findings) -> None:
    """No restock is forgotten, and the stock is the first one and all of them."""
    restocks = restocks_of(recovery)
    for event in before:
        if event["type"] == "PromotionRestocked":
            done = {str(event.get("requestKey")): int(event["added"])}
        else:
            done = restocks_of(event)
        if not done.items() <= restocks.items():
            told = f"{', '.join(map(str, done))} in {name(recovery)}"
            findings.add("journal: a recovery that forgets a restock", told)


def _check_state(recovery: Event, before: Iterable[Event], findings: Findings) -> None:
    """A cancellation stays; a sale that was sold out may be opened again."""
    state, closed_as = recovery.get("state"), recovery.get("closedAs")
    if closed_as != _ENDS.get(str(state), closed_as) or (closed_as is None) != (state in _OPEN):
        findings.add("journal: a recovery whose end can't be", f"{closed_as}, {name(recovery)}")
    cancelled = any(
        e["type"] == "PromotionCancelled" or e.get("closedAs") == "CANCELLED" for e in before
    )
    if cancelled and state != "CANCELLED":
        findings.add("journal: a recovery that takes a cancellation back", name(recovery))
    if closed_as == "SOLD_OUT" and recovery["held"] and not recovery["lost"]:
        findings.add("journal: a recovery that is sold out with units held", name(recovery))

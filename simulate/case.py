"""The evidence of a history, arranged for the rules."""

from dataclasses import dataclass, field

from simulate.evidence import Answer, CouponKey, Evidence, Row
from simulate.fold import Folded, fold, same_moment

GOOD_GRAB = ("GRANTED", "REPEATED")


@dataclass(slots=True)
class Case:
    """One history before the judge.

    folded: the whole journal. lives: each coupon's events, in order. successors: a coupon that
    two stories gave the same number goes on under another one.
    """

    evidence: Evidence
    folded: Folded = field(init=False)
    lives: dict[CouponKey, list[Row]] = field(default_factory=dict)
    successors: dict[CouponKey, CouponKey] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Fold the journal, and follow each coupon."""
        self.folded = fold(self.evidence.journal)
        for event in self.evidence.journal:
            if "customerId" in event:
                self.lives.setdefault((event["customerId"], event["number"]), []).append(event)
        for key, events in self.lives.items():
            for event in events:
                successor = self._successor(key, event)
                if successor is not None:
                    self.successors[key] = successor

    def _successor(self, key: CouponKey, event: Row) -> CouponKey | None:
        if event.get("movedTo") is not None:
            return key[0], event["movedTo"]
        if event.get("reason") != "RENUMBERED":
            return None
        # It is told right after the revocation, and nothing was told of it before.
        others = (
            other
            for other, life in self.lives.items()
            if other[0] == key[0]
            and life[0]["grabbedAt"] == event["grabbedAt"]
            and life[0]["version"] > event["version"]
        )
        return min(others, key=lambda other: int(self.lives[other][0]["version"]), default=None)

    def chain(self, key: CouponKey) -> list[CouponKey]:
        """The coupon and those it goes on as, the last one at the end."""
        chain = [key]
        while chain[-1] in self.successors and self.successors[chain[-1]] not in chain:
            chain.append(self.successors[chain[-1]])
        return chain

    def record(self, key: CouponKey) -> Row | None:
        """The newest event of the coupon, under the number it has by now."""
        return self.folded.coupons.get(self.chain(key)[-1])

    def events_of(self, key: CouponKey) -> list[Row]:
        """All events of the coupon, under all its numbers."""
        return [event for member in self.chain(key) for event in self.lives.get(member, [])]

    def after_recovery(self, event: Row) -> Folded:
        """The fold right after the recovery that has told this event."""
        return fold(
            other
            for other in self.evidence.journal
            if other["version"] <= event["version"] or same_moment(other, event)
        )

    def answers(self, what: str) -> list[Answer]:
        """The requests of one kind, in order."""
        return [answer for answer in self.evidence.answers if answer.what == what]

    def requests_for(self, what: str, key: CouponKey) -> list[Answer]:
        """The requests of one kind for a coupon, under any of its numbers."""
        chain = self.chain(key)
        roots = [root for root in self.successors if key in self.chain(root)]
        return [a for a in self.answers(what) if (a.who, a.number) in (*chain, *roots)]

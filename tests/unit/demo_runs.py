"""Runs of the demo as its verifier gets them, for tests to tamper with."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from demo.history import Attempt, Settlement
from demo.verdict import Verdict
from demo.verify import verify
from demo.verify_paid import PaidRun, PaidVerdict, verify_paid

PROMOTION = "p"


@dataclass
class Sale:
    """A run that a test may tamper with."""

    customers: int
    stock: int
    attempts: list[Attempt]
    coupons: list[dict[str, Any]]
    journal: list[dict[str, Any]]
    available: int | None

    def verdict(self) -> Verdict:
        return verify(
            self.customers, self.stock, self.attempts, self.coupons, self.journal, self.available
        )

    def change_attempt(self, position: int, **changes: Any) -> None:
        self.attempts[position] = replace(self.attempts[position], **changes)

    def change_event(self, version: int, /, **changes: Any) -> None:
        """Change an event, in its JSON and in the attributes beside it."""
        row = self.journal[version - 1]
        event = json.loads(row["event"]) | changes
        self.journal[version - 1] = row_of(event)


def row_of(event: dict[str, Any]) -> dict[str, Any]:
    keys = ("promotionId", "version", "type", "at")
    return {key: event[key] for key in keys} | {"event": json.dumps(event)}


def event_of(stock: int, version: int, kind: str, sold: int, **more: Any) -> dict[str, Any]:
    counts = {"stock": stock, "available": stock - sold, "held": 0, "sold": sold}
    head = {"type": kind, "promotionId": PROMOTION, "version": version, "at": 1000 + version}
    return head | counts | more


def attempt(position: int, *, number: int = 0) -> Attempt:
    won = number > 0
    return Attempt(
        customer_id=f"c{position}",
        status=201 if won else 409,
        code="GRABBED" if won else "SOLD_OUT",
        coupon_id=f"{PROMOTION}-{number}" if won else "",
        number=number,
        started_ms=1000.0 + position,
        latency_ms=5.0,
        visible_ms=40.0 if won else None,
    )


def good_sale(customers: int = 12, stock: int = 5) -> Sale:
    winners = min(customers, stock)
    events = [event_of(stock, 1, "PromotionStarted", 0)]
    coupons = []
    for number in range(1, winners + 1):
        more = {"customerId": f"c{number}", "number": number}
        events.append(event_of(stock, number + 1, "CouponGrabbed", number, **more))
        coupons.append({"couponId": f"{PROMOTION}-{number}", "promotionId": PROMOTION, **more})
    if customers >= stock:
        events.append(event_of(stock, winners + 2, "PromotionFinished", winners))
    attempts = [
        attempt(position, number=position if position <= winners else 0)
        for position in range(1, customers + 1)
    ]
    journal = [row_of(event) for event in events]
    left = stock - customers if customers < stock else None
    return Sale(customers, stock, attempts, coupons, journal, left)


def named(verdict: Verdict, *words: str) -> bool:
    """One violation has all the words."""
    assert not verdict.passed
    return any(all(word in text for word in words) for text in verdict.violations)


# --- with payment

HOLD_MS = 2000
SHOWN = {"CouponGrabbed": "GRABBED", "CouponPaid": "PAID", "CouponReleased": "RELEASED",
         "RefundRecorded": "REFUND_DUE"}  # fmt: skip


@dataclass
class PaidSale:
    """A run with payment that a test may tamper with; the events are kept apart from their rows."""

    customers: int
    stock: int
    attempts: list[Attempt]
    settlements: list[Settlement]
    coupons: list[dict[str, Any]]
    events: list[dict[str, Any]]
    available: int | None = None

    def verdict(self) -> PaidVerdict:
        return verify_paid(
            PaidRun(
                self.customers,
                self.stock,
                self.attempts,
                self.settlements,
                self.coupons,
                [row_of(event) for event in self.events],
                self.available,
            )
        )

    def event(self, kind: str, number: int) -> dict[str, Any]:
        return next(e for e in self.events if e["type"] == kind and e.get("number") == number)

    def renumber(self) -> None:
        """Versions 1 to n again, after events were moved, dropped or added."""
        for version, event in enumerate(self.events, 1):
            event["version"] = version

    def recount(self) -> None:
        """Counts as they would follow, so that a test breaks one rule and not the sums."""
        held, sold = 0, 0
        state: dict[int, str] = {}
        for event in self.events:
            number, kind = event.get("number"), event["type"]
            if number:
                held += (kind == "CouponGrabbed") - (state.get(number) == "CouponGrabbed")
                sold += (kind == "CouponPaid") - (state.get(number) == "CouponPaid")
                state[number] = kind
            event.update(held=held, sold=sold, available=self.stock - held - sold)


def settlement(owner: int, number: int, did: str, status: int, code: str) -> Settlement:
    return Settlement(
        customer_id=f"c{owner}", coupon_id=f"{PROMOTION}-{number}", did=did, status=status,
        code=code, started_ms=1500.0, latency_ms=5.0,
    )  # fmt: skip


# What happened in the good run: (coupon, customer, event, ms since the start).
STORY = [
    (1, 1, "CouponGrabbed", 1), (2, 2, "CouponGrabbed", 2), (3, 3, "CouponGrabbed", 3),
    (1, 1, "CouponPaid", 500),
    (2, 2, "CouponReleased", 600),  # given back
    (4, 4, "CouponGrabbed", 700),
    (3, 3, "CouponReleased", 2003),  # expired
    (5, 2, "CouponGrabbed", 2100),  # who gave back comes again
    (4, 4, "CouponPaid", 2200),
    (5, 2, "CouponPaid", 2300),
]  # fmt: skip


def good_paid_sale() -> PaidSale:
    """Five customers, three units; one coupon is given back, one expires, both are sold again."""
    sale = PaidSale(5, 3, [], [], [], list(_events(3)))
    sale.renumber()
    sale.recount()
    for number, owner, kind, _ in STORY:
        coupon = {"couponId": f"{PROMOTION}-{number}", "number": number}
        if kind == "CouponGrabbed":
            sale.attempts.append(attempt(owner, number=number))
            sale.coupons.append(coupon | {"customerId": f"c{owner}", "state": "GRABBED"})
            continue
        sale.coupons[number - 1]["state"] = SHOWN[kind]
        if kind == "CouponPaid":
            sale.settlements.append(settlement(owner, number, "payment", 200, "PAID"))
    sale.settlements.append(settlement(2, 2, "return", 200, "RELEASED"))
    sale.attempts += [attempt(4), attempt(5), attempt(5)]
    return sale


def _events(stock: int) -> Iterator[dict[str, Any]]:
    yield event_of(stock, 1, "PromotionStarted", 0) | {"at": 1000}
    grabbed = {number: at for number, _, kind, at in STORY if kind == "CouponGrabbed"}
    for number, owner, kind, at in STORY:
        more = {"customerId": f"c{owner}", "number": number, "at": 1000 + at}
        more["deadline"] = 1000 + grabbed[number] + HOLD_MS
        if kind == "CouponReleased":
            more["reason"] = "GIVEN_BACK" if number == 2 else "EXPIRED"
        yield event_of(stock, 0, kind, 0, **more)
    yield event_of(stock, 0, "PromotionFinished", 0) | {"at": 3300}

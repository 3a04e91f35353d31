"""The whole life of a promotion: random commands, clock steps and repeats against a plain model.

After every step the store and the model agree on every count and coupon, and the events add up:
versions without gaps, the counts' invariant, one start before the first grab, one end at most.
"""

import secrets
from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis import Redis

from chalicelib.commands import scripts
from chalicelib.commands.create_promotion import install_promotion
from chalicelib.commands.decision import Outside, decide
from chalicelib.commands.offer import Offer, store_fields
from chalicelib.commands.pay import GiveBackCoupon, PayCoupon, give_back_coupon, pay_coupon
from chalicelib.commands.sweep import advance_promotion
from chalicelib.events import CouponEvent, Event
from tests.unit.conftest import Broker, promotion_row, state_of
from tests.unit.model import Model

pytestmark = pytest.mark.store

CUSTOMERS = st.sampled_from(["alice", "bob", "carol"])
KEYS = st.sampled_from(["k1", "k2", "k3-", "-"])
NUMBERS = st.integers(1, 6)


class Life(RuleBasedStateMachine):
    store: Redis
    set_clock: Callable[[str, int], None]

    @initialize(
        stock=st.integers(1, 4),
        limit=st.sampled_from([1, 1, 2, 3]),
        hold_s=st.sampled_from([0, 1, 1, 2]),
        opens_at=st.sampled_from([0, 0, 500]),
        closes_at=st.sampled_from([2500, 10_000]),
    )
    def begin(self, stock: int, limit: int, hold_s: int, opens_at: int, closes_at: int) -> None:
        self.broker = Broker()
        self.outside = Outside(self.store, self.broker, lambda *_: None, lambda _: True)
        row = promotion_row(
            stock, opens_at, closes_at, coupons_per_customer=limit, hold_seconds=hold_s
        )
        self.sale = str(row.promotion_id)
        self.model = Model(stock, opens_at, closes_at, limit, hold_s * 1000)
        self.set_clock(self.sale, 0)
        install_promotion(row, self.outside)
        self.model.advance()

    @rule(ms=st.sampled_from([1, 499, 500, 1000, 2500]))
    def time_passes(self, ms: int) -> None:
        self.model.now += ms
        self.set_clock(self.sale, self.model.now)

    @rule(customer=CUSTOMERS, key=KEYS)
    def grab(self, customer: str, key: str) -> None:
        answer = decide(self.outside, "grab", self.sale, customer, key).reply
        expected = self.model.grab(customer, key)
        assert (answer.outcome, answer.detail.get("number", 0)) == expected

    def one_of_theirs(self, customer: str, pick: int) -> tuple[str, int]:
        """Mostly a coupon that there is, with its holder: a guess hardly ever finds one."""
        if pick > 1 and self.model.coupons:
            coupon = self.model.coupons[-(pick % len(self.model.coupons)) - 1]
            return coupon.customer, coupon.number
        return customer, pick

    @rule(customer=CUSTOMERS, pick=NUMBERS, reference=st.sampled_from(["r1", "r2-"]))
    def pay(self, customer: str, pick: int, reference: str) -> None:
        customer, number = self.one_of_theirs(customer, pick)
        answer = pay_coupon(PayCoupon(self.sale, number, customer, reference), self.outside)
        assert answer.outcome == self.model.pay(customer, number, reference)

    @rule(customer=CUSTOMERS, pick=NUMBERS)
    def give_back(self, customer: str, pick: int) -> None:
        customer, number = self.one_of_theirs(customer, pick)
        answer = give_back_coupon(GiveBackCoupon(self.sale, number, customer), self.outside)
        assert answer.outcome == self.model.give_back(customer, number)

    @precondition(lambda self: self.model.stock < 8)
    @rule(add=st.integers(1, 2), times=st.integers(1, 2))
    def restock(self, add: int, times: int) -> None:
        key = secrets.token_hex(4)
        answers = [
            decide(self.outside, "restock", self.sale, add, key, 100).outcome for _ in range(times)
        ]
        expected = self.model.restock(add)
        assert answers[0] == expected
        assert set(answers[1:]) <= {"REPEATED", expected}

    @rule(stock=st.integers(1, 4), opens_at=st.sampled_from([0, 1000]))
    def edit(self, stock: int, opens_at: int) -> None:
        offer = Offer(
            stock, Decimal("0.15"), opens_at, 9000, self.model.limit, self.model.hold_ms // 1000
        )
        fields = store_fields(offer, None)
        answer = decide(self.outside, "edit", self.sale, secrets.token_hex(4), *fields).outcome
        assert answer == self.model.edit(stock, opens_at, 9000)

    @precondition(lambda self: self.model.now > 2000)
    @rule()
    def cancel(self) -> None:
        answer = decide(self.outside, "cancel", self.sale).outcome
        assert answer == self.model.cancel()

    @rule()
    def sweep(self) -> None:
        assert advance_promotion(self.sale, self.outside).outcome != "UNKNOWN"
        self.model.advance()

    @invariant()
    def the_store_and_the_model_agree(self) -> None:
        if not hasattr(self, "model"):
            return
        # Neither side has seen the present moment until somebody asks: both look now.
        advance_promotion(self.sale, self.outside)
        self.model.advance()
        state = state_of(self.store, self.sale)
        stock, available, sold = (int(state[name]) for name in ("stock", "available", "sold"))
        model = self.model
        assert (stock, available, sold) == (model.stock, model.available, model.sold)
        assert (state["state"], state.get("closed_as", "")) == (model.state, model.closed_as)
        assert available >= 0
        assert self.store.zcard(scripts.key(self.sale, "holds")) == model.held

    @invariant()
    def nobody_holds_more_than_the_limit(self) -> None:
        if hasattr(self, "model"):
            for name in ("alice", "bob", "carol"):
                own = [c for c in self.model.coupons if c.customer == name and c.active]
                assert len(own) <= self.model.limit

    @invariant()
    def the_events_tell_the_same_story(self) -> None:
        if not hasattr(self, "model"):
            return
        events = [event for event in self.broker.published if isinstance(event, Event)]
        assert sorted({event.version for event in events}) == list(range(1, len(events) + 1))
        for event in events:
            assert event.stock == event.available + event.held + event.sold
            assert min(event.available, event.held, event.sold) >= 0
        types = [event.type for event in events]
        ends = [i for i, kind in enumerate(types) if kind.startswith("PromotionF")]
        assert len(ends) + types.count("PromotionCancelled") <= 1
        assert types[:1] in ([], ["PromotionStarted"], ["PromotionCancelled"])
        assert "CouponGrabbed" not in types[ends[0] :] if ends else True
        shown = {e.number: e.state for e in events if isinstance(e, CouponEvent)}
        assert shown == {coupon.number: coupon.state for coupon in self.model.coupons}


def test_any_life_of_a_promotion_is_as_the_model_says(
    store: Redis,
    set_clock: Callable[[str, int], None],
    in_cluster: bool,  # noqa: FBT001
) -> None:
    Life.store, Life.set_clock = store, staticmethod(set_clock)
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=10 if in_cluster else 100,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

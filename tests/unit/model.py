"""What a promotion should do, in plain Python: no store, no script, no cleverness."""

from dataclasses import dataclass, field


@dataclass
class ModelCoupon:
    customer: str
    number: int
    deadline: int | None
    state: str = "GRABBED"
    key: str = ""
    reference: str | None = None
    given_back: bool = False
    refused: str = ""

    @property
    def active(self) -> bool:
        return self.state in ("GRABBED", "PAID")


@dataclass
class Model:
    """One promotion. `now` is the store's clock; every method advances to it first."""

    stock: int
    opens_at: int
    closes_at: int
    limit: int
    hold_ms: int
    now: int = 0
    state: str = "SCHEDULED"
    closed_as: str = ""
    coupons: list[ModelCoupon] = field(default_factory=list)

    @property
    def sold(self) -> int:
        final = "GRABBED" if self.hold_ms == 0 else "PAID"
        return sum(coupon.state in (final, "PAID") for coupon in self.coupons)

    @property
    def held(self) -> int:
        return sum(c.state == "GRABBED" and c.deadline is not None for c in self.coupons)

    @property
    def available(self) -> int:
        return self.stock - self.held - self.sold

    def advance(self) -> None:
        if self.state == "SCHEDULED" and self.now >= self.opens_at:
            self.state = "ON_SALE"
        for coupon in self.coupons:
            overdue = coupon.deadline is not None and coupon.deadline <= self.now
            cancelled = self.state == "CANCELLED" and coupon.deadline is not None
            if coupon.state == "GRABBED" and (overdue or cancelled):
                coupon.state = "RELEASED"
        if self.state == "ON_SALE" and self.now >= self.closes_at:
            self.state, self.closed_as = "FINISHED", "FINISHED"

    def _finish_if_sold(self) -> None:
        if self.state == "ON_SALE" and self.sold == self.stock:
            self.state, self.closed_as = "FINISHED", "SOLD_OUT"

    def _own(self, customer: str) -> list[ModelCoupon]:
        return [coupon for coupon in self.coupons if coupon.customer == customer]

    def _find(self, customer: str, number: int) -> ModelCoupon | None:
        return next((c for c in self._own(customer) if c.number == number), None)

    def grab(self, customer: str, key: str) -> tuple[str, int]:
        self.advance()
        own = self._own(customer)
        repeated = [c for c in own if c.key == key]
        if not repeated and self.limit == 1:
            repeated = [c for c in own if c.active]
        if repeated:
            return "REPEATED", repeated[0].number
        if self.state == "SCHEDULED":
            return "NOT_STARTED", 0
        if self.closed_as:
            return self.closed_as, 0
        if sum(c.active for c in own) >= self.limit or len(own) >= self.limit + 20:
            return "LIMIT_REACHED", 0
        if self.available == 0:
            return "SOLD_OUT", 0
        deadline = self.now + self.hold_ms if self.hold_ms else None
        coupon = ModelCoupon(customer, len(self.coupons) + 1, deadline, key=key)
        self.coupons.append(coupon)
        self._finish_if_sold()
        return "GRANTED", coupon.number

    def pay(self, customer: str, number: int, reference: str) -> str:
        self.advance()
        coupon = self._find(customer, number)
        if coupon is None:
            return "UNKNOWN_COUPON"
        if coupon.state == "GRABBED" and coupon.deadline is None:
            return "NOTHING_TO_PAY"
        if coupon.state == "PAID":
            return "REPEATED" if coupon.reference == reference else "ALREADY_PAID"
        if coupon.state == "REFUND_DUE":
            return coupon.refused
        within_limit = sum(c.active for c in self._own(customer)) < self.limit
        free = self.state == "ON_SALE" and self.available > 0 and within_limit
        coupon.reference = reference
        if coupon.state == "GRABBED" or (free and not coupon.given_back):
            coupon.state = "PAID"
            self._finish_if_sold()
            return "PAID"
        coupon.state = "REFUND_DUE"
        if coupon.given_back:
            coupon.refused = "COUPON_RELEASED"
        else:
            coupon.refused = "CANCELLED" if self.state == "CANCELLED" else "HOLD_EXPIRED"
        return coupon.refused

    def give_back(self, customer: str, number: int) -> str:
        self.advance()
        coupon = self._find(customer, number)
        if coupon is None:
            return "UNKNOWN_COUPON"
        told = {"REFUND_DUE": "REFUND_DUE", "PAID": "ALREADY_PAID", "RELEASED": "REPEATED"}
        if coupon.state in told:
            return told[coupon.state]
        if coupon.deadline is None:
            return "NOT_RETURNABLE"
        coupon.state, coupon.given_back = "RELEASED", True
        return "RELEASED"

    def restock(self, add: int) -> str:
        self.advance()
        if self.closed_as:
            return self.closed_as
        self.stock += add
        return "RESTOCKED"

    def cancel(self) -> str:
        self.advance()
        if not self.closed_as:
            self.state, self.closed_as = "CANCELLED", "CANCELLED"
        return self.closed_as

    def edit(self, stock: int, opens_at: int, closes_at: int) -> str:
        self.advance()
        if self.state != "SCHEDULED":
            return self.closed_as or self.state
        self.stock, self.opens_at, self.closes_at = stock, opens_at, closes_at
        self.advance()
        return "EDITED"

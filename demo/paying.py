"""What winners do where coupons must be paid, and when losers come back."""

from collections import deque
from dataclasses import dataclass, field
from random import Random
from typing import IO

PAYMENT, RETURN, LAPSE = "payment", "return", "lapse"
# Of those who do not pay, the share that gives the coupon back instead of letting it expire.
GIVE_BACK = 0.2
# A winner decides after this part of the hold: late enough to be seen, early enough to be in time.
DECIDES = (0.05, 0.25)
# Once everybody has had their turn, a few losers keep trying, each after a pause.
RETURNING = 8
PAUSE_S = 0.25
# At first as undecided as before; then only those return who will pay, so that an end is in sight.
UNDECIDED_S = 30.0
OPEN_S = 90.0


@dataclass(slots=True)
class Paying:
    """A crowd's plans for `units` that have to be paid within `hold_s`, each with chance `pay`.

    again: who lost, or let a coupon go, and will come back. all_served: when (in seconds of a
    clock that never goes back) everybody had had their turn; None until then.
    """

    hold_s: int
    pay: float
    units: int
    settlements: IO[str]
    again: deque[str] = field(default_factory=deque)
    paid: int = 0
    places: int = 0
    all_served: float | None = None
    _minds: dict[str, Random] = field(default_factory=dict)

    def plan(self, customer_id: str, now: float) -> tuple[str, float]:
        """What a winner is going to do, and after how many seconds; the same in every run."""
        mind = self._minds.setdefault(customer_id, Random(customer_id))
        after_s = self.hold_s * mind.uniform(*DECIDES)
        chance = mind.random()
        decided = self.all_served is not None and now - self.all_served > UNDECIDED_S
        if chance < self.pay or decided:
            return PAYMENT, after_s
        return (RETURN if mind.random() < GIVE_BACK else LAPSE), after_s

    def take_place(self) -> bool:
        """True for the first few who ask to keep trying."""
        self.places += 1
        return self.places <= RETURNING

    def is_over(self, now: float) -> bool:
        """True when all is paid, or too much time has gone by."""
        if self.all_served is None:
            self.all_served = now
        return self.paid >= self.units or now - self.all_served > OPEN_S

"""Which fault happens when: drawn from the seed, so that a run can be had again."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

# What each kind of fault does.
KINDS = {
    "http": "kill -9 of an HTTP server",
    "consumers": "kill -9 of a process of consumers",
    "sweep": "kill -9 of the sweep, which is also the relay",
    "store": "kill -9 of the store, which comes back with all it had",
    "wipe": "FLUSHALL of the store",
    "snapshot": "the store is replaced by an older snapshot of itself",
    "broker": "SNS and SQS refuse, reset, hang, answer 500 or nonsense, or do as told in silence",
    "tables": "DynamoDB throttles",
    "messages": "messages are repeated, delayed and shuffled",
    "poison": "messages that are none",
    "clock": "a process is replaced by one whose clock is 10 minutes off",
    "replies": "the store's replies get lost after the command was run",
    "statement": "consumers or the sweep die at statements of recoveries from now on",
}
# After these the store is compared with the journal, which takes a few seconds: they are half as
# frequent as the others, or nothing but that would be tested.
_SETS_BACK = ("store", "wipe", "snapshot")
# From one fault to the next, and how long each lasts.
GAP_S = (0.7, 2.6)
LASTS_S = (0.4, 3.0)
# The crowd gets going first, and the last faults end before the sales do.
FIRST_S = 1.5
VARIANTS = 1000


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: `at_s` seconds after the start; `variant` chooses the victim and the manner."""

    at_s: float
    kind: str
    lasts_s: float
    variant: int


def schedule(seed: int, seconds: float, kinds: Sequence[str]) -> list[Fault]:
    """The faults of a run of `seconds`, in random order.

    Each of `kinds` comes about equally often, those that set the store back half as often.
    """
    rng = random.Random(seed)
    faults: list[Fault] = []
    bag: list[str] = []
    at_s = FIRST_S
    while kinds and at_s < seconds - 1:
        if not bag:
            bag = sorted([*kinds, *(kind for kind in kinds if kind not in _SETS_BACK)])
            rng.shuffle(bag)
        lasts_s = rng.uniform(*LASTS_S)
        faults.append(Fault(at_s, bag.pop(), lasts_s, rng.randrange(VARIANTS)))
        at_s += rng.uniform(*GAP_S)
    return faults

"""Histories that have broken a rule once: found at random, or written from a fault that was known.

Each is the shortest that showed its fault. `python -m simulate --replay FILE` plays one, and shows
what each process returned. ANY stands for each of a process's calls: which one it was changes with
the program.
"""

import pytest

from simulate.judge import judge
from simulate.lab import Lab
from simulate.run import play
from simulate.steps import read_script

# More than any process makes in these histories.
CALLS = 30
HISTORIES = {
    "a payment that was refused a moment ago is not answered from the store alone": """
Sale(stock=4, hold_s=2)
Grab(who='bob')
Time(ms=900)
Grab()
Broker(mode='away')
Tables(which='journal', available=False)
Pay()
Broker()
Time(ms=1200)
Pay()
Wipe()
""",
    "a refund that was decided after the end reaches the journal although its process died": """
Sale(stock=2, hold_s=600)
Grab()
GiveBack()
Cancel()
Time(ms=3601000)
Sweep()
Pay(fault=Fault(kind='dies', at=ANY))
""",
    "a refund that was decided after the end reaches the journal after an outage": """
Sale(stock=2, hold_s=600)
Grab()
GiveBack()
Cancel()
Time(ms=3601000)
Sweep()
Broker(mode='away')
Tables(available=False)
Pay()
""",
    "a recovery without the start does not count a restock twice": """
Sale(stock=3, opens_s=1)
Consumer(mode='fails')
Time(ms=1000)
Sweep()
Consumer()
Restock(add=2)
Wipe()
Sweep(); Time(ms=11000); Sweep()
""",
    "a restock whose event is a dead letter survives a recovery": """
Sale(stock=2, hold_s=30)
Consumer(mode='fails')
Restock(add=1)
Consumer()
Grab()
Grab(who='bob')
Grab(who='carol')
Wipe()
Sweep(); Time(ms=11000); Sweep()
""",
    "a payment that is told again after a recovery is not refunded as well": """
Sale(stock=4, hold_s=600)
Snapshot()
Grab()
RollBack(by='hand')
Grab(who='bob')
Pay(who='bob')
Sweep(); Time(ms=11000); Sweep()
Pay(who='bob')
""",
    "a restock before the start is done once, also after a recovery": """
Sale(stock=2, opens_s=3600)
Restock(add=2, key='k')
Wipe()
Sweep(); Time(ms=11000); Sweep()
Restock(add=2, key='k')
""",
    "a recovered sale has the offer that it started with": """
Sale(stock=2, opens_s=3600, limit=3)
Edit(stock=2, limit=1, hold_s=60, fault=Fault(kind='dies', at=ANY))
Grab()
Wipe()
""",
    "a conflict that comes after the recovery is settled": """
Sale()
Snapshot()
Consumer(mode='fails')
Grab()
Consumer()
RollBack(by='hand')
Grab(who='bob')
Wipe()
Sweep(); Time(ms=11000); Sweep()
""",
    "a recovery whose last reply was lost settles its conflicts": """
Sale(stock=4)
Snapshot()
Grab()
RollBack(by='hand')
Grab(who='bob')
Sweep()
Time(ms=11000)
Recover(fault=Fault(kind='again', at=ANY))
""",
    "the offer in the table is that of the journal's start, whatever came last": """
Sale(opens_s=10, limit=3)
Snapshot()
Edit(limit=1, opens_s=10)
Consumer(queue='active', mode='fails')
Time(ms=11000)
Sweep()
RollBack(by='hand')
Time(ms=1)
Grab()
Sweep(); Time(ms=11000); Sweep()
""",
    "nothing of a sale that is over stays in the store for ever": """
Sale(hold_s=600)
Grab()
GiveBack()
Cancel()
Time(ms=3601000)
Sweep()
Pay()
""",
    "a grab that comes after a recovery takes nobody's unit without a word": """
Sale()
Consumer(mode='fails')
Grab()
Consumer()
Wipe()
Sweep(); Time(ms=11000); Sweep()
Grab(who='bob')
Redrive()
""",
    "a restock that only a conflict has told is not forgotten by the next recovery": """
Sale(hold_s=600)
Snapshot()
Grab()
RollBack(by='hand')
Restock()
Grab(who='bob')
Grab(who='carol')
Sweep(); Time(ms=11000); Sweep()
Wipe()
Sweep(); Time(ms=11000); Sweep()
""",
    "a cancellation that only a conflict has told is told again": """
Sale(stock=2)
Snapshot()
Grab()
RollBack(by='hand')
Cancel()
Sweep(); Time(ms=11000); Sweep()
Wipe()
Sweep(); Time(ms=11000); Sweep()
""",
    "money that moved in a store that had gone back behind a recovery is on record": """
Sale(hold_s=600)
Snapshot()
Grab()
RollBack(by='hand')
Grab(who='bob')
Snapshot()
Sweep(); Time(ms=11000); Sweep()
RollBack(by='hand')
Pay(who='bob')
""",
    "a recovery's decisions are on record before its conflicts are settled": """
Sale(stock=4)
Snapshot()
Grab()
RollBack(by='hand')
Grab(who='bob')
Sweep()
Time(ms=11000)
Broker(mode='away')
Sweep()
Wipe()
Broker()
""",
    "a grab that comes after a recovery has opened the sale again is on record": """
Sale()
Consumer(mode='fails')
Grab()
Consumer()
Wipe()
Sweep(); Time(ms=11000); Sweep()
""",
    "tables are rebuilt although the recovery's process died before": """
Sale(stock=4, hold_s=600)
Consumer(queue='coupons', mode='stopped')
Broker(mode='away')
Grab()
Pay()
Wipe()
Sweep()
Time(ms=11000)
Sweep(fault=Fault(kind='dies', at=ANY))
""",
    "each payment that is refused has its own refund": """
Sale(hold_s=1)
Grab()
GiveBack()
Pay()
Pay(reference='visa-2')
""",
    "a payment in each of two stories: one is taken and one is refunded": """
Sale(hold_s=600)
Snapshot()
Grab()
Pay()
RollBack(by='hand')
Grab()
Pay(reference='visa-2')
""",
    "a key that got a coupon gets the same one after it was given back": """
Sale(hold_s=1)
Grab(key='k1')
GiveBack()
Grab(key='k1')
""",
    "a hold does not end while nobody can pay": """
Sale(hold_s=1)
Grab()
FailOver()
Recover()
""",
    "an end that only a conflict has told is told again": """
Sale(lasts_s=60)
Snapshot()
Restock()
Time(ms=60000)
RollBack(by='hand')
""",
    "a restock under another version of its story is counted": """
Sale()
Snapshot()
Restock()
RollBack(by='hand')
Time()
Restock(key=None)
Sweep(); Time(ms=11000); Sweep()
RollBack()
""",
    "what a fenced promotion sold is on record when the amends got lost": """
Sale()
Snapshot()
Grab(who='carol')
RollBack(by='hand')
Broker(mode='away')
Grab()
Sweep(); Time(ms=11000); Sweep()
RollBack()
""",
    "the refund of a second payment changes nothing of its coupon": """
Sale(hold_s=1)
Consumer(mode='fails')
Grab()
Pay()
Wipe()
Sweep(); Time(ms=11000); Sweep()
Grab()
Pay(reference=None)
""",
    "a payment without a reference leaves the reference of another story": """
Sale(stock=2, hold_s=1)
Snapshot()
Grab()
Pay()
RollBack(by='hand')
Restock()
Grab()
Pay(reference=None)
""",
    "a refund without a reference is that of the payment in another story": """
Sale(stock=2, hold_s=1)
Snapshot()
Grab()
Pay()
RollBack(by='hand')
Grab()
GiveBack()
Pay(reference=None)
""",
    "no hold ends behind a fence that a fail-over has made a new one of": """
Sale(hold_s=1)
Grab()
Wipe()
Sweep()
FailOver()
""",
    "a refund of another story leaves the payment that has a unit": """
Sale(hold_s=1)
Grab()
Snapshot()
Pay(reference='visa-2')
RollBack(by='hand')
Time(ms=600000)
Pay()
""",
    "the key of a restock before the start is known after a recovery": """
Sale(opens_s=1)
Restock(key='k1')
Time(ms=1250)
Grab()
Wipe()
Sweep(); Time(ms=11000); Sweep()
Restock(key='k1')
""",
    "what is sold out in one story and cancelled in another is cancelled": """
Sale()
Snapshot()
Grab()
RollBack(by='hand')
Cancel()
""",
}


@pytest.mark.parametrize("name", HISTORIES)
def test_a_history_that_broke_a_rule_once_breaks_none_now(lab: Lab, name: str) -> None:
    script = HISTORIES[name]
    for at in range(1, 1 + CALLS if "ANY" in script else 2):
        log: list[str] = []
        found = judge(play(lab, read_script(script.replace("ANY", str(at))), log))
        assert not found, "\n".join([f"call {at}", *map(str, found)])
        if not any(f"(call {at})" in line for line in log):
            break  # it makes no more calls

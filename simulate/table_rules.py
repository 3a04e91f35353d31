"""The tables and the store are a fold of the journal, and nothing is left to be done."""

from collections.abc import Callable, Iterator

from simulate.case import Case
from simulate.fold import ENDS, state_of

# Row of the coupons table <- the coupon's newest event.
_COUPON = ("version", "number", "grabbedAt", "deadline", "paidAt", "paymentReference", "discount",
           "price")  # fmt: skip
_COUNTS = ("version", "stock", "available", "held", "sold")
# Row of the active promotions table <- the start.
_OFFER = {"discount": "discount", "publishTime": "opensAt", "finishTime": "closesAt",
          "couponsPerCustomer": "couponsPerCustomer", "holdSeconds": "holdSeconds",
          "itemId": "itemId", "price": "price"}  # fmt: skip


def _coupons(case: Case) -> Iterator[str]:
    """The coupons table has the newest event of each coupon."""
    rows = {(row["customerId"], int(row["number"])): row for row in case.evidence.coupons}
    for key in sorted(rows.keys() | case.folded.coupons.keys()):
        row, event = rows.get(key), case.folded.coupons.get(key)
        if row is None or event is None:
            yield f"{key} is {'not in the table' if row is None else 'not in the journal'}"
            continue
        wanted = {field: event.get(field) for field in _COUPON} | {"state": state_of(event)}
        for field, value in wanted.items():
            if row.get(field) != value:
                yield f"{key}: {field} is {row.get(field)}, not {value}"


def _active(case: Case) -> Iterator[str]:
    """The active promotions table has the start's offer, the newest counts and the state."""
    newest, row = case.folded.newest, case.evidence.active
    if newest is None or row is None:
        if (newest is None) != (row is None):
            yield f"the row is {'missing' if row is None else 'not in the journal'}"
        return
    wanted = {field: newest[field] for field in _COUNTS}
    started = case.folded.started
    if started is not None:
        wanted |= {field: started.get(source) for field, source in _OFFER.items()}
    if case.folded.state != "SCHEDULED":
        wanted["state"] = case.folded.state
    for field, value in wanted.items():
        if row.get(field) != value:
            yield f"{field} is {row.get(field)}, not {value}"


def _store(case: Case) -> Iterator[str]:
    """Where the store still has the promotion, it has what the journal has."""
    store, newest = case.evidence.store, case.folded.newest
    if not store or newest is None:
        return
    if "state" not in store:
        yield f"it has only {sorted(store)}"
        return
    wanted = {field: newest[field] for field in ("version", "stock", "available", "sold")}
    wanted["state"] = case.folded.state
    started = case.folded.started
    if started is not None:
        wanted["coupons_per_customer"] = started["couponsPerCustomer"]
        wanted["hold_ms"] = started["holdSeconds"] * 1000
    for field, value in wanted.items():
        if store.get(field) != str(value):
            yield f"{field} is {store.get(field)}, not {value}"
    for key, event in case.folded.coupons.items():
        owned = case.evidence.owned.get(key)
        if owned != state_of(event) and (owned, state_of(event)) != (None, "REVOKED"):
            yield f"{key} is {owned}, not {state_of(event)}"


def _at_rest(case: Case) -> Iterator[str]:
    """In the end nothing waits, no conflict is open, and nobody looks after the promotion."""
    evidence = case.evidence
    if evidence.waiting:
        yield f"{evidence.waiting} events in the outbox"
    if evidence.open_conflicts:
        yield f"{evidence.open_conflicts} conflicts that no recovery has settled"
    if "recovering" in evidence.store:
        yield "it is fenced"
    elif evidence.promotion is not None and "live" in evidence.promotion:
        yield "it is on the list of live promotions"
    elif evidence.lasting:
        yield f"keys that never expire: {', '.join(evidence.lasting)}"


def _end(case: Case) -> Iterator[str]:
    """The promotions table has the end that the journal has."""
    row = case.evidence.promotion
    if row is None or "live" in row:
        return
    ends = {
        event["reason" if event["type"] in ENDS else "closedAs"]
        for event in case.evidence.journal
        if event["type"] in ENDS or "closedAs" in event
    }
    if ends and row.get("closedAs") not in ends:
        yield f"it is closed as {row.get('closedAs')}, not {sorted(ends)}"


RULES: dict[str, Callable[[Case], Iterator[str]]] = {
    "the coupons table is a fold of the journal": _coupons,
    "the active promotions table is a fold of the journal": _active,
    "the store has what the journal has": _store,
    "in the end all is quiet": _at_rest,
    "the promotions table has the end": _end,
}

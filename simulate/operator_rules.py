"""What operators were answered, against the journal."""

from collections.abc import Callable, Iterable, Iterator

from simulate.case import Case
from simulate.evidence import Answer, Row

_DONE = {
    "create": ("CREATED", "REPEATED"),
    "edit": ("EDITED",),
    "restock": ("RESTOCKED", "REPEATED"),
}
# Possible stocks, each with the restocks that are in it.
_Stocks = set[tuple[int, frozenset[tuple[str, int]]]]


def _stock(case: Case) -> Iterator[str]:
    """The stock is the last offer's and each restock's once; without an answer, perhaps."""
    newest = case.folded.newest
    if newest is None:
        return
    stocks: _Stocks = {(case.answers("create")[0].asked["stock"], frozenset())}
    for answer in _as_they_happened(case, "edit", "restock"):
        stocks = _after(case, stocks, answer)
    possible = sorted({stock for stock, _ in stocks})
    if newest["stock"] not in possible:
        yield f"{newest['stock']}, and should be one of {possible}"


def _as_they_happened(case: Case, *kinds: str) -> list[Answer]:
    """The requests in order; one that was suspended twice: before and after those in between."""
    moments: list[tuple[int, int, Answer]] = []
    for answer in case.evidence.answers:
        if answer.what in kinds:
            moments.append((answer.first, 0, answer))
            if answer.first != answer.last:
                moments.append((answer.last, 1, answer))
    return [answer for *_, answer in sorted(moments, key=lambda moment: moment[:2])]


def _after(case: Case, stocks: _Stocks, answer: Answer) -> _Stocks:
    done = answer.outcome in _DONE[answer.what]
    # What the store does not know any more when it is sent again was perhaps done the first time.
    perhaps = not answer.outcome or (answer.outcome == "UNKNOWN" and answer.met)
    if not done and not perhaps:
        return stocks
    if answer.what == "edit":
        changed = {(answer.asked["stock"], restocks) for _, restocks in stocks}
    else:
        changed = _restocked(case, stocks, answer)
    return changed if done and not _may_be_forgotten(case, answer) else stocks | changed


def _restocked(case: Case, stocks: _Stocks, answer: Answer) -> _Stocks:
    """A key adds its units once.

    A store that has forgotten a key may take another number under it; either of the two counts.
    """
    add, key = answer.asked["add"], answer.asked["key"] or f"step {answer.first}"
    changed: _Stocks = set()
    for stock, restocks in stocks:
        before = [restock for restock in restocks if restock[0] == key]
        if before:
            changed.add((stock, restocks))
        if not before or case.evidence.set_back:
            others = restocks.difference(before)
            stock_without = stock - sum(added for _, added in before)
            changed.add((stock_without + add, others | {(key, add)}))
    return changed


def _may_be_forgotten(case: Case, answer: Answer) -> bool:
    """Before the start only the store knows an offer, until a sign makes the table be asked.

    A process that was suspended may have been overtaken, so its change may have been replaced.
    """
    if answer.first != answer.last:
        return True
    evidence, started = case.evidence, case.folded.started
    if answer.what == "edit":
        return evidence.by_hand
    if not evidence.by_hand:
        return False
    recovered_over = any("closedAs" in event for event in evidence.journal)
    if recovered_over and not _tells(evidence.journal, answer.asked["key"]):
        return True  # what another story has added to a sale that is over adds nothing
    told = _tells([*evidence.journal, *evidence.conflicts], answer.asked["key"])
    return not told and (started is None or answer.began <= started["at"])


def _tells(events: Iterable[Row], key: str | None) -> bool:
    return any(
        event["type"] == "PromotionRestocked" and key is not None and event["requestKey"] == key
        for event in events
    )


def _offer(case: Case) -> Iterator[str]:
    """The sale starts with the last offer that was answered, or a later one without an answer."""
    started = case.folded.started
    if started is None:
        return
    possible = [case.answers("create")[0].asked["limit"]]
    for answer in _as_they_happened(case, "edit"):
        if answer.outcome in _DONE["edit"] and not _may_be_forgotten(case, answer):
            possible = []
        if not answer.outcome or answer.outcome in _DONE["edit"]:
            possible.append(answer.asked["limit"])
    if started["couponsPerCustomer"] not in possible:
        yield f"limit {started['couponsPerCustomer']}, and should be one of {possible}"


def _cancelled(case: Case) -> Iterator[str]:
    """A promotion whose cancellation was answered is cancelled."""
    state = case.folded.state
    for answer in case.answers("cancel"):
        ended = state == "CANCELLED" or (case.evidence.set_back and state == "FINISHED")
        if answer.outcome == "CANCELLED" and not ended:
            yield f"step {answer.first}: it is {state}"


def _created(case: Case) -> Iterator[str]:
    """A promotion whose creation was answered is there, has started and has ended."""
    for answer in case.answers("create"):
        if answer.outcome not in _DONE["create"]:
            continue
        if case.evidence.promotion is None:
            yield f"step {answer.first}: it is not in the table"
        elif case.folded.state not in ("FINISHED", "CANCELLED"):
            yield f"step {answer.first}: it is {case.folded.state} at the end"


RULES: dict[str, Callable[[Case], Iterator[str]]] = {
    "the stock is as answered": _stock,
    "the offer is as answered": _offer,
    "what was cancelled is cancelled": _cancelled,
    "what was created starts and ends": _created,
}

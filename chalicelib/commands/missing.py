"""What to say of a promotion that the store does not know: the table decides."""

import time
from collections import OrderedDict
from typing import Literal, cast

from chalicelib.commands.promotions import find_promotion

# Guessed ids must cost the table nothing; a new promotion's id is not known before it exists.
_REMEMBERED_S = 5.0
_REMEMBERED_IDS = 10_000
_never_heard_of: OrderedDict[str, float] = OrderedDict()

Verdict = Literal["UNKNOWN_PROMOTION", "SOLD_OUT", "FINISHED", "CANCELLED", "RECOVERING"]


def verdict_on(promotion_id: str) -> Verdict:
    """What has become of a promotion that the store has no state of.

    RECOVERING: somebody looks after it still, so it should be there. UNKNOWN_PROMOTION: nobody
    created it; this answer is remembered for five seconds in this process. Else: how it ended.

    Raises:
        pynamodb.exceptions.GetError: the table can't be read.
    """
    if _never_heard_of.get(promotion_id, 0.0) > time.monotonic():
        return "UNKNOWN_PROMOTION"
    row = find_promotion(promotion_id)
    if row is None:
        _never_heard_of[promotion_id] = time.monotonic() + _REMEMBERED_S
        _never_heard_of.move_to_end(promotion_id)
        if len(_never_heard_of) > _REMEMBERED_IDS:
            _never_heard_of.popitem(last=False)
        return "UNKNOWN_PROMOTION"
    if row.live is not None:
        return "RECOVERING"
    return cast("Verdict", row.closed_as or "FINISHED")

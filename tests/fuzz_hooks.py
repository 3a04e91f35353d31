"""Which token goes with which random request, and which go to promotions that exist: see fuzz.py.

schemathesis loads this into its own process. What is drawn for a request depends on nothing but the
request, so a seed draws the same again.
"""

import atexit
import json
import os
from collections import Counter
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import schemathesis

from chalicelib.door.checks import ID
from localstack.tokens import token

KEY, SALES, STATUSES = "FUZZ_KEY", "FUZZ_SALES", "FUZZ_STATUSES"
# Of the requests; who is left is the one who may.
_TO_A_SALE, _NOBODY, _THE_WRONG_ONE = 0.5, 0.1, 0.2

_sales = os.environ[SALES].split(",")
_statuses: Counter[int] = Counter()
_token = cache(token)


@schemathesis.hook
def before_call(_: Any, case: Any, __: Any) -> None:
    """Send what may be about any promotion to one that exists, and sign in, or not."""
    dice = Random(repr((case.path, case.path_parameters, case.query, case.body)))
    body = case.body if isinstance(case.body, dict) else {}
    if dice.random() < _TO_A_SALE and case.method != "DELETE":
        for fields, name in ((body, "promotionId"), (case.path_parameters, "promotion_id")):
            if _good(fields.get(name)):
                fields[name] = dice.choice(_sales)
    if "Authorization" not in case.headers:
        return  # left out on purpose, or not asked for
    roll, admin = dice.random(), "/admin/" in case.path
    named = body.get("customerId") or case.path_parameters.get("customer_id")
    subject = named if _good(named) else "alice"
    if roll < _NOBODY:
        del case.headers["Authorization"]
        return
    if roll < _THE_WRONG_ONE:
        admin, subject = not admin, "mallory"
    signed = _token(os.environ[KEY], subject, admin=admin)
    case.headers["Authorization"] = f"Bearer {signed}"


@schemathesis.hook
def after_call(_: Any, __: Any, response: Any) -> None:
    """Count how the requests were answered."""
    _statuses[response.status_code] += 1


@atexit.register
def _tell() -> None:
    Path(os.environ[STATUSES]).write_text(json.dumps(_statuses), encoding="utf-8")


def _good(value: Any) -> bool:
    """Whether it is an id: what is wrong on purpose has to stay wrong."""
    return isinstance(value, str) and ID.fullmatch(value) is not None

"""Admission tokens: signed, bound to one customer and one promotion, kept nowhere.

A token is `<key id>.<expiry in epoch ms>.<signature>`. Whom and what it is for is not in it, only
in what is signed, so it is of no use to anybody else. Its expiry is compared with the store's
clock, by the script that grabs.
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from hashlib import sha256

from chalicelib.config import AdmissionKey


def sign(promotion_id: str, customer_id: str, expires_at: int, keys: Sequence[AdmissionKey]) -> str:
    """A token of the first key, valid until `expires_at` (epoch ms)."""
    signature = _signature(keys[0], promotion_id, customer_id, str(expires_at))
    return f"{keys[0].id}.{expires_at}.{signature}"


def valid_until(
    token: str, promotion_id: str, customer_id: str, keys: Sequence[AdmissionKey]
) -> int:
    """When this token expires (epoch ms); 0 if it is none for this customer and promotion."""
    key_id, _, rest = token.partition(".")
    expires_at, _, signature = rest.partition(".")
    for key in keys:
        if key.id == key_id:
            expected = _signature(key, promotion_id, customer_id, expires_at)
            same = hmac.compare_digest(expected.encode(), signature.encode())
            return int(expires_at) if same else 0
    return 0


def _signature(key: AdmissionKey, *signed: str) -> str:
    """HMAC-SHA256 in base64url; no signed part can hold the line feed that divides them."""
    digest = hmac.digest(key.secret, "\n".join(("admission", key.id, *signed)).encode(), sha256)
    return urlsafe_b64encode(digest).decode().rstrip("=")

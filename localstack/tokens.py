"""Tokens for `AUTH=jwt`, signed with a key of this machine: `python -m localstack.tokens`.

The key is made when it is first needed, in `.local/jwt.key`, for this machine only; `make up
AUTH=jwt` takes the same one.
"""

import argparse
import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jwt

from chalicelib.door.identity import ADMIN_GROUP, ALGORITHM, AUDIENCE, ISSUER
from infra.arguments import yes_or_no

KEY_FILE = Path(__file__).parent.parent / ".local" / "jwt.key"
LIVES_S = 3600
OPERATOR = "operator"


def local_key(file: Path = KEY_FILE) -> str:
    """The key, made on first use; only its owner can read the file."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(48), encoding="utf-8")
    return file.read_text(encoding="utf-8").strip()


def token(key: str, subject: str, *, admin: bool = False, lives_s: float = LIVES_S) -> str:
    """A token of `subject` that is valid for `lives_s` seconds from now."""
    now = time.time()
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "iat": now, "exp": now + lives_s}
    if admin:
        claims["cognito:groups"] = [ADMIN_GROUP]
    return jwt.encode(claims, key, algorithm=ALGORITHM)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a token; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m localstack.tokens", description=__doc__)
    parser.add_argument("--customer", default="", help="whose token")
    parser.add_argument(
        "--admin", type=yes_or_no, default=False, metavar="1|0", help="an operator's token"
    )
    parser.add_argument("--lives", type=float, default=LIVES_S, help="seconds, default %(default)s")
    given = parser.parse_args(arguments)
    if not given.customer and not given.admin:
        print("seckill: whose token? CUSTOMER=alice, or ADMIN=1", file=sys.stderr)
        return 1
    subject = given.customer or OPERATOR
    print(token(local_key(), subject, admin=given.admin, lives_s=given.lives))
    return 0


if __name__ == "__main__":
    sys.exit(main())

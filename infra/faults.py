"""What can go wrong with an account, each in one line that says what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's name
    CredentialRetrievalError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)

_LOG_IN = "log in again (`aws sts get-caller-identity` shows who you are)"
_WHO_ARE_YOU = (
    NoCredentialsError, PartialCredentialsError, CredentialRetrievalError, TokenRetrievalError,
    UnauthorizedSSOTokenError,
)  # fmt: skip
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired")
_UNKNOWN = (
    "InvalidClientTokenId", "UnrecognizedClientException", "AuthFailure", "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
)  # fmt: skip
DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")


class DeployFault(Exception):
    """A deployment can't go on; the message says in one line why, and what to do."""


@contextmanager
def told_in_one_line() -> Iterator[None]:
    """Turn what AWS or the way to it refuses into a DeployFault.

    Raises:
        DeployFault: instead of any of botocore's exceptions.
    """
    try:
        yield
    except _WHO_ARE_YOU as error:
        message = f"no AWS credentials can be used: {_LOG_IN}"
        raise DeployFault(message) from error
    except NoRegionError as error:
        message = "no region is set: export AWS_DEFAULT_REGION"
        raise DeployFault(message) from error
    except ConnectionError as error:
        message = f"AWS can't be reached, is the region right? ({_line(error)})"
        raise DeployFault(message) from error
    except ClientError as error:
        raise DeployFault(_of(error)) from error
    except BotoCoreError as error:
        raise DeployFault(_line(error)) from error


def _of(error: ClientError) -> str:
    code = error.response["Error"].get("Code", "")
    if code in _EXPIRED:
        return f"the AWS credentials have expired: {_LOG_IN}"
    if code in _UNKNOWN:
        return f"AWS does not know these credentials: {_LOG_IN}"
    if code in DENIED:
        return f"these credentials may not do {error.operation_name}: {_line(error)}"
    return _line(error)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:400]

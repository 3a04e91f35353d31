"""What stands before a stage's API: limits and answers of API Gateway, the template's web ACL.

Chalice knows none of them. When it deploys again it leaves limits and web ACL alone, and takes the
answers away.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from infra.choices import PAYING, Choices, Limit
from infra.faults import told_in_one_line
from infra.gateway_answers import KINDS
from infra.gateway_answers import answer as gateway_answer

# A stage that was just made may be unknown to WAF for a while.
_NOT_YET = ("WAFUnavailableEntityException", "WAFNonexistentItemException")
# An account may deploy one API in five seconds.
_TOO_SOON = ("TooManyRequestsException",)
_PATIENCE_S = 120.0
_POLL_S = 3.0


@dataclass(frozen=True, slots=True)
class Api:
    """Chalice's API at API Gateway: its id, and the name of its one stage there."""

    id: str
    stage: str

    def arn(self, region: str, partition: str = "aws") -> str:
        """The ARN of its stage."""
        return f"arn:{partition}:apigateway:{region}::/restapis/{self.id}/stages/{self.stage}"


def limit(gateway: Any, api: Api, choices: Choices) -> None:
    """Set the limits of the API's methods; again changes nothing.

    Raises:
        DeployFault: API Gateway refuses.
    """
    operations = list(_settings("/*/*", choices.crowd))
    for method, path in PAYING:
        # A JSON pointer: the slashes of the path are written ~1.
        operations += _settings(f"/{path.replace('/', '~1')}/{method}", choices.paying)
    with told_in_one_line():
        gateway.update_stage(restApiId=api.id, stageName=api.stage, patchOperations=operations)


def _settings(methods: str, wanted: Limit) -> Iterator[dict[str, str]]:
    for name, value in (("rateLimit", wanted.per_second), ("burstLimit", wanted.at_once)):
        yield {"op": "replace", "path": f"{methods}/throttling/{name}", "value": str(value)}


def guard(wafv2: Any, stage_arn: str, acl_arn: str, patience_s: float = _PATIENCE_S) -> None:
    """Put a web ACL before an API's stage, in place of any other; again changes nothing.

    Raises:
        DeployFault: WAF refuses, or does not know the stage after `patience_s`.
    """
    with told_in_one_line():
        _patiently(
            lambda: wafv2.associate_web_acl(WebACLArn=acl_arn, ResourceArn=stage_arn),
            _NOT_YET,
            patience_s,
        )


def answer(gateway: Any, api: Api, cors_origin: str = "", patience_s: float = _PATIENCE_S) -> None:
    """Give what API Gateway answers by itself the form of our refusals; again changes nothing.

    Raises:
        DeployFault: API Gateway refuses. What it has already stays as it is.
    """
    with told_in_one_line():
        for kind in KINDS:
            gateway.put_gateway_response(restApiId=api.id, **gateway_answer(kind, cors_origin))
        # An API answers by what was deployed last, and Chalice has just done that without these.
        made = _patiently(
            lambda: gateway.create_deployment(restApiId=api.id), _TOO_SOON, patience_s
        )
        # Named so, nothing else of the stage is touched.
        change = {"op": "replace", "path": "/deploymentId", "value": made["id"]}
        gateway.update_stage(restApiId=api.id, stageName=api.stage, patchOperations=[change])


def _patiently(ask: Callable[[], Any], while_: tuple[str, ...], patience_s: float) -> Any:
    """What `ask` answers; asks again for `patience_s` while it is refused with such a code."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return ask()
        except ClientError as error:
            late = time.monotonic() > deadline
            if late or error.response["Error"].get("Code") not in while_:
                raise
            time.sleep(min(_POLL_S, patience_s))


def unguard(wafv2: Any, stage_arn: str) -> None:
    """Take the web ACL away from a stage, if there are both: else it can't be deleted.

    Raises:
        DeployFault: WAF refuses.
    """
    with told_in_one_line():
        try:
            wafv2.disassociate_web_acl(ResourceArn=stage_arn)
        except ClientError as error:
            if error.response["Error"].get("Code") != "WAFNonexistentItemException":
                raise

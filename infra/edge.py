"""What stands before a stage's API: limits at API Gateway, and the web ACL of the template.

Chalice knows neither, and leaves both alone when it deploys again.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from infra.choices import PAYING, Choices, Limit
from infra.faults import told_in_one_line

# A stage that was just made may be unknown to WAF for a while.
_NOT_YET = ("WAFUnavailableEntityException", "WAFNonexistentItemException")
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
    deadline = time.monotonic() + patience_s
    with told_in_one_line():
        while True:
            try:
                wafv2.associate_web_acl(WebACLArn=acl_arn, ResourceArn=stage_arn)
            except ClientError as error:
                late = time.monotonic() > deadline
                if late or error.response["Error"].get("Code") not in _NOT_YET:
                    raise
                time.sleep(min(_POLL_S, patience_s))
            else:
                return


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

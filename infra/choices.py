"""What an operator chooses per stage: limits of the API, and parameters of the templates.

$ make deploy STAGE=prod        applies them; what is not here has the template's default
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from infra.faults import DeployFault

# What API Gateway lets an account do in a region unless it has asked for more (in some regions a
# quarter of it): https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
ACCOUNT_PER_SECOND = 10_000
ACCOUNT_AT_ONCE = 5_000
# How many functions Lambda runs at once for an account, in a region, unless it has asked for more;
# new ones may have 10. Reservations have to leave some to the others.
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
ACCOUNT_FUNCTIONS = 1_000
LEFT_TO_OTHERS = 100
# How long a function is taken by a request (assumed), and what Lambda gives one at most.
_REQUEST_MS = 50
_REQUESTS_PER_SECOND = 10

# Who pays or gives back holds a unit already: they are not to be shed with the crowd.
PAYING = (
    ("POST", "/command/coupons/{coupon_id}/payment"),
    ("DELETE", "/command/coupons/{coupon_id}"),
)


@dataclass(frozen=True, slots=True)
class Limit:
    """Requests a second, and how many may come at once; over that API Gateway answers 429."""

    per_second: int
    at_once: int

    @property
    def functions(self) -> int:
        """How many functions run at once for what is let in."""
        busy = self.at_once + math.ceil(self.per_second * _REQUEST_MS / 1000)
        return max(busy, math.ceil(self.per_second / _REQUESTS_PER_SECOND))


@dataclass(frozen=True, slots=True)
class Choices:
    """A stage's choices. crowd: of each method by itself; paying: of each that has its own lane.

    parameters: of infra/template.yaml and infra/watch.yaml, for instance StoreKind, StoreNodeType,
    Zones, CommandsPerAddress, AlarmEmail. They are the whole truth: what is set elsewhere is
    overwritten.
    """

    crowd: Limit
    paying: Limit
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def functions(self) -> int:
        """How many functions run at once for one crowded method and both lanes."""
        return self.crowd.functions + len(PAYING) * self.paying.functions


# One crowded method and both lanes together stay within what an account has by default, in API
# Gateway and in Lambda: a crowd that only the first of them takes would shed the payers after all.
CHOICES: Mapping[str, Choices] = {
    "dev": Choices(crowd=Limit(200, 100), paying=Limit(50, 50)),
    "prod": Choices(crowd=Limit(6_000, 300), paying=Limit(1_000, 50)),
}


def choices_of(stage: str) -> Choices:
    """A stage's choices.

    Raises:
        DeployFault: nobody has chosen.
    """
    if stage not in CHOICES:
        message = (
            f"there are no limits for stage {stage!r} in infra/choices.py: {', '.join(CHOICES)}"
        )
        raise DeployFault(message)
    return CHOICES[stage]

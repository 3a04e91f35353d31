"""What an operator chooses per stage: limits of the API, and parameters of the templates.

$ make deploy STAGE=prod        applies them; what is not here has the template's default
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from infra.faults import DeployFault

# What API Gateway lets an account do in a region unless it has asked for more (in some regions a
# quarter of it): https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
ACCOUNT_PER_SECOND = 10_000
ACCOUNT_AT_ONCE = 5_000

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


# One crowded method and both lanes together stay within what an account has by default.
CHOICES: Mapping[str, Choices] = {
    "dev": Choices(crowd=Limit(200, 100), paying=Limit(50, 50)),
    "prod": Choices(crowd=Limit(6_000, 3_500), paying=Limit(1_000, 750)),
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

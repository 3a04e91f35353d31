"""Is each dependency there? One cheap call to each."""

from collections.abc import Callable

from pynamodb.exceptions import PynamoDBException

from chalicelib import clients
from chalicelib.clients import AWS_ERRORS, STORE_ERRORS
from chalicelib.config import settings
from chalicelib.projections.active_promotions import ActivePromotionRow

# No promotion has this id: each is made of hexadecimal digits.
_NO_PROMOTION = "-"


def check() -> dict[str, str]:
    """`ok` or the kind of failure, by dependency: store, broker, tables."""
    checks: dict[str, Callable[[], object]] = {
        "store": lambda: clients.store().ping(),
        "broker": _ask_broker,
        "tables": _ask_tables,
    }
    return {name: _outcome(ask) for name, ask in checks.items()}


def _ask_tables() -> None:
    """Ask for a row that is not there: a corrupt one would say nothing about the table."""
    try:
        ActivePromotionRow.get(_NO_PROMOTION)
    except ActivePromotionRow.DoesNotExist:
        return


def _ask_broker() -> None:
    current = settings()
    if current.publisher == "sqs":
        clients.sqs().get_queue_attributes(QueueUrl=current.events_queue_url)
    else:
        clients.sns().get_topic_attributes(TopicArn=current.topic_arn)


def _outcome(ask: Callable[[], object]) -> str:
    try:
        ask()
    except (*STORE_ERRORS, *AWS_ERRORS, PynamoDBException) as error:
        return type(error).__name__
    return "ok"

"""Between the decision and the broker: crashes, outages, lost replies. Nothing is lost."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from chalicelib.commands import outbox, scripts
from chalicelib.commands.decision import Outside
from chalicelib.commands.grab import GrabCoupon, grab_coupon
from tests.unit.conftest import Broker, metrics, server_of, state_of

pytestmark = pytest.mark.store

Install = Callable[..., str]

# Grabs one coupon and dies between the decision and the publishing.
_DIES = """
import os, sys
from chalicelib import clients
from chalicelib.commands.decision import Outside
from chalicelib.commands.grab import GrabCoupon, grab_coupon

class Dies:
    def publish(self, events):
        os._exit(9)

arm = lambda timer, now: None
grab_coupon(GrabCoupon(sys.argv[1], "alice"), Outside(clients.store(), Dies(), arm, print))
"""


def die_after_deciding(promotion: str) -> None:
    done = subprocess.run([sys.executable, "-c", _DIES, promotion], env=os.environ, check=False)  # noqa: S603
    assert done.returncode == 9


def waiting(store: Redis, promotion: str) -> int:
    return int(store.xlen(scripts.key(promotion, "outbox")))


def test_a_process_that_dies_after_deciding_has_lost_nothing(
    promotion: Install, store: Redis, broker: Broker, outside: Outside
) -> None:
    sale = promotion(stock=3)
    die_after_deciding(sale)
    assert (state_of(store, sale)["available"], waiting(store, sale)) == ("2", 1)
    assert outbox.publish_waiting(sale, store, broker) == 0
    assert broker.published[-1].to_dict()["customerId"] == "alice"
    assert waiting(store, sale) == 0


def test_the_retry_after_such_a_crash_gets_the_coupon_and_publishes_it(
    promotion: Install, store: Redis, broker: Broker, outside: Outside
) -> None:
    sale = promotion(stock=3)
    die_after_deciding(sale)
    answer = grab_coupon(GrabCoupon(sale, "alice"), outside)
    assert (answer.outcome, answer.coupon and answer.coupon.number) == ("REPEATED", 1)
    assert [event.version for event in broker.published] == [1, 2]
    assert (state_of(store, sale)["available"], waiting(store, sale)) == ("2", 0)


def test_with_the_broker_away_a_grab_is_granted_and_its_event_waits(
    promotion: Install,
    store: Redis,
    broker: Broker,
    outside: Outside,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sale = promotion(stock=3)
    broker.away = True
    answer = grab_coupon(GrabCoupon(sale, "alice"), outside)
    assert (answer.outcome, answer.published) == ("GRANTED", False)
    assert waiting(store, sale) == 1
    assert metrics(capsys.readouterr().out, "publish_failed")
    assert outbox.publish_waiting(sale, store, broker) == 1

    broker.away = False
    assert outbox.publish_waiting(sale, store, broker) == 0
    assert [event.version for event in broker.published] == [1, 2]


def test_what_the_broker_refuses_of_a_batch_stays_in_the_outbox(
    promotion: Install, store: Redis, broker: Broker, outside: Outside
) -> None:
    sale = promotion(stock=1)
    broker.accepts = 1
    answer = grab_coupon(GrabCoupon(sale, "alice"), outside)  # grabbed, and sold out
    assert answer.published is False
    [entry] = store.xrange(scripts.key(sale, "outbox")) or []
    assert entry[0] == "3-0"


def test_a_long_outbox_is_published_in_order(
    promotion: Install, store: Redis, broker: Broker, outside: Outside
) -> None:
    sale = promotion(stock=100)
    broker.away = True
    for n in range(35):
        grab_coupon(GrabCoupon(sale, f"customer-{n}"), outside)
    broker.away = False
    assert outbox.publish_waiting(sale, store, broker) == 0
    assert [event.version for event in broker.published] == list(range(1, 37))


def test_two_relays_at_once_lose_nothing_and_leave_nothing(
    promotion: Install, store: Redis, broker: Broker, outside: Outside
) -> None:
    sale = promotion(stock=100)
    broker.away = True
    for n in range(40):
        grab_coupon(GrabCoupon(sale, f"customer-{n}"), outside)
    broker.away = False
    relays = [
        threading.Thread(target=outbox.publish_waiting, args=(sale, store, broker))
        for _ in range(2)
    ]
    for relay in relays:
        relay.start()
    for relay in relays:
        relay.join()
    assert {event.version for event in broker.published} == set(range(1, 42))
    assert waiting(store, sale) == 0


def test_a_lost_reply_makes_the_client_ask_again_and_takes_one_unit(
    promotion: Install, store: Redis, broker: Broker, outside: Outside
) -> None:
    sale = promotion(stock=3)
    grab_coupon(GrabCoupon(sale, "warm-up"), outside)
    port = server_of(store, sale).get_connection_kwargs()["port"]
    with dropping_first_reply(("127.0.0.1", port)) as url:
        client = Redis.from_url(
            url, decode_responses=True, protocol=2, driver_info=None, retry=Retry(NoBackoff(), 1)
        )
        answer = grab_coupon(
            GrabCoupon(sale, "alice"), Outside(client, broker, outside.arm, outside.keep)
        )
        client.close()
    assert (answer.outcome, answer.coupon and answer.coupon.number) == ("REPEATED", 2)
    assert state_of(store, sale)["available"] == "1"
    assert [event.version for event in broker.published] == [1, 2, 3]


@contextmanager
def dropping_first_reply(target: tuple[str, int]) -> Iterator[str]:
    """A proxy that passes the first command on, waits for its reply, and hangs up instead."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                first, _ = listener.accept()
                with first, socket.create_connection(target) as server:
                    server.sendall(first.recv(65536))
                    server.recv(65536)
                second, _ = listener.accept()
                with second, socket.create_connection(target) as server:
                    while data := second.recv(65536):
                        server.sendall(data)
                        second.sendall(server.recv(65536))

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_a_broker_that_is_away_is_tried_once(
    promotion: Install, store: Redis, outside: Outside, broker: Broker,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    sale = promotion(stock=30)
    for n in range(25):
        grab_coupon(GrabCoupon(sale, f"c-{n}"), outside)
    broker.away = True
    capsys.readouterr()
    assert not outbox.publish(broker.published, sale, store, broker)
    assert len(metrics(capsys.readouterr().out, "publish_failed")) == 1

"""Every broker keeps the contract."""

import pytest

from brokers.contract import Contract
from outrigger.choice import Broker

pytestmark = [pytest.mark.conformance, pytest.mark.timeout(200)]


class TestRedis(Contract):
    broker = Broker.REDIS


class TestRabbitMQ(Contract):
    broker = Broker.RABBITMQ


class TestKafka(Contract):
    broker = Broker.KAFKA

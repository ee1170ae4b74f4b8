"""A sidecar's gRPC API, which takes a method's name as it is: no address was ever read or cleaned."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from dapr.proto import api_v1, common_v1
from dapr.proto.runtime.v1.dapr_pb2_grpc import DaprStub
from google.protobuf.any_pb2 import Any as AnyMessage

from identity.secured import TOKEN, Secured
from outrigger.ports import LOOPBACK
from support.http import Heard

WITHIN = 10.0  # s
STATUS = {
    grpc.StatusCode.PERMISSION_DENIED: 403, grpc.StatusCode.UNAUTHENTICATED: 401, grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
}  # fmt: skip


class GrpcDoor:
    """The API of one sidecar; answers are told as those over HTTP are."""

    def __init__(self, stub: Any, token: str) -> None:
        """`token` is shown with every call."""
        self._stub, self._token = stub, ((TOKEN, token),)

    def invoke(self, target: str, method: str, body: bytes) -> Heard:
        """Call a method of another app by POST."""
        verb = common_v1.HTTPExtension(verb=common_v1.HTTPExtension.POST)
        kind = "application/json"
        message = common_v1.InvokeRequest(
            method=method, data=AnyMessage(value=body), content_type=kind, http_extension=verb
        )
        request = api_v1.InvokeServiceRequest(id=target, message=message)
        try:
            told = self._stub.InvokeService(request, metadata=self._token, timeout=WITHIN)
        except grpc.RpcError as error:
            return _failed(error)
        return Heard(200, {"content-type": told.content_type}, told.data.value)

    def subscribe(self, topic: str) -> Heard:
        """Ask for a topic's events; 200 where they, or silence until the time is over, would follow."""
        first = api_v1.SubscribeTopicEventsRequestInitialAlpha1(pubsub_name="pubsub", topic=topic)
        request = api_v1.SubscribeTopicEventsRequestAlpha1(initial_request=first)
        stream = self._stub.SubscribeTopicEventsAlpha1(iter([request]), metadata=self._token, timeout=WITHIN)
        try:
            next(stream)
        except StopIteration:
            return Heard(200, {}, b"")
        except grpc.RpcError as error:
            return _failed(error)
        finally:
            stream.cancel()
        return Heard(200, {}, b"")


def _failed(error: Any) -> Heard:
    return Heard(STATUS.get(error.code(), 500), {}, f"{error.code()} {error.details()}".encode())


@contextmanager
def grpc_door(system: Secured, app: str, token: str | None = None) -> Iterator[GrpcDoor]:
    """Connect to an app's sidecar, with that app's own token or another."""
    with grpc.insecure_channel(f"{LOOPBACK}:{system.service(app).ports.grpc}") as channel:
        yield GrpcDoor(DaprStub(channel), system.tokens[app].api if token is None else token)

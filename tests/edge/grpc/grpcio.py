"""Python's gRPC (grpcio) as server and client of the edge's tests.

`grpcio.py server PORT` serves until its standard input ends. `grpcio.py client PORT CA TOKEN` calls `localhost:PORT` over TLS, and ends with the
first thing that is wrong."""
import sys
import threading
import time
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2_grpc

OPTIONS = [
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.max_send_message_length", 64 << 20),
    ("grpc.so_reuseport", 0),
    ("grpc.enable_http_proxy", 0),
]
COUNT = 10_000


def serve(port):
    cancelled = threading.Event()

    def unary(message, context):
        context.send_initial_metadata((("x-initial", "1"),))
        seen = dict(context.invocation_metadata())
        trailing = [("x-trailing", "2"), ("bin-bin", b"\0\xff"), ("x-who", seen.get("x-auth-subject", "")), ("x-back", seen.get("x-mine", ""))]
        context.set_trailing_metadata(trailing)
        return message

    def fails(message, context):
        context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: 100% é")

    def slow(message, context):
        ended = threading.Event()
        context.add_callback(ended.set)
        ended.wait(30)
        cancelled.set()
        return b""

    def was_cancelled(message, context):
        was = cancelled.wait(1)
        cancelled.clear()
        return b"yes" if was else b"no"

    unary_unary = grpc.unary_unary_rpc_method_handler
    methods = {
        "Unary": unary_unary(unary),
        "Fails": unary_unary(fails),
        "Slow": unary_unary(slow),
        "WasCancelled": unary_unary(was_cancelled),
        "Down": grpc.unary_stream_rpc_method_handler(lambda message, _: (b"%d" % number for number in range(int(message)))),
        "Up": grpc.stream_unary_rpc_method_handler(lambda messages, _: b"%d" % sum(1 for _ in messages)),
        "Both": grpc.stream_stream_rpc_method_handler(lambda messages, _: iter(messages)),
    }
    server = grpc.server(futures.ThreadPoolExecutor(1100), options=OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Svc", methods),))
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    print("serving", flush=True)
    sys.stdin.read()
    server.stop(0)


def call(port, authority, token):
    with open(authority, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    channel = grpc.secure_channel(f"localhost:{port}", credentials, OPTIONS)
    metadata = [("authorization", f"Bearer {token}")]

    def method(kind, name):
        return getattr(channel, kind)("/test.Svc/" + name)

    def status(name, **options):
        try:
            method("unary_unary", name)(b"", **options)
            return grpc.StatusCode.OK, ""
        except grpc.RpcError as error:
            return error.code(), error.details()

    unary = method("unary_unary", "Unary")
    answer, details = unary.with_call(b"hi", metadata=[*metadata, ("x-mine", "v"), ("x-auth-subject", "root")], timeout=20)
    trailing = dict(map(tuple, details.trailing_metadata()))
    assert answer == b"hi" and ("x-initial", "1") in map(tuple, details.initial_metadata()), details
    assert (trailing["x-trailing"], trailing["bin-bin"], trailing["x-who"], trailing["x-back"]) == ("2", b"\0\xff", "alice", "v"), trailing
    assert status("Fails", metadata=metadata, timeout=20) == (grpc.StatusCode.NOT_FOUND, "no such thing: 100% é")

    numbers = [b"%d" % number for number in range(COUNT)]
    assert list(method("unary_stream", "Down")(b"%d" % COUNT, metadata=metadata, timeout=60)) == numbers, "down"
    assert method("stream_unary", "Up")(iter(numbers), metadata=metadata, timeout=60) == b"%d" % COUNT, "up"
    assert list(method("stream_stream", "Both")(iter(numbers), metadata=metadata, timeout=60)) == numbers, "both"
    large = bytes(range(256)) * (16 << 10)
    assert unary(large, metadata=metadata, timeout=60) == large, "4 MiB"

    cancelled = method("unary_unary", "WasCancelled")
    begun = time.monotonic()
    assert status("Slow", metadata=metadata, timeout=0.5)[0] == grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - begun < 5
    assert cancelled(b"", metadata=metadata, timeout=20) == b"yes", "the server learns of the deadline"
    future = method("unary_unary", "Slow").future(b"", metadata=metadata)
    time.sleep(0.3)
    future.cancel()
    assert cancelled(b"", metadata=metadata, timeout=20) == b"yes", "the server learns of the cancellation"

    calls = [unary.future(number, metadata=metadata, timeout=60) for number in numbers[:1000]]
    assert [call.result() for call in calls] == numbers[:1000], "1,000 calls at once"

    for bad in [], [("authorization", "Bearer a.b.c")]:
        assert status("Unary", metadata=bad, timeout=20)[0] == grpc.StatusCode.UNAUTHENTICATED, bad
    print("all well", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "server":
        serve(int(sys.argv[2]))
    else:
        call(int(sys.argv[2]), sys.argv[3], sys.argv[4])

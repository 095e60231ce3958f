//! Python's servers behind the edge: its own, aiohttp and uvicorn.

use super::running::Running;
use super::{echoes, edge_to};

/// Answers with HTTP/1.0, and ends bodies with the connection.
const OWN: &str = r#"
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Echo(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)
    def do_HEAD(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Echo).serve_forever()
"#;

const AIOHTTP: &str = r#"
import sys
from aiohttp import web

async def echo(request):
    response = web.StreamResponse()
    await response.prepare(request)
    async for part in request.content.iter_any():
        await response.write(part)
    await response.write_eof()
    return response

app = web.Application(client_max_size=1 << 24)
app.router.add_route("*", "/{path:.*}", echo)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
"#;

const UVICORN: &str = r#"
import sys
import uvicorn

async def echo(scope, receive, send):
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        await send({"type": "http.response.body", "body": message.get("body", b""), "more_body": True})
    await send({"type": "http.response.body", "body": b""})

uvicorn.run(echo, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", lifespan="off")
"#;

#[test]
fn its_own_server() {
    let Some(server) = Running::python("http.server", OWN) else { return };
    echoes(&edge_to(server.port(), "1.1").start(), "/api/x");
}

#[test]
fn aiohttp() {
    let Some(server) = Running::python("aiohttp", AIOHTTP) else { return };
    echoes(&edge_to(server.port(), "1.1").start(), "/api/x");
}

#[test]
fn uvicorn() {
    let Some(server) = Running::python("uvicorn", UVICORN) else { return };
    echoes(&edge_to(server.port(), "1.1").start(), "/api/x");
}

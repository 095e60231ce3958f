//! Node's servers of both versions behind the edge: echoes, trailers, early hints.

use super::running::Running;
use super::{echoes, edge_to};

const SCRIPT: &str = r#"
const [, , version, port] = process.argv;
const server = version === "2" ? require("http2").createServer() : require("http").createServer();
server.on("request", (request, response) => {
  if (request.url === "/hints") {
    response.writeEarlyHints({ link: "</a.css>; rel=preload" });
    return response.end("hinted");
  }
  if (request.url === "/trailers") {
    if (version === "1.1") response.setHeader("Trailer", "X-Sum");
    response.write("summed");
    response.addTrailers({ "X-Sum": "abc" });
    return response.end();
  }
  request.pipe(response);
});
server.listen(Number(port), "127.0.0.1");
"#;

#[test]
fn both_of_its_servers() {
    for version in ["1.1", "2"] {
        let arguments = ["server.js", version, "{port}"];
        let Some(node) = Running::start("node", &arguments, &[("server.js", SCRIPT)]) else {
            return;
        };
        let edge = edge_to(node.port(), version).start();
        echoes(&edge, "/api/echo");
        let hinted = edge.get("/api/hints").send();
        assert_eq!((hinted.text().as_str(), &hinted.interim[..]), ("hinted", &[103][..]));
        assert_eq!(edge.get("/api/hints").http2().send().text(), "hinted");
        let asks = edge.get("/api/trailers").header("TE", "trailers").header("Connection", "TE");
        let summed = asks.send();
        assert_eq!((summed.text().as_str(), summed.complete), ("summed", true));
        assert!(summed.trailers.to_lowercase().contains("x-sum: abc"), "{version}: {summed:?}");
        let summed = edge.get("/api/trailers").send();
        assert_eq!((summed.text().as_str(), summed.trailers.as_str()), ("summed", ""));
    }
}

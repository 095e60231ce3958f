//! Fields that claim what is not the client's to claim, or that try to have something dropped. What
//! the upstream may not get is in [`super::breach`].

use super::{Answered, Bench, Forwarded, Refused, RefusedOrForwarded};

#[test]
fn connection_drops_nothing_that_matters() {
    Bench::start().judge_all(&[
        (
            "Authorization",
            "GET /api/x HTTP/1.1\r\n{H}Connection: Authorization\r\n\r\n",
            Refused(400),
        ),
        (
            "Authorization behind close",
            "GET /api/x HTTP/1.1\r\n{H}Connection: close, Authorization\r\n\r\n",
            Refused(400),
        ),
        (
            "Authorization in other letters",
            "GET /api/x HTTP/1.1\r\n{H}Connection: aUTHORIZATION\r\n\r\n",
            Refused(400),
        ),
        (
            "Authorization between blanks",
            "GET /api/x HTTP/1.1\r\n{H}Connection: keep-alive ,\tAuthorization ,\r\n\r\n",
            Refused(400),
        ),
        (
            "Authorization in a second field",
            "GET /api/x HTTP/1.1\r\n{H}Connection: keep-alive\r\n\
             Connection: Authorization\r\n\r\n",
            Refused(400),
        ),
        ("Host", "GET /api/x HTTP/1.1\r\n{H}Connection: Host\r\n\r\n", Refused(400)),
        (
            "the subject",
            "GET /api/x HTTP/1.1\r\n{H}Connection: X-Auth-Subject\r\n\r\n",
            Refused(400),
        ),
        (
            "the subject behind close",
            "GET /api/x HTTP/1.1\r\n{H}Connection: close, X-Auth-Subject\r\n\r\n",
            Refused(400),
        ),
        (
            "the subject with underscores",
            "GET /api/x HTTP/1.1\r\n{H}Connection: X_Auth_Subject\r\n\r\n",
            Refused(400),
        ),
        ("the method", "GET /api/x HTTP/1.1\r\n{H}Connection: x-auth-method\r\n\r\n", Refused(400)),
        (
            "any identity",
            "GET /api/x HTTP/1.1\r\n{H}Connection: X-Auth-Roles\r\n\r\n",
            Refused(400),
        ),
        (
            "X-Forwarded-For",
            "GET /api/x HTTP/1.1\r\n{H}Connection: X-Forwarded-For\r\n\r\n",
            RefusedOrForwarded(""),
        ),
        (
            "X-Forwarded-Host and -Proto",
            "GET /api/x HTTP/1.1\r\n{H}Connection: close, X-Forwarded-Host, X-Forwarded-\
             Proto\r\n\r\n",
            RefusedOrForwarded(""),
        ),
        ("Via", "GET /api/x HTTP/1.1\r\n{H}Connection: Via\r\n\r\n", RefusedOrForwarded("")),
        (
            "the request id",
            "GET /api/x HTTP/1.1\r\n{H}Connection: X-Request-Id\r\n\r\n",
            RefusedOrForwarded(""),
        ),
        (
            "itself",
            "GET /api/x HTTP/1.1\r\n{H}Connection: Connection\r\n\r\n",
            RefusedOrForwarded(""),
        ),
        (
            "close in other letters",
            "GET /api/x HTTP/1.1\r\n{H}Connection: CLOSE\r\n\r\n",
            Forwarded(""),
        ),
        (
            "close and keep-alive",
            "GET /api/x HTTP/1.1\r\n{H}Connection: close, keep-alive\r\n\r\n",
            Forwarded(""),
        ),
        ("nothing", "GET /api/x HTTP/1.1\r\n{H}Connection:\r\n\r\n", Forwarded("")),
        ("only commas", "GET /api/x HTTP/1.1\r\n{H}Connection: ,,,\r\n\r\n", Forwarded("")),
        (
            "what is no name",
            "GET /api/x HTTP/1.1\r\n{H}Connection: a b, \"x\", ä\r\n\r\n",
            RefusedOrForwarded(""),
        ),
        (
            "Cookie",
            "GET /api/x HTTP/1.1\r\n{H}Connection: Cookie\r\nCookie: a=b\r\n\r\n",
            RefusedOrForwarded(""),
        ),
        (
            "Upgrade without one",
            "GET /api/x HTTP/1.1\r\n{H}Connection: Upgrade\r\n\r\n",
            RefusedOrForwarded(""),
        ),
        ("a star", "GET /api/x HTTP/1.1\r\n{H}Connection: *\r\n\r\n", RefusedOrForwarded("")),
        (
            "a pseudo field",
            "GET /api/x HTTP/1.1\r\n{H}Connection: :authority\r\n\r\n",
            RefusedOrForwarded(""),
        ),
        (
            "a hundred names",
            concat!(
                "GET /api/x HTTP/1.1\r\n{H}Connection: ",
                "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y,z,a,b,c,d,e,f,g,h,i,j,k,l,m,n,\
                 o,p,q,r,s,t,u,v,w,x,y,z,",
                "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y,z,a,b,c,d,e,f,g,h,i,j,k,l,m,n,\
                 o,p,q,r,s,t,u,v,w,x,y,z",
                "\r\n\r\n"
            ),
            RefusedOrForwarded(""),
        ),
    ]);
}

#[test]
fn what_concerns_one_connection_stays_on_it() {
    Bench::start().judge_all(&[
        (
            "Keep-Alive",
            "GET /api/x HTTP/1.1\r\n{H}Keep-Alive: timeout=5, max=1000\r\n\r\n",
            Forwarded(""),
        ),
        (
            "Proxy-Connection",
            "GET /api/x HTTP/1.1\r\n{H}Proxy-Connection: keep-alive\r\n\r\n",
            Forwarded(""),
        ),
        (
            "Proxy-Connection: close",
            "GET /api/x HTTP/1.1\r\n{H}Proxy-Connection: close\r\n\r\n",
            Forwarded(""),
        ),
        ("TE", "GET /api/x HTTP/1.1\r\n{H}TE: gzip\r\n\r\n", Forwarded("")),
        ("TE: trailers", "GET /api/x HTTP/1.1\r\n{H}TE: trailers\r\n\r\n", Forwarded("")),
        (
            "TE nominated",
            "GET /api/x HTTP/1.1\r\n{H}Connection: TE\r\nTE: trailers\r\n\r\n",
            Forwarded(""),
        ),
        (
            "Trailer",
            "GET /api/x HTTP/1.1\r\n{H}Trailer: X-Auth-Subject\r\n\r\n",
            RefusedOrForwarded(""),
        ),
        (
            "Proxy-Authorization",
            "GET /api/x HTTP/1.1\r\n{H}Proxy-Authorization: Basic YTpi\r\n\r\n",
            RefusedOrForwarded(""),
        ),
        (
            "Proxy-Authenticate",
            "GET /api/x HTTP/1.1\r\n{H}Proxy-Authenticate: Basic\r\n\r\n",
            RefusedOrForwarded(""),
        ),
        ("Proxy", "GET /api/x HTTP/1.1\r\n{H}Proxy: http://evil\r\n\r\n", Forwarded("")),
        (
            "HTTP2-Settings",
            "GET /api/x HTTP/1.1\r\n{H}HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n",
            RefusedOrForwarded(""),
        ),
        (
            "an own field, nominated",
            "GET /api/x HTTP/1.1\r\n{H}Connection: X-Own\r\nX-Own: 1\r\n\r\n",
            Forwarded(""),
        ),
    ]);
}

#[test]
fn nobody_else_says_who_the_client_is() {
    Bench::start().judge_all(&[
        (
            "X-Auth-Subject: root",
            "GET /api/x HTTP/1.1\r\n{H}X-Auth-Subject: root\r\n\r\n",
            Forwarded(""),
        ),
        (
            "X_Auth_Subject: root",
            "GET /api/x HTTP/1.1\r\n{H}X_Auth_Subject: root\r\n\r\n",
            Forwarded(""),
        ),
        (
            "x.auth.subject: root",
            "GET /api/x HTTP/1.1\r\n{H}x.auth.subject: root\r\n\r\n",
            Forwarded(""),
        ),
        (
            "X-AUTH-SUBJECT: root",
            "GET /api/x HTTP/1.1\r\n{H}X-AUTH-SUBJECT: root\r\n\r\n",
            Forwarded(""),
        ),
        (
            "X-Auth_Subject: root",
            "GET /api/x HTTP/1.1\r\n{H}X-Auth_Subject: root\r\n\r\n",
            Forwarded(""),
        ),
        (
            "X-Auth-Subject: root, X-Auth-Subject: admin",
            "GET /api/x HTTP/1.1\r\n{H}X-Auth-Subject: root\r\nX-Auth-Subject: admin\r\n\r\n",
            Forwarded(""),
        ),
        (
            "X-Auth-Method: none",
            "GET /api/x HTTP/1.1\r\n{H}X-Auth-Method: none\r\n\r\n",
            Forwarded(""),
        ),
        (
            "x_auth_method: none",
            "GET /api/x HTTP/1.1\r\n{H}x_auth_method: none\r\n\r\n",
            Forwarded(""),
        ),
        (
            "X-Auth-Roles: admin",
            "GET /api/x HTTP/1.1\r\n{H}X-Auth-Roles: admin\r\n\r\n",
            Forwarded(""),
        ),
        (
            "x_auth_anything: 1",
            "GET /api/x HTTP/1.1\r\n{H}x_auth_anything: 1\r\n\r\n",
            Forwarded(""),
        ),
        (
            "X-Auth--Subject: root",
            "GET /api/x HTTP/1.1\r\n{H}X-Auth--Subject: root\r\n\r\n",
            Forwarded(""),
        ),
        (
            "Client-Cert: :YQ==:",
            "GET /api/x HTTP/1.1\r\n{H}Client-Cert: :YQ==:\r\n\r\n",
            Forwarded(""),
        ),
        (
            "client_cert: :YQ==:",
            "GET /api/x HTTP/1.1\r\n{H}client_cert: :YQ==:\r\n\r\n",
            Forwarded(""),
        ),
        (
            "Client-Cert-Chain: :YQ==:",
            "GET /api/x HTTP/1.1\r\n{H}Client-Cert-Chain: :YQ==:\r\n\r\n",
            Forwarded(""),
        ),
        (
            "X-Forwarded-For: 6.6.6.6",
            "GET /api/x HTTP/1.1\r\n{H}X-Forwarded-For: 6.6.6.6\r\n\r\n",
            Forwarded(""),
        ),
        (
            "X_Forwarded_For: 6.6.6.6",
            "GET /api/x HTTP/1.1\r\n{H}X_Forwarded_For: 6.6.6.6\r\n\r\n",
            Forwarded(""),
        ),
        (
            "x.forwarded.for: 6.6.6.6",
            "GET /api/x HTTP/1.1\r\n{H}x.forwarded.for: 6.6.6.6\r\n\r\n",
            Forwarded(""),
        ),
        (
            "X-Forwarded_For: 6.6.6.6",
            "GET /api/x HTTP/1.1\r\n{H}X-Forwarded_For: 6.6.6.6\r\n\r\n",
            Forwarded(""),
        ),
        (
            "X-Forwarded-Proto: https",
            "GET /api/x HTTP/1.1\r\n{H}X-Forwarded-Proto: https\r\n\r\n",
            Forwarded(""),
        ),
        (
            "X_Forwarded_Proto: https",
            "GET /api/x HTTP/1.1\r\n{H}X_Forwarded_Proto: https\r\n\r\n",
            Forwarded(""),
        ),
        (
            "X-Forwarded-Host: evil",
            "GET /api/x HTTP/1.1\r\n{H}X-Forwarded-Host: evil\r\n\r\n",
            Forwarded(""),
        ),
        (
            "X_Forwarded_Host: evil",
            "GET /api/x HTTP/1.1\r\n{H}X_Forwarded_Host: evil\r\n\r\n",
            Forwarded(""),
        ),
        (
            "X-Forwarded-Port: 443",
            "GET /api/x HTTP/1.1\r\n{H}X-Forwarded-Port: 443\r\n\r\n",
            Forwarded(""),
        ),
        (
            "X-Forwarded-Prefix: /evil",
            "GET /api/x HTTP/1.1\r\n{H}X-Forwarded-Prefix: /evil\r\n\r\n",
            Forwarded(""),
        ),
        (
            "X-Forwarded-Server: evil",
            "GET /api/x HTTP/1.1\r\n{H}X-Forwarded-Server: evil\r\n\r\n",
            Forwarded(""),
        ),
        (
            "X-Forwarded-Scheme: https",
            "GET /api/x HTTP/1.1\r\n{H}X-Forwarded-Scheme: https\r\n\r\n",
            Forwarded(""),
        ),
        (
            "X-Forwarded-Ssl: on",
            "GET /api/x HTTP/1.1\r\n{H}X-Forwarded-Ssl: on\r\n\r\n",
            Forwarded(""),
        ),
        (
            "X-Forwarded-User: root",
            "GET /api/x HTTP/1.1\r\n{H}X-Forwarded-User: root\r\n\r\n",
            Forwarded(""),
        ),
        (
            "x_forwarded_user: root",
            "GET /api/x HTTP/1.1\r\n{H}x_forwarded_user: root\r\n\r\n",
            Forwarded(""),
        ),
        (
            "Forwarded: for=6.6.6.6;host=evil",
            "GET /api/x HTTP/1.1\r\n{H}Forwarded: for=6.6.6.6;host=evil\r\n\r\n",
            Forwarded(""),
        ),
        (
            "X-Real-IP: 6.6.6.6",
            "GET /api/x HTTP/1.1\r\n{H}X-Real-IP: 6.6.6.6\r\n\r\n",
            Forwarded(""),
        ),
        (
            "X_Real_IP: 6.6.6.6",
            "GET /api/x HTTP/1.1\r\n{H}X_Real_IP: 6.6.6.6\r\n\r\n",
            Forwarded(""),
        ),
        (
            "X-Original-URL: /admin",
            "GET /api/x HTTP/1.1\r\n{H}X-Original-URL: /admin\r\n\r\n",
            Forwarded(""),
        ),
        (
            "X_Original_URL: /admin",
            "GET /api/x HTTP/1.1\r\n{H}X_Original_URL: /admin\r\n\r\n",
            Forwarded(""),
        ),
        (
            "X-Rewrite-URL: /admin",
            "GET /api/x HTTP/1.1\r\n{H}X-Rewrite-URL: /admin\r\n\r\n",
            Forwarded(""),
        ),
        ("Host_: evil", "GET /api/x HTTP/1.1\r\n{H}Host_: evil\r\n\r\n", Forwarded("")),
        (
            "X-Request-Id: mine",
            "GET /api/x HTTP/1.1\r\n{H}X-Request-Id: mine\r\n\r\n",
            Forwarded(""),
        ),
    ]);
}

#[test]
fn hops_are_counted_down() {
    Bench::start().judge_all(&[
        ("none left", "OPTIONS /api/x HTTP/1.1\r\n{H}Max-Forwards: 0\r\n\r\n", Answered(204)),
        ("one left", "OPTIONS /api/x HTTP/1.1\r\n{H}Max-Forwards: 1\r\n\r\n", Forwarded("")),
        (
            "a negative number",
            "OPTIONS /api/x HTTP/1.1\r\n{H}Max-Forwards: -1\r\n\r\n",
            RefusedOrForwarded(""),
        ),
        (
            "a huge number",
            "OPTIONS /api/x HTTP/1.1\r\n{H}Max-Forwards: 99999999999999999999999\r\n\r\n",
            RefusedOrForwarded(""),
        ),
        (
            "no number",
            "OPTIONS /api/x HTTP/1.1\r\n{H}Max-Forwards: x\r\n\r\n",
            RefusedOrForwarded(""),
        ),
        ("on a GET", "GET /api/x HTTP/1.1\r\n{H}Max-Forwards: 0\r\n\r\n", Forwarded("")),
        ("TRACE", "TRACE /api/x HTTP/1.1\r\n{H}Max-Forwards: 0\r\n\r\n", Answered(405)),
        (
            "with a body",
            "OPTIONS /api/x HTTP/1.1\r\n{H}Max-Forwards: 0\r\nContent-Length: 5\r\n\r\nhello",
            Answered(204),
        ),
    ]);
}

/// The upstream of these rows switches to nothing: whatever is behind the request must not become a
/// request of its own that nobody looked at.
#[test]
fn an_upgrade_that_is_not_taken_hides_nothing() {
    Bench::start().judge_all(&[
        (
            "websocket",
            "GET /api/x HTTP/1.1\r\n{H}Connection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            RefusedOrForwarded(""),
        ),
        (
            "websocket, then a request without a token",
            "GET /api/x HTTP/1.1\r\n{H}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSoc\
             ket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nGET \
             /api/smuggled HTTP/1.1\r\nHost: h\r\n\r\n",
            RefusedOrForwarded(""),
        ),
        (
            "websocket with a wrong version",
            "GET /api/x HTTP/1.1\r\n{H}Connection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 777\r\n\r\n",
            RefusedOrForwarded(""),
        ),
        (
            "websocket without Connection",
            "GET /api/x HTTP/1.1\r\n{H}Upgrade: websocket\r\n\r\n",
            RefusedOrForwarded(""),
        ),
        (
            "websocket with a length",
            "GET /api/x HTTP/1.1\r\n{H}Connection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nContent-Length: 5\r\n\r\nhello",
            RefusedOrForwarded("hello"),
        ),
        (
            "websocket in chunks",
            "GET /api/x HTTP/1.1\r\n{H}Connection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            RefusedOrForwarded("hello"),
        ),
        (
            "websocket by POST",
            "POST /api/x HTTP/1.1\r\n{H}Connection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            RefusedOrForwarded(""),
        ),
        (
            "websocket in HTTP/1.0",
            "GET /api/x HTTP/1.0\r\n{H}Connection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            RefusedOrForwarded(""),
        ),
        (
            "h2c",
            "GET /api/x HTTP/1.1\r\n{H}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
             HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n",
            RefusedOrForwarded(""),
        ),
        (
            "h2c, then its preface",
            "GET /api/x HTTP/1.1\r\n{H}Connection: Upgrade, \
             HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \
             AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            RefusedOrForwarded(""),
        ),
        (
            "h2c without HTTP2-Settings",
            "GET /api/x HTTP/1.1\r\n{H}Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
            RefusedOrForwarded(""),
        ),
        (
            "TLS",
            "GET /api/x HTTP/1.1\r\n{H}Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n\r\n",
            RefusedOrForwarded(""),
        ),
        (
            "several",
            "GET /api/x HTTP/1.1\r\n{H}Connection: Upgrade\r\nUpgrade: websocket, h2c, x\r\n\r\n",
            RefusedOrForwarded(""),
        ),
        (
            "an empty one",
            "GET /api/x HTTP/1.1\r\n{H}Connection: Upgrade\r\nUpgrade:\r\n\r\n",
            RefusedOrForwarded(""),
        ),
    ]);
}

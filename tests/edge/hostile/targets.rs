//! Request targets in every form but the plain one (RFC 9112 section 3.2). Paths are in
//! [`super::paths`].

use super::{Answered, Bench, Forwarded, Refused, RefusedOrForwarded, RefusedSomehow};

#[test]
fn a_target_has_one_form_and_one_meaning() {
    Bench::start().judge_all(&[
        ("absolute-form", "GET http://h/api/x HTTP/1.1\r\n{H}\r\n", Forwarded("")),
        ("in capital letters", "GET HTTP://h/api/x HTTP/1.1\r\n{H}\r\n", Forwarded("")),
        ("https", "GET https://h/api/x HTTP/1.1\r\n{H}\r\n", RefusedOrForwarded("")),
        (
            "with the port that Host has",
            "GET http://h:81/api/x HTTP/1.1\r\nHost: h:81\r\n{T}\r\n",
            Forwarded(""),
        ),
        // RFC 9112 section 3.2.2 would ignore the field; Pingora refuses the contradiction, which
        // is as safe.
        ("with another Host", "GET http://h/api/x HTTP/1.1\r\nHost: evil\r\n{T}\r\n", Refused(400)),
        ("with another port", "GET http://h:81/api/x HTTP/1.1\r\n{H}\r\n", Refused(400)),
        (
            "with the port of the other scheme",
            "GET http://h:443/api/x HTTP/1.1\r\n{H}\r\n",
            Refused(400),
        ),
        ("with a Host in other letters", "GET http://H/api/x HTTP/1.1\r\n{H}\r\n", Forwarded("")),
        ("with the default port", "GET http://h:80/api/x HTTP/1.1\r\n{H}\r\n", Forwarded("")),
        (
            "without the default port that Host has",
            "GET https://H/api/x HTTP/1.1\r\nHost: h:443\r\n{T}\r\n",
            Forwarded(""),
        ),
        ("without Host", "GET http://h/api/x HTTP/1.1\r\n{T}\r\n", Refused(400)),
        ("with two Hosts", "GET http://h/api/x HTTP/1.1\r\n{H}Host: h\r\n\r\n", Refused(400)),
        ("with an empty Host", "GET http://h/api/x HTTP/1.1\r\nHost:\r\n{T}\r\n", Refused(400)),
        ("of another scheme", "GET ftp://h/api/x HTTP/1.1\r\n{H}\r\n", Refused(400)),
        ("of a file", "GET file:///etc/passwd HTTP/1.1\r\n{H}\r\n", Refused(400)),
        ("of a script", "GET javascript:alert(1) HTTP/1.1\r\n{H}\r\n", RefusedSomehow),
        ("of ws", "GET ws://h/api/x HTTP/1.1\r\n{H}\r\n", Refused(400)),
        ("of no scheme", "GET ://h/api/x HTTP/1.1\r\n{H}\r\n", Refused(400)),
        ("with one slash", "GET http:/api/x HTTP/1.1\r\n{H}\r\n", RefusedSomehow),
        ("with three slashes", "GET http:///api/x HTTP/1.1\r\n{H}\r\n", Refused(400)),
        ("with backslashes", "GET http:\\\\h\\api\\x HTTP/1.1\r\n{H}\r\n", RefusedSomehow),
        ("with a user", "GET http://user@h/api/x HTTP/1.1\r\n{H}\r\n", RefusedSomehow),
        (
            "with a user and a password",
            "GET http://user:pass@h/api/x HTTP/1.1\r\n{H}\r\n",
            RefusedSomehow,
        ),
        (
            "with a host for a user",
            "GET http://h:80@evil/api/x HTTP/1.1\r\n{H}\r\n",
            RefusedSomehow,
        ),
        ("with a port that is none", "GET http://h:x/api/x HTTP/1.1\r\n{H}\r\n", RefusedSomehow),
        ("with a port too large", "GET http://h:65536/api/x HTTP/1.1\r\n{H}\r\n", RefusedSomehow),
        ("with a fragment", "GET http://h/api/x#y HTTP/1.1\r\n{H}\r\n", RefusedSomehow),
        ("with a fragment for a path", "GET http://h#/api/x HTTP/1.1\r\n{H}\r\n", RefusedSomehow),
        (
            "with a URL for a path",
            "GET http://h/http://evil/api/x HTTP/1.1\r\n{H}\r\n",
            Answered(404),
        ),
        ("without a path", "GET http://h HTTP/1.1\r\n{H}\r\n", Answered(404)),
        ("with a query only", "GET http://h?x HTTP/1.1\r\n{H}\r\n", RefusedSomehow),
        ("two URLs", "GET http://h/api/x http://evil/ HTTP/1.1\r\n{H}\r\n", RefusedOrForwarded("")),
        ("authority-form", "GET h:80 HTTP/1.1\r\n{H}\r\n", RefusedSomehow),
        ("a name", "GET h HTTP/1.1\r\n{H}\r\n", RefusedSomehow),
        ("CONNECT", "CONNECT h:443 HTTP/1.1\r\n{H}\r\n", Answered(405)),
        ("CONNECT, then bytes", "CONNECT h:443 HTTP/1.1\r\n{H}\r\n{S}", Answered(405)),
        (
            "CONNECT with a length",
            "CONNECT h:443 HTTP/1.1\r\n{H}Content-Length: 5\r\n\r\nhello",
            Answered(405),
        ),
        ("CONNECT with a path", "CONNECT /api/x HTTP/1.1\r\n{H}\r\n", Answered(405)),
        ("CONNECT with a URL", "CONNECT http://h/api/x HTTP/1.1\r\n{H}\r\n", Answered(405)),
        (
            "CONNECT to the metadata of a cloud",
            "CONNECT 169.254.169.254:80 HTTP/1.1\r\n{H}\r\n",
            Refused(400),
        ),
        ("connect in small letters", "connect /api/x HTTP/1.1\r\n{H}\r\n", RefusedOrForwarded("")),
        ("TRACE", "TRACE /api/x HTTP/1.1\r\n{H}\r\n", Answered(405)),
        (
            "TRACE with a body",
            "TRACE /api/x HTTP/1.1\r\n{H}Content-Length: 5\r\n\r\nhello",
            Answered(405),
        ),
        ("TRACE of another place", "TRACE /nowhere HTTP/1.1\r\n{H}\r\n", Answered(405)),
        ("asterisk-form", "OPTIONS * HTTP/1.1\r\n{H}\r\n", Answered(404)),
        ("asterisk-form on a GET", "GET * HTTP/1.1\r\n{H}\r\n", Answered(404)),
        ("an asterisk and a path", "OPTIONS */api/x HTTP/1.1\r\n{H}\r\n", RefusedSomehow),
        ("a query only", "GET ?/api/x HTTP/1.1\r\n{H}\r\n", RefusedSomehow),
        ("a fragment only", "GET # HTTP/1.1\r\n{H}\r\n", RefusedSomehow),
        ("a relative path", "GET api/x HTTP/1.1\r\n{H}\r\n", RefusedSomehow),
        ("an at sign in front", "GET @evil/api/x HTTP/1.1\r\n{H}\r\n", RefusedSomehow),
        ("a fragment", "GET /api/x#y HTTP/1.1\r\n{H}\r\n", RefusedSomehow),
        ("a fragment in the query", "GET /api/x?y#z HTTP/1.1\r\n{H}\r\n", RefusedSomehow),
        (
            "an escaped line in the query",
            "GET /api/x?y=%0d%0aX-A:%201 HTTP/1.1\r\n{H}\r\n",
            Forwarded(""),
        ),
        ("a byte outside ASCII in the query", "GET /api/x?y=é HTTP/1.1\r\n{H}\r\n", Refused(400)),
        ("a control byte in the query", "GET /api/x?y=\x01 HTTP/1.1\r\n{H}\r\n", Refused(400)),
        ("0x7F in the query", "GET /api/x?y=\x7f HTTP/1.1\r\n{H}\r\n", Refused(400)),
        (
            "a backslash in the query",
            "GET /api/x?y=\\..\\ HTTP/1.1\r\n{H}\r\n",
            RefusedOrForwarded(""),
        ),
    ]);
}

#[test]
fn absolute_form_names_the_host_and_goes_on_in_origin_form() {
    let bench = Bench::start();
    let seen = bench.forwarded(
        "GET http://target.example:81/api/y?z HTTP/1.1\r\nHost: target.example:81\r\n{T}\r\n",
    );
    assert_eq!(
        (seen.target.as_str(), seen.values("host"), seen.values("x-forwarded-host")),
        ("/y?z", vec!["target.example:81"], vec!["target.example:81"])
    );
}

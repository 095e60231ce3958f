//! How long the body is, who the request is for, and how large a head may be.

use super::{Bench, Forwarded, Refused, RefusedOrForwarded, RefusedSomehow};

#[test]
fn the_length_of_a_body_is_said_once_and_plainly() {
    Bench::start().judge_all(&[
        (
            "a length",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5\r\n\r\nhello",
            Forwarded("hello"),
        ),
        (
            "a length without a space",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length:5\r\n\r\nhello",
            Forwarded("hello"),
        ),
        (
            "a length between blanks",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: \t5 \r\n\r\nhello",
            Forwarded("hello"),
        ),
        ("a length of 0", "POST /api/x HTTP/1.1\r\n{H}Content-Length: 0\r\n\r\n", Forwarded("")),
        (
            "leading zeros",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 0005\r\n\r\nhello",
            RefusedOrForwarded("hello"),
        ),
        (
            "length and chunked",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5\r\n\
             Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{S}",
            Refused(400),
        ),
        (
            "chunked and length",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\
             Content-Length: 5\r\n\r\n0\r\n\r\n{S}",
            Refused(400),
        ),
        (
            "length 0 and chunked",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 0\r\n\
             Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "length and another encoding",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5\r\n\
             Transfer-Encoding: identity\r\n\r\nhello",
            Refused(400),
        ),
        (
            "length and chunked in strange letters",
            "POST /api/x HTTP/1.1\r\n{H}content-LENGTH: 5\r\ntransfer-ENCODING: \
             cHuNkEd\r\n\r\nhello",
            Refused(400),
        ),
        (
            "the same length twice",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
            Refused(400),
        ),
        (
            "two lengths",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5\r\nContent-Length: 0\r\n\r\nhello",
            Refused(400),
        ),
        (
            "two lengths, the first shorter",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 0\r\nContent-Length: 300\r\n\r\n{S}",
            Refused(400),
        ),
        (
            "two lengths in two spellings",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5\r\ncontent-length: 6\r\n\r\nhello",
            Refused(400),
        ),
        (
            "a list of equal lengths",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5, 5\r\n\r\nhello",
            Refused(400),
        ),
        (
            "a list of lengths",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5, 6\r\n\r\nhello",
            Refused(400),
        ),
        ("a plus sign", "POST /api/x HTTP/1.1\r\n{H}Content-Length: +5\r\n\r\nhello", Refused(400)),
        (
            "a minus sign",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: -5\r\n\r\nhello",
            Refused(400),
        ),
        (
            "hexadecimal",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 0x5\r\n\r\nhello",
            Refused(400),
        ),
        (
            "letters behind",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5a\r\n\r\nhello",
            Refused(400),
        ),
        ("a fraction", "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5.0\r\n\r\nhello", Refused(400)),
        (
            "a blank inside",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5 5\r\n\r\nhello",
            Refused(400),
        ),
        (
            "an empty length",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length:\r\n\r\nhello",
            Refused(400),
        ),
        (
            "a length beyond 64 bits",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 99999999999999999999999\r\n\r\nhello",
            RefusedSomehow,
        ),
        (
            "a length of 2^64 + 5",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 18446744073709551621\r\n\r\nhello{S}",
            RefusedSomehow,
        ),
        (
            "a form feed in front",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: \x0c5\r\n\r\nhello",
            Refused(400),
        ),
        ("quoted", "POST /api/x HTTP/1.1\r\n{H}Content-Length: \"5\"\r\n\r\nhello", Refused(400)),
        (
            "on a GET",
            "GET /api/x HTTP/1.1\r\n{H}Content-Length: 5\r\n\r\nhello",
            Forwarded("hello"),
        ),
        (
            "a tail of blanks",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5   \t \r\n\r\nhello",
            Forwarded("hello"),
        ),
        (
            "a vertical tab behind",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5\x0b\r\n\r\nhello",
            Refused(400),
        ),
        (
            "0xA0 behind",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5\u{a0}\r\n\r\nhello",
            Refused(400),
        ),
        (
            "an underscore",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 1_0\r\n\r\nhellohello",
            Refused(400),
        ),
        (
            "a comma behind",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5,\r\n\r\nhello",
            Refused(400),
        ),
        (
            "a comma in front",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: ,5\r\n\r\nhello",
            Refused(400),
        ),
        (
            "a parameter",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5;x\r\n\r\nhello",
            Refused(400),
        ),
        (
            "an exponent",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5e0\r\n\r\nhello",
            Refused(400),
        ),
        ("octal", "POST /api/x HTTP/1.1\r\n{H}Content-Length: 0o5\r\n\r\nhello", Refused(400)),
        (
            "digits of another script",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: Ù¥\r\n\r\nhello",
            Refused(400),
        ),
        (
            "2^63",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 9223372036854775808\r\n\r\n{S}",
            RefusedSomehow,
        ),
        (
            "2^64 - 1",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 18446744073709551615\r\n\r\n{S}",
            RefusedSomehow,
        ),
        (
            "2^32 + 5",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 4294967301\r\n\r\nhello{S}",
            RefusedSomehow,
        ),
        (
            "0 in many digits",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 00000000000000000000000000000000\r\n\r\n",
            RefusedOrForwarded(""),
        ),
        (
            "a length and an empty one",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5\r\nContent-Length:\r\n\r\nhello",
            Refused(400),
        ),
        (
            "an empty length and an encoding",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length:\r\nTransfer-Encoding: chunked\r\n\r\
             \n0\r\n\r\n{S}",
            Refused(400),
        ),
        ("no length, but a body on POST", "POST /api/x HTTP/1.1\r\n{H}\r\n", Forwarded("")),
        (
            "on a HEAD",
            "HEAD /api/x HTTP/1.1\r\n{H}Content-Length: 5\r\n\r\nhello",
            RefusedOrForwarded("hello"),
        ),
        (
            "on an OPTIONS",
            "OPTIONS /api/x HTTP/1.1\r\n{H}Content-Length: 5\r\n\r\nhello",
            Forwarded("hello"),
        ),
        (
            "on a DELETE",
            "DELETE /api/x HTTP/1.1\r\n{H}Content-Length: 5\r\n\r\nhello",
            Forwarded("hello"),
        ),
        (
            "on a method of its own",
            "FROBNICATE /api/x HTTP/1.1\r\n{H}Content-Length: 5\r\n\r\nhello",
            Forwarded("hello"),
        ),
        (
            "in HTTP/1.0",
            "POST /api/x HTTP/1.0\r\n{H}Content-Length: 5\r\n\r\nhello",
            Forwarded("hello"),
        ),
        (
            "a request as the body of a GET",
            "GET /api/x HTTP/1.1\r\n{H}Content-Length: 40\r\n\r\nGET /api/smuggled HTTP/1.1\r\n\
             Host: evil\r\n",
            Forwarded("GET /api/smuggled HTTP/1.1\r\nHost: evil\r\n"),
        ),
        (
            "a request behind a length of 0",
            "GET /api/x HTTP/1.1\r\n{H}Content-Length: 0\r\nConnection: close\r\n\r\n{S}",
            Forwarded(""),
        ),
        (
            "underscored",
            "POST /api/x HTTP/1.1\r\n{H}Content_Length: 5\r\n\r\n",
            RefusedOrForwarded(""),
        ),
        (
            "underscored beside the real one",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5\r\nContent_Length: 0\r\n\r\nhello",
            RefusedOrForwarded("hello"),
        ),
        (
            "underscored beside an encoding",
            "POST /api/x HTTP/1.1\r\n{H}Content_Length: 300\r\nTransfer-Encoding: chunked\r\n\r\n\
             0\r\n\r\n",
            RefusedOrForwarded(""),
        ),
        (
            "dotted beside the real one",
            "POST /api/x HTTP/1.1\r\n{H}Content.Length: 0\r\nContent-Length: 5\r\n\r\nhello",
            RefusedOrForwarded("hello"),
        ),
        (
            "nominated in Connection",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5\r\nConnection: Content-Length\
             \r\n\r\nhello",
            RefusedOrForwarded("hello"),
        ),
        (
            "nominated on a GET",
            "GET /api/x HTTP/1.1\r\n{H}Content-Length: 5\r\nConnection: content-length\
             \r\n\r\nhello",
            RefusedOrForwarded("hello"),
        ),
    ]);
}

#[test]
fn the_only_encoding_of_a_transfer_is_chunked() {
    Bench::start().judge_all(&[
        (
            "chunked",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            Forwarded("hello"),
        ),
        (
            "chunked in other letters",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            RefusedOrForwarded("hello"),
        ),
        (
            "gzip, chunked",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: gzip, chunked\r\n\r\n\
             5\r\nhello\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "gzip and chunked in two fields",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\
             \r\n5\r\nhello\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "chunked twice",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\
             Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "chunked, chunked",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "chunked, identity",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{S}",
            Refused(400),
        ),
        (
            "identity",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: identity\r\n\r\n",
            Refused(400),
        ),
        ("gzip", "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: gzip\r\n\r\nhello", Refused(400)),
        (
            "xchunked",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: xchunked\r\n\r\n5\r\nhello\r\n\
             0\r\n\r\n",
            Refused(400),
        ),
        (
            "chunkedx",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: chunkedx\r\n\r\n5\r\nhello\r\n\
             0\r\n\r\n",
            Refused(400),
        ),
        (
            "chunked with a parameter",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "a comma in front",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "quoted",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "a vertical tab in front",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        ("empty", "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding:\r\n\r\n0\r\n\r\n", Refused(400)),
        (
            "a blank before the colon",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{S}",
            Refused(400),
        ),
        (
            "an underscore",
            "POST /api/x HTTP/1.1\r\n{H}Transfer_Encoding: chunked\r\n\r\n",
            RefusedOrForwarded(""),
        ),
        (
            "in HTTP/1.0",
            "POST /api/x HTTP/1.0\r\n{H}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            RefusedOrForwarded("hello"),
        ),
        (
            "nominated in Connection",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\
             Connection: Transfer-Encoding\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            RefusedOrForwarded("hello"),
        ),
        (
            "nominated on a GET",
            "GET /api/x HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\
             Connection: transfer-encoding\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            RefusedOrForwarded("hello"),
        ),
        (
            "a comma behind",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "a blank behind",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: chunked \t\r\n\r\n5\r\n\
             hello\r\n0\r\n\r\n",
            Forwarded("hello"),
        ),
        (
            "a tab in front",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding:\tchunked\r\n\r\n5\r\n\
             hello\r\n0\r\n\r\n",
            Forwarded("hello"),
        ),
        (
            "a form feed behind",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: chunked\x0c\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "a vertical tab behind",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: chunked\x0b\r\n\r\n0\r\n\r\n{S}",
            Refused(400),
        ),
        (
            "0xA0 in front",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: \u{a0}chunked\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "0x85 behind",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: chunked\u{85}\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "a NUL behind",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: chunked\x00\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "an apostrophe",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: 'chunked'\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "chunked, x",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: chunked, x\r\n\r\n0\r\n\r\n{S}",
            Refused(400),
        ),
        (
            "x, chunked",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: x, chunked\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "identity, chunked",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "chunked, gzip",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n{S}",
            Refused(400),
        ),
        (
            "chunk",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: chunk\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "a letter that folds to k",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: chunâ\u{84}ªed\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "the name in the value",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: \
             Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "chunked and x in two fields",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\
             Transfer-Encoding: x\r\n\r\n0\r\n\r\n{S}",
            Refused(400),
        ),
        (
            "x and chunked in two spellings",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: x\r\ntransfer-encoding: chunked\r\n\
             \r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "empty and chunked in two fields",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n\
             \r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "underscored beside a length",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5\r\nTransfer_Encoding: chunked\
             \r\n\r\nhello",
            RefusedOrForwarded("hello"),
        ),
        (
            "dotted beside a length",
            "POST /api/x HTTP/1.1\r\n{H}Transfer.Encoding: chunked\r\n\
             Content-Length: 5\r\n\r\nhello",
            RefusedOrForwarded("hello"),
        ),
        (
            "in HTTP/1.0 beside a length",
            "POST /api/x HTTP/1.0\r\n{H}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\
             \n0\r\n\r\n{S}",
            Refused(400),
        ),
        (
            "in HTTP/1.0 with keep-alive",
            "POST /api/x HTTP/1.0\r\n{H}Connection: keep-alive\r\n\
             Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            RefusedOrForwarded("hello"),
        ),
        (
            "on a GET",
            "GET /api/x HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            Forwarded("hello"),
        ),
        (
            "on a HEAD",
            "HEAD /api/x HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            RefusedOrForwarded("hello"),
        ),
        (
            "on an OPTIONS",
            "OPTIONS /api/x HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\r\n5\r\n\
             hello\r\n0\r\n\r\n",
            Forwarded("hello"),
        ),
        (
            "on a DELETE",
            "DELETE /api/x HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\r\n5\r\n\
             hello\r\n0\r\n\r\n",
            Forwarded("hello"),
        ),
        (
            "empty on a GET",
            "GET /api/x HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            Forwarded(""),
        ),
        (
            "CL.TE",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\
             \r\n0\r\n\r\nG",
            Refused(400),
        ),
        (
            "TE.CL",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\
             \r\n2c\r\nGET /api/smuggled HTTP/1.1\r\nHost: evil\r\n\r\nx\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "CL.TE with a form feed",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5\r\n\
             Transfer-Encoding: \x0cchunked\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "CL.TE with a vertical tab",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5\r\nTransfer-Encoding: \x0bchunked\r\n\
             \r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "CL.TE with a blank before the colon",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5\r\nTransfer-Encoding : chunked\r\n\
             \r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "CL.TE with xchunked",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5\r\n\
             Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "CL.TE on a GET",
            "GET /api/x HTTP/1.1\r\n{H}Content-Length: 5\r\n\
             Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{S}",
            Refused(400),
        ),
        (
            "CL.TE folded",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5\r\n\
             Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "CL.TE behind a folded field",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5\r\n\
             X-A: 1\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
    ]);
}

#[test]
fn a_request_is_for_one_host() {
    Bench::start().judge_all(&[
        ("none", "GET /api/x HTTP/1.1\r\n{T}\r\n", Refused(400)),
        ("twice the same", "GET /api/x HTTP/1.1\r\n{H}Host: h\r\n\r\n", Refused(400)),
        ("two", "GET /api/x HTTP/1.1\r\n{H}Host: other\r\n\r\n", Refused(400)),
        ("empty", "GET /api/x HTTP/1.1\r\nHost:\r\n{T}\r\n", Refused(400)),
        ("a blank inside", "GET /api/x HTTP/1.1\r\nHost: a b\r\n{T}\r\n", Refused(400)),
        ("a slash", "GET /api/x HTTP/1.1\r\nHost: a/b\r\n{T}\r\n", Refused(400)),
        ("a user", "GET /api/x HTTP/1.1\r\nHost: user@a\r\n{T}\r\n", Refused(400)),
        ("a list", "GET /api/x HTTP/1.1\r\nHost: a, b\r\n{T}\r\n", Refused(400)),
        ("a port that is none", "GET /api/x HTTP/1.1\r\nHost: a:http\r\n{T}\r\n", Refused(400)),
        ("a port too large", "GET /api/x HTTP/1.1\r\nHost: a:99999\r\n{T}\r\n", Refused(400)),
        ("two ports", "GET /api/x HTTP/1.1\r\nHost: a:80:80\r\n{T}\r\n", Refused(400)),
        ("a bracket open", "GET /api/x HTTP/1.1\r\nHost: [::1\r\n{T}\r\n", Refused(400)),
        ("a query", "GET /api/x HTTP/1.1\r\nHost: a?b\r\n{T}\r\n", Refused(400)),
        ("a fragment", "GET /api/x HTTP/1.1\r\nHost: a#b\r\n{T}\r\n", Refused(400)),
        (
            "a name with a port",
            "GET /api/x HTTP/1.1\r\nHost: example.com:8080\r\n{T}\r\n",
            Forwarded(""),
        ),
        ("an IPv6 address", "GET /api/x HTTP/1.1\r\nHost: [::1]:8080\r\n{T}\r\n", Forwarded("")),
        ("none in absolute-form", "GET http://h/api/x HTTP/1.1\r\n{T}\r\n", Refused(400)),
        ("HTTP/1.0 without one", "GET /api/x HTTP/1.0\r\n{T}\r\n", RefusedOrForwarded("")),
        ("a tab", "GET /api/x HTTP/1.1\r\nHost: a\tb\r\n{T}\r\n", Refused(400)),
        ("a comma behind", "GET /api/x HTTP/1.1\r\nHost: h,\r\n{T}\r\n", Refused(400)),
        ("a semicolon", "GET /api/x HTTP/1.1\r\nHost: h;evil\r\n{T}\r\n", Refused(400)),
        ("a backslash", "GET /api/x HTTP/1.1\r\nHost: h\\evil\r\n{T}\r\n", Refused(400)),
        ("an escape", "GET /api/x HTTP/1.1\r\nHost: h%00evil\r\n{T}\r\n", Refused(400)),
        ("a quote", "GET /api/x HTTP/1.1\r\nHost: \"h\"\r\n{T}\r\n", Refused(400)),
        ("markup", "GET /api/x HTTP/1.1\r\nHost: <h>\r\n{T}\r\n", Refused(400)),
        ("a byte outside ASCII", "GET /api/x HTTP/1.1\r\nHost: hÃ©\r\n{T}\r\n", Refused(400)),
        ("a control byte", "GET /api/x HTTP/1.1\r\nHost: h\x01\r\n{T}\r\n", Refused(400)),
        (
            "a user and a password",
            "GET /api/x HTTP/1.1\r\nHost: user:pass@h\r\n{T}\r\n",
            Refused(400),
        ),
        (
            "a user in front of a port",
            "GET /api/x HTTP/1.1\r\nHost: h:80@evil\r\n{T}\r\n",
            Refused(400),
        ),
        ("only a port", "GET /api/x HTTP/1.1\r\nHost: :80\r\n{T}\r\n", Refused(400)),
        ("only blanks", "GET /api/x HTTP/1.1\r\nHost:   \r\n{T}\r\n", Refused(400)),
        ("an empty port", "GET /api/x HTTP/1.1\r\nHost: h:\r\n{T}\r\n", RefusedOrForwarded("")),
        ("a negative port", "GET /api/x HTTP/1.1\r\nHost: h:-80\r\n{T}\r\n", Refused(400)),
        ("a port with a plus sign", "GET /api/x HTTP/1.1\r\nHost: h:+80\r\n{T}\r\n", Refused(400)),
        ("a port with a path", "GET /api/x HTTP/1.1\r\nHost: h:80/x\r\n{T}\r\n", Refused(400)),
        ("a URL", "GET /api/x HTTP/1.1\r\nHost: http://h\r\n{T}\r\n", Refused(400)),
        (
            "an IPv6 address without brackets",
            "GET /api/x HTTP/1.1\r\nHost: ::1\r\n{T}\r\n",
            Refused(400),
        ),
        (
            "something behind the bracket",
            "GET /api/x HTTP/1.1\r\nHost: [::1]evil\r\n{T}\r\n",
            Refused(400),
        ),
        ("a zone", "GET /api/x HTTP/1.1\r\nHost: [fe80::1%25eth0]\r\n{T}\r\n", Refused(400)),
        ("two, the second empty", "GET /api/x HTTP/1.1\r\n{H}Host:\r\n\r\n", Refused(400)),
        ("two in two spellings", "GET /api/x HTTP/1.1\r\n{H}hOST: evil\r\n\r\n", Refused(400)),
        (
            "one more behind a fold",
            "GET /api/x HTTP/1.1\r\n{H}X-A: 1\r\n Host: evil\r\n\r\n",
            Refused(400),
        ),
        ("two in HTTP/1.0", "GET /api/x HTTP/1.0\r\n{H}Host: evil\r\n\r\n", Refused(400)),
        (
            "a name of 300 letters",
            concat!(
                "GET /api/x HTTP/1.1\r\nHost: ",
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
                 aaaaaaaaaaaaaaaaaaa",
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
                 aaaaaaaaaaaaaaaaaaa",
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
                 aaaaaaaaaaaaaaaaaaa",
                "\r\n{T}\r\n"
            ),
            Refused(400),
        ),
    ]);
}

#[test]
fn a_head_has_a_size() {
    let bench = Bench::start();
    let with = |fields: String| format!("GET /api/x HTTP/1.1\r\n{{H}}{fields}\r\n");
    let fields = |count: usize| {
        (0..count).map(|number| format!("X-{number}: {number}\r\n")).collect::<String>()
    };
    let large = |bytes: usize| format!("X-Large: {}\r\n", "x".repeat(bytes));
    // Host and Authorization count too.
    let rows = [
        ("100 fields", with(fields(98)), Forwarded("")),
        ("101 fields", with(fields(99)), Refused(431)),
        ("200 fields", with(fields(198)), Refused(431)),
        // From 256 fields on, and for single pieces beyond 64 KiB, it is Pingora's own parser that
        // refuses.
        ("1000 fields", with(fields(998)), RefusedSomehow),
        ("60 KiB", with(large(60 * 1024)), Forwarded("")),
        ("64 KiB and more", with(large(64 * 1024)), Refused(431)),
        ("200 KiB", with(large(200 * 1024)), Refused(431)),
        ("2 MiB", with(large(2 * 1024 * 1024)), RefusedSomehow),
        ("a name of 70,000 bytes", with(format!("{}: x\r\n", "x".repeat(70_000))), RefusedSomehow),
        (
            "a target of 70,000 bytes",
            format!("GET /api/{} HTTP/1.1\r\n{{H}}\r\n", "x".repeat(70_000)),
            RefusedSomehow,
        ),
    ];
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|(name, request, expected)| bench.judge(name, &bench.fill(request), *expected))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_head_too_large_for_http2_is_refused_too() {
    let bench = Bench::start();
    let start = bench.upstream.mark();
    let many = (0..150)
        .fold(bench.edge.get("/api/x").bearer(&bench.token).http2(), |request, number| {
            request.header(&format!("x-{number}"), "1")
        });
    assert_eq!(many.send().status, 431, "150 fields");
    assert!(bench.upstream.since(&start).is_ok_and(|seen| seen.is_empty()));
}

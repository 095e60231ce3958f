//! What a record shows, and what it never does.

use super::*;
use crate::policy::testing::{Request, steps};

const PLAIN: &str =
    "[middleware.d]\ntype = \"log_dump\"\noptions = { label = \"before\", pretty = false }\n";

fn dump(middleware: &str, tables: &str) -> LogDump {
    let steps = steps(middleware, tables);
    let settings = steps.iter().find_map(|step| match &step.kind {
        StepKind::LogDump(settings) => Some(settings.clone()),
        _ => None,
    });
    LogDump::build(&"d".into(), &settings.unwrap(), &steps)
}

#[test]
fn a_record_shows_the_request() {
    let request = Request::get("/a/b")
        .query("x=1&x=2&y")
        .header("accept", "text/html")
        .header("x-many", "1")
        .header("x-many", "2")
        .header("referer", "https://h/p?state=s3cr3t");
    assert_eq!(
        dump("[\"d\"]", PLAIN).text(&request.facts()),
        r#"{"label":"before","client":"192.0.2.1","method":"GET","path":"/a/b","query":{"x":["1","2"],"y":""},"headers":{"accept":"text/html","referer":"https://h/p?[redacted]","x-many":["1","2"]}}"#
    );
    let pretty = dump("[\"d\"]", "[middleware.d]\ntype = \"log_dump\"\n");
    let text = pretty.text(&request.facts());
    assert!(text.starts_with("{\n  \"label\": \"d\",\n"), "{text}");
}

#[test]
fn secrets_are_left_out_whoever_names_them() {
    let tables = PLAIN.replace("label =", "redact_headers = [\"X-Own\"], label =")
        + "[middleware.s]\ntype = \"policies\"\nrules = [\n\
           { type = \"header\", mode = \"allow\", headers = [{ name = \"X-Door\", match_type = \
           \"exact\", value = \"s3cr3t\" }] },\n\
           { type = \"query_parameter\", mode = \"allow\", parameters = [{ name = \"door\", \
           match_type = \"exact\", value = \"s3cr3t\" }] }]\n";
    let mut dump = dump("[\"d\", \"s\"]", &tables);
    let places = [
        CredentialLocation::Header(HeaderName::from_static("x-machine")),
        CredentialLocation::Query("ticket".to_owned()),
    ];
    dump.hide(places.iter());
    let names = [
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
        "x-api-key",
        "x-door",
        "x-machine",
        "x-own",
        "x-user-pin",
        "color",
        "colour",
        "x-csrf-token",
        "x-amz-security-token",
        "sec-websocket-protocol",
        "sec_websocket!protocol",
        "x_machine",
        "x!door",
        "x|api~key",
        "x!user!pin",
    ];
    let mut request = Request::get("/").query(
        "access_token=s3cr3t&api%5Fkey=s3cr3t&door=s3cr3t&ticket=s3cr3t&card.pin=s3cr3t&code=\
         s3cr3t&PASSWORD=s3cr3t&color=s3cr3t",
    );
    for name in names {
        request = request.header(name, "s3cr3t").header(name, "again s3cr3t");
    }
    let text = dump.text(&request.facts());
    assert!(!text.contains("s3cr3t"), "{text}");
    for name in names {
        assert!(text.contains(name), "{name}: {text}");
    }
    let shown = Request::get("/")
        .query("monkey=shown&q=shown")
        .header("x-spin", "shown")
        .header("colors", "shown")
        .header("accept-encoding", "shown");
    let text = dump.text(&shown.facts());
    assert_eq!(text.matches("shown").count(), 5, "{text}");
}

#[test]
fn what_an_expression_compares_is_left_out() {
    let request = Request::get("/")
        .header("x-door", "s3cr3t")
        .header("x-other", "shown");
    for (expression, shown) in [
        ("request.headers['x-door'] == 's3cr3t'", true),
        (
            "has(request.headers.x) && request.headers['x-door'] == 's3cr3t'",
            true,
        ),
        (
            "request.headers.exists(name, request.headers[name] == 's3cr3t')",
            false,
        ),
    ] {
        let rule = format!(
            "[middleware.s]\ntype = \"policies\"\n\
             rules = [{{ type = \"cel\", mode = \"allow\", expression = {expression:?} }}]\n"
        );
        let text = dump("[\"d\", \"s\"]", &(PLAIN.to_owned() + &rule)).text(&request.facts());
        assert!(!text.contains("s3cr3t"), "{expression}: {text}");
        assert_eq!(text.contains("shown"), shown, "{expression}: {text}");
    }
}

#[test]
fn a_record_cannot_be_forged() {
    let request = Request::get("/")
        .query("a=%0aforged%22")
        .header("x-odd", "\u{e4}\t\"");
    let text = dump("[\"d\"]", PLAIN).text(&request.facts());
    assert!(
        !text.contains('\n') && text.contains("\\nforged\\\""),
        "{text}"
    );
}

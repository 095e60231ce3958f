//! Options of rules that are refused, each with its reason.

use super::policies::with_rule;
use super::*;

/// Asserts that a rule is refused for one reason, on one line.
#[track_caller]
fn rule_refused(body: &str, want: &str) {
    one_error(&with_rule(body), want);
}

#[test]
fn rules_are_refused() {
    for (body, want) in [
        (
            "type = \"alow_all\"\n",
            "unknown rule type \"alow_all\"; did you mean \"allow_all\"?",
        ),
        (
            "type = \"dicom_aet\"\noptions = { mode = \"allow\" }\n",
            "the rule type \"dicom_aet\" is not something that an HTTP edge does; an edge decides \
             by allow_all",
        ),
        (
            "type = \"deny_all\"\nweight = 1001\n",
            "rules.r.weight: must be from -1000 to 1000",
        ),
        (
            "type = \"deny_all\"\nenabled = \"no\"\n",
            "rules.r.enabled: expected a boolean",
        ),
        (
            "type = \"deny_all\"\noptions = { mode = \"deny\" }\n",
            "rules.r.options.mode: unknown key",
        ),
        ("type = \"ip_deny\"\n", "rules.r.ip_addresses: is missing"),
        (
            "type = \"ip_deny\"\nip_addresses = []\n",
            "rules.r.ip_addresses: is empty",
        ),
        (
            "type = \"ip_deny\"\nip_addresses = [\"10.0.0.0/33\"]\n",
            "\"10.0.0.0/33\" is not an address range",
        ),
        (
            "type = \"rate_limit\"\nwindow_seconds = 1\n",
            "rules.r.max_requests: is missing",
        ),
        (
            "type = \"rate_limit\"\nmax_requests = 0\nwindow_seconds = 1\n",
            "rules.r.max_requests: must be from 1 to",
        ),
        (
            "type = \"rate_limit\"\nmax_requests = 1\nwindow_seconds = 99999999\n",
            "rules.r.window_seconds: must be from 1 to 2678400",
        ),
        (
            "type = \"rate_limit\"\nmax_requests = 1\nwindow_seconds = 1\nkey = \"user\"\n",
            "rules.r.key: unknown key",
        ),
        (
            "type = \"rate_limit\"\nmax_requests = 1\nwindow_seconds = 1\nby = \"user\"\n",
            "unknown kind of key \"user\"",
        ),
        (
            "type = \"rate_limit\"\nmax_requests = 1\nwindow_seconds = 1\nby = \"claim:\"\n",
            "unknown kind of key",
        ),
        (
            "type = \"rate_limit\"\nmax_requests = 1\nwindow_seconds = 1\nby = []\n",
            "rules.r.by: is empty",
        ),
        (
            "type = \"rate_limit\"\nmax_requests = 1\nwindow_seconds = 1\n\
             by = [\"key\", \"key\"]\n",
            "is named twice",
        ),
        (
            "type = \"rate_limit\"\nmax_requests = 1\nwindow_seconds = 1\nby = 1\n",
            "rules.r.by: expected",
        ),
        (
            "type = \"rate_limit\"\nmax_requests = 1\nwindow_seconds = 1\ncount = \"tries\"\n",
            "unknown choice \"tries\"",
        ),
        (
            "type = \"rate_limit\"\nmax_requests = 1\nwindow_seconds = 1\n\
             count = \"attempts\"\nby = \"subject\"\n",
            "rules.r.count: counts before anybody",
        ),
        (
            "type = \"rate_limit\"\nmax_requests = 1\nwindow_seconds = 1\nlimits = 5\n",
            "rules.r.limits: expected a table",
        ),
        (
            "type = \"rate_limit\"\nmax_requests = 1\nwindow_seconds = 1\nlimits = { }\n",
            "rules.r.limits: has to name one thing",
        ),
        (
            "type = \"rate_limit\"\nmax_requests = 1\nwindow_seconds = 1\n\
             limits = { client = { a = 1 } }\n",
            "rules.r.limits.client: is nothing that an identity has",
        ),
        (
            "type = \"rate_limit\"\nmax_requests = 1\nwindow_seconds = 1\n\
             limits = { \"claim:plan\" = { } }\n",
            "is empty; name at least one value",
        ),
        (
            "type = \"rate_limit\"\nmax_requests = 1\nwindow_seconds = 1\n\
             limits = { \"claim:plan\" = { gold = 0 } }\n",
            "must be from 1 to",
        ),
        (
            "type = \"rate_limit\"\nmax_requests = 1\nwindow_seconds = 1\nheaders = 1\n",
            "rules.r.headers: expected a boolean",
        ),
        (
            "type = \"concurrency_limit\"\n",
            "rules.r.max_in_flight: is missing",
        ),
        (
            "type = \"concurrency_limit\"\nmax_in_flight = 1\nheaders = false\n",
            "rules.r.headers: unknown key",
        ),
        (
            "type = \"path\"\npaths = [\"/x\"]\n",
            "rules.r.mode: is missing; write mode = \"allow\" or mode = \"deny\"",
        ),
        (
            "type = \"path\"\npaths = [\"/x\"]\nmode = \"block\"\n",
            "unknown mode \"block\"",
        ),
        (
            "type = \"path\"\nmode = \"deny\"\npaths = [\"admin\"]\n",
            "must begin with \"/\"",
        ),
        (
            "type = \"path\"\nmode = \"deny\"\npaths = [\"/admin/*\"]\n",
            "\"/admin/*\" has a wildcard of another syntax; write {name} for one segment, {*rest}",
        ),
        (
            "type = \"path\"\nmode = \"deny\"\npaths = [\"/users/:id\"]\n",
            "has a wildcard of another syntax",
        ),
        (
            "type = \"path\"\nmode = \"deny\"\npaths = [\"/a/{*rest}/b\"]\n",
            "\"/a/{*rest}/b\" is not a pattern of paths",
        ),
        (
            "type = \"path\"\nmode = \"deny\"\npaths = [\"/a//b\"]\n",
            "must not contain an empty segment",
        ),
        (
            "type = \"path\"\nmode = \"deny\"\npaths = [\"/%61dmin\"]\n",
            "must not escape 'a'",
        ),
        (
            "type = \"path\"\nmode = \"deny\"\npaths = [\"/a{b\"]\n",
            "must not contain a pattern",
        ),
        (
            "type = \"method\"\nmode = \"allow\"\nmethods = [\"G T\"]\n",
            "\"G T\" is not a method",
        ),
        (
            "type = \"header\"\nmode = \"allow\"\nheaders = [{ name = \"a b\", match_type = \
             \"exact\", value = \"x\" }]\n",
            "\"a b\" is not a header name",
        ),
        (
            "type = \"header\"\nmode = \"allow\"\nheaders = [{ name = \"a\", match_type = \"is\", \
             value = \"x\" }]\n",
            "unknown match type \"is\"",
        ),
        (
            "type = \"header\"\nmode = \"allow\"\nheaders = [{ name = \"a\", match_type = \
             \"exact\" }]\n",
            "rules.r.headers[0].value: is missing",
        ),
        (
            "type = \"header\"\nmode = \"allow\"\nheaders = [{ name = \"a\", match_type = \
             \"contains\", value = \"\" }]\n",
            "rules.r.headers[0].value: is empty",
        ),
        (
            "type = \"header\"\nmode = \"allow\"\nheaders = [{ name = \"a\", match_type = \
             \"regex\", value = \"(x\" }]\n",
            "is not a regular expression: unclosed group",
        ),
        (
            "type = \"header\"\nmode = \"allow\"\nheaders = [{ name = \"a\", match_type = \
             \"exact\", value = \"x\", values = [] }]\n",
            "unknown key \"values\"; did you mean \"value\"?",
        ),
        (
            "type = \"user_agent\"\nmode = \"deny\"\npatterns = [{ label = \"x\" }]\n",
            "rules.r.patterns[0].pattern: is missing",
        ),
        (
            "type = \"user_agent\"\nmode = \"deny\"\npatterns = [\"/x/q\"]\n",
            "'q' is not a flag of an expression; known: i, m, s, x",
        ),
        (
            "type = \"user_agent\"\nmode = \"deny\"\npatterns = [\"(a{1000}){1000}\"]\n",
            "it takes more than 262144 bytes when compiled",
        ),
        (
            "type = \"content_type\"\nmode = \"deny\"\ncontent_types = [\"json\"]\n",
            "\"json\" is not a media type",
        ),
        (
            "type = \"content_type\"\nmode = \"deny\"\n\
             content_types = [\"text/html; charset=x\"]\n",
            "is not a media type",
        ),
        (
            "type = \"query_parameter\"\nmode = \"deny\"\n\
             parameters = [{ name = \"x\", match_type = \"exists\", value = \"y\" }]\n",
            "has no meaning beside match_type = \"exists\"",
        ),
        (
            "type = \"time_based\"\ntimezone = \"UTC\"\n",
            "rules.r.start_time: is missing",
        ),
        (
            "type = \"time_based\"\nstart_time = \"9:00\"\nend_time = \"17:00\"\n",
            "\"9:00\" is not a time of day; write it like \"09:00\"",
        ),
        (
            "type = \"time_based\"\nstart_time = \"09:00\"\n",
            "rules.r.end_time: is missing",
        ),
        (
            "type = \"time_based\"\nstart_time = \"09:00\"\nend_time = \"09:00\"\n",
            "begins where it ends",
        ),
        (
            "type = \"time_based\"\nstart_time = \"09:00\"\nend_time = \"24:01\"\n",
            "\"24:01\" is not a time of day",
        ),
        (
            "type = \"time_based\"\ndays_of_week = [\"mon\"]\n",
            "unknown day \"mon\"",
        ),
        (
            "type = \"time_based\"\ndays_of_week = [\"monday\"]\ntimezone = \"Mars/Olympus\"\n",
            "\"Mars/Olympus\" is not a time zone",
        ),
        (
            "type = \"time_based\"\nstart_date = \"2026-02-30\"\n",
            "\"2026-02-30\" is not a date",
        ),
        (
            "type = \"time_based\"\nstart_date = \"2026-02-02\"\nend_date = \"2026-02-01\"\n",
            "start_date lies after end_date",
        ),
        (
            "type = \"geo\"\nmode = \"deny\"\ncountry_codes = [\"DE\"]\n",
            "no proxy is trusted",
        ),
    ] {
        rule_refused(body, want);
    }
}

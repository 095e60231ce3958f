//! `path-filter` and `log_dump`, and where steps may stand.

use super::*;

fn step(kind: &str, options: &str) -> String {
    format!(
        "{BASE}{}[middleware.m]\ntype = \"{kind}\"\n{options}",
        PIPELINE.replace("middleware = []", "middleware = [\"m\"]")
    )
}

/// Asserts that a step is refused for one reason.
#[track_caller]
fn step_refused(kind: &str, options: &str, want: &str) {
    one_error(&step(kind, options), want);
}

#[test]
fn a_path_filter_is_read_in_order() {
    let config = ok(&step(
        "path_filter",
        "options.rules = [\"/a/\", { deny = \"/{*rest}\" }, { allow = \"*\" }]\n",
    ));
    let StepKind::PathFilter(filter) = &config.pipelines[0].steps[0].kind else {
        panic!()
    };
    let rules: Vec<_> = filter
        .rules
        .iter()
        .map(|(effect, pattern)| (*effect, pattern.to_string()))
        .collect();
    assert_eq!(
        rules,
        [
            (Effect::Allow, "/a".to_owned()),
            (Effect::Deny, "/{*rest}".to_owned()),
            (Effect::Allow, "*".to_owned())
        ]
    );
    for (options, want) in [
        ("", "middleware.m.rules: is missing"),
        ("rules = []\n", "middleware.m.rules: is empty"),
        ("rules = [1]\n", "expected a string, found an integer"),
        ("rules = [\"\"]\n", "is empty; write \"/\""),
        ("rules = [\"x\"]\n", "must begin with \"/\"; it is \"x\""),
        (
            "rules = [{ allow = \"/a\", deny = \"/b\" }]\n",
            "needs either `allow` or `deny`",
        ),
        ("rules = [{}]\n", "needs either `allow` or `deny`"),
        (
            "rules = [{ allow = \"/a\", method = \"GET\" }]\n",
            "middleware.m.rules[0].method: unknown key",
        ),
        (
            "rules = [\"/a\"]\npolicies = []\n",
            "middleware.m.policies: unknown key",
        ),
    ] {
        step_refused("path-filter", options, want);
    }
    let shut = ok(&step("path-filter", "rules = [{ deny = \"*\" }]\n"));
    assert!(warnings(&shut)[0].contains("every request is answered 404"));
}

#[test]
fn a_dump_says_what_it_leaves_out() {
    let dump = |options: &str| {
        let text = step("log_dump", options).replace(
            "id = \"edge-1\"",
            "id = \"e\"\nsensitive_field_patterns = [\"*_key\", \"secret\"]",
        );
        let mut config = ok(&text);
        config.notes.retain(|note| !note.text.contains(" is open"));
        match &config.pipelines[0].steps[0].kind {
            StepKind::LogDump(dump) => (LogDump::clone(dump), config.notes),
            other => panic!("{other:?}"),
        }
    };
    let (plain, notes) = dump("");
    assert_eq!(
        (plain.level, plain.label.as_str(), plain.pretty, notes.len()),
        (log::Level::Info, "m", true, 0)
    );
    let hides = |dump: &LogDump, name: &str| dump.redact.iter().any(|known| known.is_match(name));
    for (name, expected) in [
        ("x-api-key", true),
        ("SIGNING_KEY", true),
        ("keys", false),
        ("Secret", true),
        ("secrets", false),
    ] {
        assert_eq!(hides(&plain, name), expected, "{name}");
    }
    let (own, notes) = dump(
        "[middleware.m.options]\nlevel = \"debug\"\nlabel = \"in\"\npretty = false\n\
         max_bytes = 10\napply = \"both\"\n\
         redact_headers = [\"X-Patient\"]\nredact_metadata = [\"ssn\"]\n\
         redact_data_fields = [\"user.card\"]\n",
    );
    assert_eq!(
        (own.level, own.label.as_str(), own.pretty),
        (log::Level::Debug, "in", false)
    );
    for name in ["x-patient", "ssn", "user.card", "x-api-key"] {
        assert!(hides(&own, name), "{name}");
    }
    let notes: Vec<_> = notes.iter().map(|note| note.text.as_str()).collect();
    assert!(
        notes.len() == 2
            && notes
                .iter()
                .any(|note| note.contains("max_bytes: ignored: an edge does not dump bodies"))
            && notes
                .iter()
                .any(|note| note.contains("apply: the request only")),
        "{notes:?}"
    );
    for (options, want) in [
        ("apply = \"up\"\n", "unknown side \"up\""),
        ("level = \"loud\"\n", "unknown level \"loud\""),
        ("max_bytes = -1\n", "must be from 0"),
        (
            "redact_header = [\"x\"]\n",
            "did you mean \"redact_headers\"?",
        ),
        (
            "redact_headers = [\"/(/\"]\n",
            "is not a regular expression",
        ),
        (
            "redact_headers = [\"\"]\n",
            "an empty string means nothing here",
        ),
    ] {
        step_refused("log-dump", options, want);
    }
}

#[test]
fn a_dump_of_the_response_does_nothing() {
    let config = ok(&step("log_dump", "apply = \"right\"\nmax_bytes = 10\n"));
    assert!(matches!(
        config.pipelines[0].steps[0].kind,
        StepKind::Passthru
    ));
    assert!(
        config
            .notes
            .iter()
            .any(|note| note.text.contains("apply: ignored: an edge has no steps"))
    );
}

#[test]
fn steps_stand_in_the_order_of_the_file_but_in_no_group() {
    let filter = "[middleware.f]\ntype = \"path-filter\"\nrules = [\"/a\"]\n";
    let optional = JWT.replace("middleware.jwt", "middleware.o") + "optional = true\n";
    let text = |list: &str| {
        format!(
            "{BASE}{}{JWT}{optional}{filter}",
            PIPELINE.replace("middleware = []", &format!("middleware = {list}"))
        )
    };
    let config = ok(&text("[\"f\", \"o\", \"jwt\", \"f\", \"jwt\"]"));
    let kinds: Vec<bool> = config.pipelines[0]
        .steps
        .iter()
        .map(|step| step.authenticates())
        .collect();
    assert_eq!(kinds, [false, true, true, false, true]);
    let lines = errors(&text("[\"o\", \"f\", \"jwt\"]"));
    assert!(
        lines[0].contains("step \"f\" splits the group that the optional step \"o\" begins"),
        "{lines:?}"
    );
}

#[test]
fn what_ends_with_its_credential_is_said_by_the_step() {
    let ends = |keys: &str| {
        let config = ok(&super::jwt::step(&format!("{}{keys}", super::jwt::GOOD)));
        let step = auth_step(&config);
        (step.ends_streams, step.ends_downloads, config.notes.len())
    };
    for (keys, want) in [
        ("", (true, false, 0)),
        ("stream_end = \"credential\"\n", (true, false, 0)),
        ("stream_end = \"never\"\n", (false, false, 0)),
        ("end_downloads = true\n", (true, true, 0)),
        (
            "stream_end = \"never\"\nend_downloads = false\n",
            (false, false, 0),
        ),
        (
            "stream_end = \"never\"\nend_downloads = true\n",
            (false, true, 1),
        ),
    ] {
        assert_eq!(ends(keys), want, "{keys}");
    }
    let step = |keys: &str| super::jwt::step(&format!("{}{keys}", super::jwt::GOOD));
    one_error(
        &step("stream_end = \"expiry\"\n"),
        "middleware.jwt.stream_end: unknown end of streams \"expiry\"",
    );
    one_error(
        &step("end_downloads = \"yes\"\n"),
        "middleware.jwt.end_downloads: expected a boolean, found a string",
    );
}

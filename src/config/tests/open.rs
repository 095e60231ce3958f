//! Pipelines that anyone may pass: as written only, and with a warning.

use super::*;

/// How the missing line is reported.
const MISSING: &str = "13: pipelines.p.middleware: is missing; list the steps that a request has \
                       to pass, like middleware = [\"jwt\"], or write middleware = [] to let \
                       anyone pass";

#[test]
fn whoever_forgets_the_steps_does_not_publish_the_backend() {
    let silent = silent_pipeline();
    // a step that stands beside it checks nothing
    assert_eq!(errors(&format!("{BASE}{silent}{JWT}")), [MISSING]);
    let nameless = MISSING.replace("\"jwt\"", "\"NAME\"");
    assert_eq!(errors(&format!("{BASE}{silent}")), [nameless.as_str()]);
    // what does not authenticate is no proposal
    let step = "[middleware.a]\ntype = \"passthru\"\n";
    assert_eq!(errors(&format!("{BASE}{silent}{step}{JWT}")), [MISSING]);
    // a chain without entries, and a request side that is not there, say nothing either
    assert_eq!(
        errors(&format!("middleware = []\n{BASE}{silent}")),
        [nameless.replace("13:", "14:")]
    );
    for (table, line) in [
        ("{}", "16"),
        ("{ right = [] }", "16"),
        ("{ right = [\"jwt\"] }", "16"),
    ] {
        let text = format!("{BASE}{PIPELINE}{JWT}")
            .replace("middleware = []", &format!("middleware = {table}"));
        let expected = format!("{line}: pipelines.p.middleware.left: is missing; list the steps");
        let lines = errors(&text);
        assert!(
            lines.len() == 1 && lines[0].starts_with(&expected),
            "{table}: {lines:#?}"
        );
    }
    // an endpoint that answers by itself beside one that forwards
    let mixed = silent.replace("[\"e\"]", "[\"e\", \"f\"]")
        + "[endpoints.f]\nservice = \"echo\"\npath_prefix = \"/f\"\n";
    assert_eq!(errors(&format!("{BASE}{mixed}")), [nameless.as_str()]);
    let backed = silent.replace("service = \"http\"", "service = \"echo\"");
    assert_eq!(errors(&format!("{BASE}{backed}")), [nameless.as_str()]);
}

#[test]
fn what_says_who_may_pass_loads() {
    let silent = silent_pipeline();
    let chain = "[[middleware]]\ntype = \"jwt-auth\"\nconfig = { jwks_url = \"https://h/\", \
                 issuer = \"i\", audience = \"a\" }\n";
    let checked = "[authentications.x]\nmethod = \"jwt\"\njwks_url = \"https://h/\"\n\
                   issuer = \"i\"\naudience = \"a\"\n";
    let endpoint = silent.replace(
        "[endpoints.e]",
        "[endpoints.e]\nauthentication = \"authentications.x\"",
    );
    for text in [
        format!("{BASE}{silent}{chain}"),
        format!("{BASE}{endpoint}{checked}"),
    ] {
        let config = ok(&text);
        assert_eq!(
            (config.pipelines[0].steps.len(), config.notes.len()),
            (1, 0),
            "{text}"
        );
        assert_eq!(config.pipelines[0].open(), None);
    }
    let echo = silent
        .replace("backends = [\"b\"]\n", "")
        .replace("service = \"http\"", "service = \"echo\"");
    let config = ok(&format!("{BASE}{echo}"));
    assert_eq!(
        all_warnings(&config),
        ["conf/h.toml:13: pipelines.p: pipeline \"p\" is open: anyone may pass"]
    );
}

#[test]
fn an_open_pipeline_is_a_warning() {
    let steps = "[middleware.d]\ntype = \"log_dump\"\n[middleware.acl]\ntype = \"policies\"\n\
                 rules = [{ type = \"allow_all\" }]\n";
    for (list, expected) in [
        ("[]", Some("open: anyone may pass")),
        ("{ left = [] }", Some("open: anyone may pass")),
        ("[\"passthru\"]", Some("open: anyone may pass")),
        ("[\"d\"]", Some("open: anyone may pass")),
        (
            "[\"d\", \"acl\"]",
            Some("open, no authentication: all that pass acl"),
        ),
        ("[\"acl\", \"jwt\"]", None),
    ] {
        let text = format!("{BASE}{PIPELINE}{steps}{JWT}")
            .replace("middleware = []", &format!("middleware = {list}"));
        let config = ok(&text);
        assert_eq!(config.pipelines[0].open().as_deref(), expected, "{list}");
        let line = expected.map(|open| {
            format!("conf/h.toml:16: pipelines.p.middleware: pipeline \"p\" is {open}")
        });
        let found = all_warnings(&config);
        let found = found.into_iter().find(|note| note.contains(" is open"));
        assert_eq!(found.map(str::to_owned), line, "{list}");
    }
}

#[test]
fn what_nothing_uses_is_a_warning() {
    let unused = "no pipeline uses this step: list it in `middleware` of the pipelines that it is \
                  for, or remove it";
    let text = format!(
        "{BASE}{PIPELINE}{JWT}[authentications.x]\nmethod = \"none\"\n\
         [policies.q]\nrules = [\"used\"]\n[rules.used]\ntype = \"allow_all\"\n[rules.alone]\n\
         type = \"deny_all\"\n"
    );
    let found = ok(&text);
    let found: Vec<&str> = all_warnings(&found)
        .into_iter()
        .filter(|note| !note.contains(" is open"))
        .collect();
    assert_eq!(
        found,
        [
            format!("conf/h.toml:23: middleware.jwt: {unused}"),
            "conf/h.toml:26: authentications.x: nothing refers to it: write authentication = \
             \"authentications.NAME\" where it is for, or remove it"
                .to_owned(),
            "conf/h.toml:28: policies.q: no step uses this policy: list it in `policies` of a \
             policies step, or remove it"
                .to_owned(),
            "conf/h.toml:32: rules.alone: no policy uses this rule: list it in `rules` of a \
             policy, or remove it"
                .to_owned(),
        ]
    );
    // on the response side, a step has no effect
    let right = text.replace(
        "middleware = []",
        "middleware = { left = [], right = [\"jwt\"] }",
    );
    assert!(
        all_warnings(&ok(&right))
            .iter()
            .any(|note| note.contains(unused))
    );
}

#[test]
fn entries_of_a_chain_that_no_pipeline_gets() {
    let entry = |lines: &str| format!("[[middleware]]\ntype = \"log_dump\"\n{lines}\n");
    let chain = entry("") + &entry("name = \"one\"") + &entry("name = \"two\"");
    let unused = |text: &str| {
        let config = ok(text);
        let lines = all_warnings(&config)
            .into_iter()
            .filter(|note| note.contains("no pipeline uses"));
        lines
            .filter_map(|note| note.split(": ").nth(1).map(str::to_owned))
            .collect::<Vec<_>>()
    };
    let own = format!("{BASE}{PIPELINE}{chain}").replace("= []", "= [\"one\"]");
    assert_eq!(unused(&own), ["middleware[0]", "middleware[2]"]);
    assert!(unused(&format!("{BASE}{}{chain}", silent_pipeline())).is_empty());
}

#[test]
fn secrets_that_stand_in_the_file() {
    let literal = "[middleware.m]\ntype = \"jwt-auth\"\nalgorithm = \"HS256\"\n\
                   secret = \"0123456789abcdef0123456789abcdef\"\nissuer = \"i\"\n\
                   audience = \"a\"\n";
    let told = |text: &str| {
        let config = ok(text);
        let mut all = all_warnings(&config);
        all.retain(|note| note.contains("the secret stands in the file as it is"));
        let places = all
            .iter()
            .filter_map(|note| note.split(": the secret").next());
        places.map(str::to_owned).collect::<Vec<_>>()
    };
    let named = format!("{BASE}{PIPELINE}{literal}").replace("= []", "= [\"m\"]");
    assert_eq!(told(&named), ["conf/h.toml:25: middleware.m.secret"]);
    let listed = format!("{BASE}{}{literal}", silent_pipeline());
    let listed = listed.replace("[middleware.m]", "[[middleware]]");
    assert_eq!(told(&listed), ["conf/h.toml:24: middleware[0].secret"]);
    let upstream = format!(
        "{BASE}{PIPELINE}authentication = \"authentications.o\"\n[authentications.o]\n\
         method = \"bearer\"\ntoken = \"TOKEN\"\n"
    );
    let upstream = upstream.replace("\"echo\"", "\"http\"\nbase_url = \"https://h\"");
    let line = ["conf/h.toml:26: authentications.o.token"];
    assert_eq!(told(&upstream), line);
    assert_eq!(
        told(&upstream.replace("TOKEN", "${NONE:-TOKEN}")),
        line,
        "a default is one too"
    );
    assert!(told(&upstream.replace("TOKEN", "${LONG}")).is_empty());
}

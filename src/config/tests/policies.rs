//! `policies`: the forms it is written in, and what is kept of it.

use http::HeaderName;

use super::*;

/// One rule in a pipeline, its body 23 lines down.
pub(super) fn with_rule(body: &str) -> String {
    format!(
        "{BASE}{}[middleware.m]\ntype = \"policies\"\npolicies = [\"p\"]\n[policies.p]\n\
         rules = [\"all\", \"r\"]\n[rules.all]\ntype = \"allow_all\"\n[rules.r]\n{body}",
        PIPELINE.replace("middleware = []", "middleware = [\"m\"]")
    )
}

fn settings(text: &str) -> Arc<Policies> {
    match &ok(text).pipelines[0].steps[0].kind {
        StepKind::Policies(settings) => Arc::clone(settings),
        other => panic!("{other:?}"),
    }
}

fn check(body: &str) -> Check {
    let settings = settings(&with_rule(body));
    let mut rules = settings.policies[0].rules.iter();
    rules.find(|rule| &*rule.name == "r").unwrap().check.clone()
}

#[test]
fn both_forms_mean_the_same() {
    let named = settings(&with_rule(
        "type = \"rate-limit\"\nweight = 200\noptions = { max_requests = 5, \
         window_seconds = 60 }\n",
    ));
    let names: Vec<&str> = named.policies[0]
        .rules
        .iter()
        .map(|rule| &*rule.name)
        .collect();
    assert_eq!(names, ["r", "all"]);
    let step = |inside: &str| {
        format!(
            "{BASE}{}[middleware.m]\ntype = \"policies\"\n{inside}",
            PIPELINE.replace("middleware = []", "middleware = [\"m\"]")
        )
    };
    let rules = "[[middleware.m.options.policies.rules]]\nid = \"all\"\ntype = \"allow_all\"\n\
        [[middleware.m.options.policies.rules]]\nid = \"r\"\nname = \"R\"\ntype = \"rate_limit\"\n\
        weight = 200\n\
        [middleware.m.options.policies.rules.options]\nmax_requests = 5\nwindow_seconds = 60\n";
    let nested = settings(&step(&format!(
        "[[middleware.m.options.policies]]\nid = \"p\"\nname = \"P\"\nenabled = true\n{rules}"
    )));
    assert_eq!(&*nested.policies[0].name, "m/p");
    assert_eq!(nested.policies[0].rules, named.policies[0].rules);
    let unnamed = settings(&step(
        "[[middleware.m.options.policies]]\n[[middleware.m.options.policies.rules]]\n\
         type = \"allow_all\"\n",
    ));
    let policy = &unnamed.policies[0];
    assert_eq!(
        (&*policy.name, &*policy.rules[0].name),
        ("m/policies[0]", "rules[0]")
    );
    let own = settings(&step(
        "options.rules = [\"all\", { type = \"deny_all\", enabled = false }]\n[rules.all]\n\
         type = \"allow_all\"\n",
    ));
    assert_eq!(&*own.policies[0].name, "m/rules");
    assert_eq!(own.policies[0].rules.len(), 1);
    let mixed = settings(&step(
        "policies = [\"p\", { id = \"q\", rules = [\"all\"] }]\n[policies.p]\nenabled = false\n\
         rules = [\"all\"]\n[rules.all]\ntype = \"allow_all\"\n",
    ));
    assert_eq!(mixed.policies.len(), 1);
}

#[test]
fn the_step_is_refused() {
    for (middleware, want) in [
        ("", "middleware.m.policies: is missing; add policies"),
        ("policies = []\n", "middleware.m.policies: is empty"),
        (
            "policies = \"p\"\n",
            "middleware.m.policies: expected an array",
        ),
        (
            "policies = [\"q\"]\n",
            "14: middleware.m.policies: unknown policy \"q\"; did you mean \"p\"?",
        ),
        ("policies = [\"p\", \"p\"]\n", "policy \"p\" is named twice"),
        (
            "policies = [\"p\"]\nrules = [\"all\"]\n",
            "has both `policies` and `rules`",
        ),
        (
            "policies = [\"p\"]\noptional = true\n",
            "15: middleware.m.optional: unknown key \"optional\"",
        ),
        (
            "policies = [{ rules = [{ type = \"allow_all\" }], enable = false }]\n",
            "middleware.m.policies[0].enable: unknown key \"enable\"; did you mean \"enabled\"?",
        ),
        (
            "policies = [{ rules = [{ type = \"allow_all\", id = \"x\" }, { type = \"deny_all\", \
             id = \"x\" }] }]\n",
            "rule \"x\" is named twice",
        ),
        (
            "policies = [{ id = \"x\" }]\n",
            "middleware.m.policies[0].rules: is missing",
        ),
    ] {
        refused(
            &format!(
                "[middleware.m]\ntype = \"policies\"\n{middleware}[policies.p]\n\
                 rules = [\"all\"]\n[rules.all]\ntype = \"allow_all\"\n"
            ),
            want,
        );
    }
}

#[test]
fn tables_are_checked_used_or_not() {
    for (text, want) in [
        (
            "[policies.p]\nrules = []\n",
            "13: policies.p.rules: is empty",
        ),
        (
            "[policies.p]\nenabled = true\n",
            "policies.p.rules: is missing",
        ),
        (
            "[policies.p]\nid = \"q\"\nrules = [{ type = \"allow_all\" }]\n",
            "13: policies.p.id: \"q\" is not the table's name; write \"p\", or leave it out",
        ),
        (
            "[policies.p]\nruls = [\"r\"]\nrules = [{ type = \"allow_all\" }]\n",
            "did you mean \"rules\"?",
        ),
        (
            "[rules.r]\nid = \"s\"\ntype = \"allow_all\"\n",
            "13: rules.r.id: \"s\" is not the table's name",
        ),
        ("[rules.r]\nweight = 1\n", "rules.r.type: is missing"),
        ("[rules]\nr = 1\n", "rules.r: expected a table"),
    ] {
        refused(text, want);
    }
    ok(&format!(
        "{BASE}{PIPELINE}[rules.r]\ntype = \"allow_all\"\n[policies.p]\nrules = [\"r\"]\n"
    ));
}

#[test]
fn a_country_needs_a_proxy_that_is_trusted() {
    let body = "type = \"geo\"\nmode = \"deny\"\ncountry_codes = [\"de\"]\n";
    let trusting = |text: String| {
        text.replace(
            "id = \"edge-1\"",
            "id = \"e\"\ntrusted_proxies = [\"10.0.0.1\"]",
        )
    };
    let config = ok(&trusting(with_rule(body)));
    let StepKind::Policies(policies) = &config.pipelines[0].steps[0].kind else {
        panic!()
    };
    let Check::Geo {
        countries, header, ..
    } = &policies.policies[0].rules[1].check
    else {
        panic!()
    };
    assert_eq!(
        (countries.as_slice(), header.as_str()),
        (&["DE".to_owned()][..], "x-geo-country")
    );
    ok(&with_rule(&format!("{body}enabled = false\n")));
    let lines = errors(&trusting(with_rule(&body.replace("\"de\"", "\"deu\""))));
    assert!(
        lines[0].contains("\"deu\" is not a country code"),
        "{lines:?}"
    );
}

#[test]
fn values_are_kept_out_of_sight() {
    let text = with_rule(
        "type = \"header\"\nmode = \"allow\"\nheaders = [{ name = \"X-Door\", match_type = \
         \"exact\", value = \"${LONG}\" }, { name = \"X-Gate\", match_type = \"regex\", value = \
         \"^${LONG}$\" }]\n",
    );
    let shown = format!("{:?}", ok(&text));
    assert!(!shown.contains("0123456789abcdef"), "{shown}");
    let Check::Header { headers, .. } = check(
        "type = \"header\"\nmode = \"allow\"\nheaders = [{ name = \"X-Door\", match_type = \
         \"exact\", value = \"Abc\" }]\n",
    ) else {
        panic!()
    };
    assert_eq!(headers[0].name, HeaderName::from_static("x-door"));
    assert_eq!(
        headers[0].value,
        ValueMatch::Exact(Secret::new("abc".into()))
    );
    let wrong = text.replace("^${LONG}$", "(${LONG}");
    let shown = parsed(&wrong).unwrap_err().to_string();
    assert!(!shown.contains("0123456789abcdef"), "{shown}");
}

#[test]
fn what_is_hardly_meant_is_told_of() {
    let told = |body: &str| {
        let config = ok(&with_rule(body));
        let warnings: Vec<_> = warnings(&config)
            .iter()
            .map(|text| text.to_string())
            .collect();
        warnings.join("\n")
    };
    assert_eq!(told("type = \"deny_all\"\n"), "");
    assert_eq!(
        told("type = \"time_based\"\ndays_of_week = [\"monday\"]\n"),
        ""
    );
    let several = told("type = \"method\"\nmode = \"allow\"\nmethods = [\"GET\"]\n");
    assert!(
        several.contains("middleware.m: rules \"all\", \"r\" each allow on their own"),
        "{several}"
    );
    let none = ok(&with_rule("type = \"deny_all\"\n").replace("\"allow_all\"", "\"deny_all\""));
    assert!(warnings(&none)[0].contains("no rule allows anything: every request is answered 403"));
    // A step in shadow answers nothing.
    let step = with_rule("type = \"deny_all\"\n").replace("\"allow_all\"", "\"deny_all\"");
    let tried = ok(&step.replace("[middleware.m]\n", "[middleware.m]\nenforce = false\n"));
    assert!(warnings(&tried)[0].contains("no rule allows anything: it would refuse every request"));
}

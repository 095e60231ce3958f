//! The chain of a pipeline: its steps, their order, their groups.

use super::*;

/// A `jwt-auth` step with more keys.
fn jwt(name: &str, keys: &str) -> String {
    JWT.replace("middleware.jwt", &format!("middleware.{name}")) + keys + "\n"
}

#[test]
fn steps_that_are_not_served() {
    for (kind, want) in [
        (
            "transform",
            "the step \"transform\" is not something that an HTTP edge does; the edge does not \
             touch bodies",
        ),
        ("webhook", "the step \"webhook\" is not something"),
        (
            "json_extractor",
            "the step \"json_extractor\" is not something",
        ),
        (
            "jwt-aut",
            "unknown step type \"jwt-aut\"; did you mean \"jwt-auth\"?",
        ),
    ] {
        refused(
            &format!("[middleware.m]\ntype = \"{kind}\"\nfoo = 1\noptions = {{ bar = [] }}\n"),
            want,
        );
    }
    refused(
        "[middleware.m]\nissuer = \"i\"\n",
        "12: middleware.m.type: is missing",
    );
    refused(
        "[middleware.m]\ntype = \"passthru\"\nfoo = 1\n",
        "14: middleware.m.foo: unknown key",
    );
    refused(
        "[middleware.m]\ntype = \"passthru\"\nauthentication = \"authentications.x\"\n",
        "has no meaning on a step that does not authenticate",
    );
}

#[test]
fn sides_and_bare_names() {
    let config = ok(&with_steps(
        "{ left = [\"jwt\"], right = [\"passthru\"] }",
        JWT,
    ));
    assert_eq!(config.pipelines[0].steps.len(), 1);
    assert_eq!(
        config.notes,
        [Note {
            warning: false,
            text: "conf/h.toml:16: pipelines.p.middleware\
    .right: ignored: an edge has no steps on the response"
                .into()
        }]
    );
    let lines = errors(&with_steps(
        "{ left = [\"jwt\"], right = [\"x\"], lef = [] }",
        JWT,
    ));
    assert!(
        lines.len() == 2
            && lines
                .iter()
                .any(|line| line.contains("did you mean \"left\"?")),
        "{lines:?}"
    );
    let config = ok(&with_steps("[\"passthru\"]", ""));
    assert!(matches!(
        config.pipelines[0].steps[0].kind,
        StepKind::Passthru
    ));
}

#[test]
fn groups_are_whole() {
    let optional = jwt("a", "optional = true");
    let required = jwt("b", "");
    let pass = "[middleware.x]\ntype = \"passthru\"\n";
    for (list, want) in [
        ("[\"a\", \"b\"]", None),
        ("[\"x\", \"a\", \"b\", \"x\"]", None),
        ("[\"b\", \"x\", \"a\"]", None),
        (
            "[\"a\", \"x\", \"b\"]",
            Some("step \"x\" splits the group that the optional step \"a\" begins"),
        ),
        ("[\"a\", \"x\"]", None),
    ] {
        let text = with_steps(list, &format!("{optional}{required}{pass}"));
        match want {
            None => drop(ok(&text)),
            Some(want) => assert!(errors(&text)[0].contains(want), "{list}"),
        }
    }
    let falling = jwt("f", "optional = true\nfallback_on = \"failed\"");
    ok(&with_steps(
        "[\"f\", \"b\"]",
        &format!("{falling}{required}"),
    ));
    let lines = errors(&with_steps(
        "[\"b\", \"f\"]",
        &format!("{falling}{required}"),
    ));
    assert!(
        lines.len() == 1
            && lines[0]
                .starts_with("16: pipelines.p.middleware: step \"f\" is the last of its group"),
        "{lines:?}"
    );
    let lines = errors(&with_steps(
        "[\"f\", \"b\"]",
        &format!(
            "{}{required}",
            falling.replace("optional = true", "optional = false")
        ),
    ));
    assert!(
        lines[0].contains("step \"f\" is the last of its group"),
        "{lines:?}"
    );
}

#[test]
fn the_chain_of_the_main_file() {
    let entry = "[[middleware]]\ntype = \"jwt-auth\"\noptional = true\n\
                 config = { jwks_url = \"https://h/\", issuer = \"i\", audience = \"a\" }\n";
    let chain = format!(
        "{entry}{}",
        entry.replace("optional = true", "name = \"second\"")
    );
    let config = ok(&format!("{BASE}{}{chain}", silent_pipeline()));
    assert_eq!(
        config.pipelines[0]
            .steps
            .iter()
            .map(|step| &*step.name)
            .collect::<Vec<_>>(),
        ["middleware[0]", "second"]
    );
    assert!(ok(&with_steps("[]", &chain)).pipelines[0].steps.is_empty());
    assert_eq!(
        ok(&with_steps("[\"second\"]", &chain)).pipelines[0]
            .steps
            .len(),
        1
    );
    let lines = errors(&format!(
        "{BASE}{}{}",
        silent_pipeline(),
        chain.replace("audience", "audiance")
    ));
    assert!(
        lines.len() == 2 && lines[1].starts_with("28: middleware[1].config.audiance: unknown key"),
        "{lines:?}"
    );
}

#[test]
fn the_check_of_an_endpoint_comes_first() {
    let table = "[authentications.x]\nmethod = \"jwt\"\njwks_url = \"https://h/\"\n\
                 issuer = \"i\"\naudience = \"a\"\n";
    let text = with_steps("[\"passthru\"]", table).replace(
        "[endpoints.e]",
        "[endpoints.e]\nauthentication = \"authentications.x\"",
    );
    let config = ok(&text);
    assert_eq!(
        config.pipelines[0]
            .steps
            .iter()
            .map(|step| &*step.name)
            .collect::<Vec<_>>(),
        ["authentications.x", "passthru"]
    );
    let lines = errors(
        &(text.replace("[\"e\"]", "[\"e\", \"f\"]")
            + "[endpoints.f]\nservice = \"http\"\npath_prefix = \"/f\"\n"),
    );
    assert!(
        lines.len() == 1 && lines[0].contains("its endpoints differ in `authentication`"),
        "{lines:?}"
    );
}

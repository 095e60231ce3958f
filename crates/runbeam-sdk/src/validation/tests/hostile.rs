//! What is made to break the checker: an error, or a pass, and soon.

use super::*;

#[track_caller]
fn refused(schema: &str) -> String {
    match only(validate_toml("[app]\nname = 'x'", schema)) {
        E::SchemaParseError(problem) => problem,
        other => panic!("{other}"),
    }
}

#[test]
fn a_schema_that_is_none_is_refused() {
    for text in [
        "",
        "this is no schema",
        "[schema",
        "\0",
        "[[table]]\nname = 'app'",
        "[schema]\nversion = '1'\ndescription = ''",
        "[schema]\nversion = 1\ndescription = ''\n[[table]]\nname = 'app'",
        "schema = 5\ntable = 5",
        "[proxy]\nid = 'a document'",
    ] {
        refused(text);
    }
    for table in [
        "table = 5",
        "[table]\nname = 'app'",
        "[[table]]",
        "[[table]]\nname = 5",
        "[[table]]\nname = 'a'\nrequired = 'yes'",
        "[[table]]\nname = 'a'\nfield = 'name'",
        "[[table]]\nname = 'a.*'\npattern = true\npattern_constraint = '('",
    ] {
        refused(&schema(table));
    }
    for rules in [
        "name = 'a'",
        "type = 'string'",
        "name = 'a'\ntype = 'text'",
        "name = 'a'\ntype = 'String'",
        "name = 'a'\ntype = ['string']",
        "name = 'a'\ntype = 'integer'\nmin = '1'",
        "name = 'a'\ntype = 'array'\nmin_items = -1",
        "name = 'a'\ntype = 'array'\narray_item_type = 'any'",
        "name = 'a'\ntype = 'string'\nenum = 'a'",
        "name = 'a'\ntype = 'string'\nenum = [1]",
        "name = 'a'\ntype = 'string'\npattern_constraint = '['",
        "name = 'a'\ntype = 'string'\nrequired_if = true",
        "name = 'a'\ntype = 'string'\nrequired_if = 'b == 1 && c == 2'",
    ] {
        let problem = refused(&field(rules));
        assert!(problem.starts_with("line "), "{problem}");
        assert!(!problem.contains('\n'), "{problem}");
    }
}

#[test]
fn a_pattern_that_would_take_long_is_refused_or_does_not() {
    let with = |pattern: &str| {
        field(&format!(
            "name = 'name'\ntype = 'string'\npattern_constraint = '{pattern}'"
        ))
    };
    refused(&with("((a{999}){999}){999}"));
    refused(&with(&"(".repeat(100_000)));
    let value = "a".repeat(100_000);
    let errors = errors(&format!("app.name = '{value}!'"), &with("^(a+)+$"));
    assert!(matches!(&errors[..], [E::PatternMismatch { .. }]));
}

#[test]
fn deep_documents_are_refused_or_passed() {
    let deep = 100_000;
    for document in [
        format!("a = {}{}", "[".repeat(deep), "]".repeat(deep)),
        format!("a = {}", "{a=".repeat(deep)),
        format!("[{}a]", "a.".repeat(deep)),
        format!("{}a = 1", "a.".repeat(deep)),
    ] {
        for result in [
            validate_config_toml(&document),
            validate_pipeline_toml(&document),
            validate_toml(&document, &schema(APP)),
        ] {
            assert!(matches!(result, Err(E::TomlParseError(_))));
        }
        let refused = validate_toml("", &document).unwrap_err();
        assert!(matches!(refused, E::SchemaParseError(_)));
    }
    // As deep as the parser goes.
    let path = vec!["a"; 70].join(".");
    let document = format!("[{path}]\n{path} = {}1{}", "[".repeat(70), "]".repeat(70));
    assert_eq!(validate_pipeline_toml(&document), Ok(()));
}

#[test]
fn a_deep_name_in_a_schema_is_one_nobody_reaches() {
    let name = vec!["a"; 100_000].join(".");
    let schema = schema(&format!(
        "[[table]]\nname = '{name}'\n\
         [[table]]\nname = 'a'\n[[table.field]]\nname = '{name}'\ntype = 'string'"
    ));
    assert_eq!(errors("[a.a.a.a.a.a]", &schema), []);
    assert_eq!(
        errors("a.a.a = 5", &schema),
        [wrong_type("a.a.a", "table", "integer")]
    );
}

#[test]
fn a_huge_array_has_a_bounded_number_of_errors() {
    let items = "1,".repeat(500_000);
    let document = format!("[app]\nname = 'x'\ntags = [{items}]");
    let errors = errors(&document, &schema(APP));
    assert_eq!(errors.len(), 1000);
    assert!(matches!(
        errors[0],
        E::InvalidArrayLength {
            length: 500_000,
            ..
        }
    ));
    assert_eq!(
        errors[999],
        wrong_type("app.tags[998]", "string", "integer")
    );

    let many: String = (0..5_000).map(|n| format!("[network.n{n}]\n")).collect();
    let Err(E::Multiple(errors)) = validate_toml(&many, &schema(NETWORKS)) else {
        panic!("each of them lacks its address");
    };
    assert_eq!(errors.len(), 1000);
}

#[test]
fn long_keys_and_values_are_cut_off_in_errors() {
    let long = "ä".repeat(100_000);
    let name = errors(&format!("[network.'{long}']"), &schema(NETWORKS));
    let value = errors(
        &format!("[app]\nname = ''\nlog_level = '{long}'"),
        &schema(APP),
    );
    for error in name.iter().chain(&value) {
        assert!(error.to_string().len() < 400, "{error}");
    }
    assert_eq!((name.len(), value.len()), (2, 1));
}

#[test]
fn fields_that_require_each_other_end() {
    let rules = |name: &str, condition: &str| {
        format!("[[table.field]]\nname = '{name}'\ntype = 'string'\nrequired_if = '{condition}'\n")
    };
    let schema = schema(
        &[
            "[[table]]\nname = 'app'\n".to_owned(),
            rules("a", "b exists"),
            rules("b", "a exists"),
            rules("c", "c exists"),
            rules("d", "d != x"),
        ]
        .concat(),
    );
    let without = |name: &str, condition: &str| E::ConditionalRequirementFailed {
        field_path: format!("app.{name}"),
        condition: condition.into(),
    };
    assert_eq!(errors("[app]", &schema), [without("d", "d != x")]);
    assert_eq!(
        errors("[app]\na = ''", &schema),
        [without("b", "a exists"), without("d", "d != x")],
    );
}

/// References between tables are text here: whether they lead anywhere, or around in a
/// circle, is for the edge to say.
#[test]
fn references_are_not_followed() {
    let pipeline = "
        [pipelines.a]
        networks = ['a']
        endpoints = ['a']
        middleware = ['a', 'a']
        backends = ['a']
        [endpoints.a]
        service = 'endpoints.a'
        peer_ref = 'a'
        authentication = 'authentications.a'
        [backends.a]
        service = 'backends.a'
        target_ref = 'a'
    ";
    assert_eq!(validate_pipeline_toml(pipeline), Ok(()));
}

#[test]
fn every_value_of_a_wrong_type_is_an_error() {
    for (value, found) in [
        ("1", "integer"),
        ("nan", "float"),
        ("true", "boolean"),
        ("''", "string"),
        ("[]", "array"),
        ("[[1], [{}]]", "array"),
        ("{}", "table"),
        ("07:32:00", "datetime"),
    ] {
        for (key, expected) in [
            ("proxy", "table"),
            ("proxy.id", "string"),
            ("proxy.required_env_vars", "array"),
            ("runbeam.enabled", "boolean"),
            ("runbeam.poll_interval_secs", "integer"),
            ("network", "table"),
            ("network.a", "table"),
            ("network.a.tcp_config", "table"),
        ] {
            let errors = errors(&format!("{key} = {value}"), harmony_dsl::CONFIG_SCHEMA);
            assert_eq!(
                errors.contains(&wrong_type(key, expected, found)),
                found != expected,
                "{key} = {value}",
            );
        }
    }
    for document in [
        "\u{feff}",
        "\0",
        "=",
        "[]",
        "[[]]",
        "a = 1\na = 2",
        "\u{202e}",
    ] {
        assert!(validate_config_toml(document).is_err(), "{document:?}");
    }
}

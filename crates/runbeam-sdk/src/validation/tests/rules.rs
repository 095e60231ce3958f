//! The rules for fields and their values.

use super::*;

#[test]
fn a_document_of_the_right_shape_passes() {
    let document = "
        [app]
        name = 'shop'
        port = 8080
        enabled = true
        log_level = 'warn'
        tags = ['api', 'production']
    ";
    assert_eq!(validate_toml(document, &schema(APP)), Ok(()));
    assert_eq!(
        validate_toml("app.name = ''\napp.port = 65535", &schema(APP)),
        Ok(())
    );
}

#[test]
fn each_rule_reports_what_it_found_and_what_it_expects() {
    let found = |field: &str| {
        only(validate_toml(
            &format!("[app]\nname = 'shop'\n{field}"),
            &schema(APP),
        ))
    };
    for (field, path, expected, actual) in [
        ("port = 'http'", "app.port", "integer", "string"),
        ("port = 80.0", "app.port", "integer", "float"),
        ("port = []", "app.port", "integer", "array"),
        ("port = 1979-05-27", "app.port", "integer", "datetime"),
        ("enabled = {}", "app.enabled", "boolean", "table"),
        ("log_level = true", "app.log_level", "string", "boolean"),
        ("tags = ['a', 2]", "app.tags[1]", "string", "integer"),
    ] {
        assert_eq!(found(field), wrong_type(path, expected, actual), "{field}");
    }
    assert_eq!(
        found("log_level = 'INFO'"),
        E::InvalidEnumValue {
            field_path: "app.log_level".into(),
            value: "INFO".into(),
            allowed: ["debug", "info", "warn", "error"].map(String::from).into(),
        },
    );
    for port in ["0", "65536", "-9223372036854775808"] {
        assert_eq!(
            found(&format!("port = {port}")),
            E::OutOfRange {
                field_path: "app.port".into(),
                value: port.into(),
                min: Some("1".into()),
                max: Some("65535".into()),
            },
        );
    }
    for (tags, length) in [("[]", 0), ("['a', 'b', 'c', 'd']", 4)] {
        assert_eq!(
            found(&format!("tags = {tags}")),
            E::InvalidArrayLength {
                field_path: "app.tags".into(),
                length,
                min: Some(1),
                max: Some(3),
            },
        );
    }
}

#[test]
fn all_errors_are_reported_at_once() {
    assert_eq!(
        errors("[app]\nport = 'x'\ntags = [1, 2.0]", &schema(APP)),
        [
            missing("app.name"),
            wrong_type("app.port", "integer", "string"),
            wrong_type("app.tags[0]", "string", "integer"),
            wrong_type("app.tags[1]", "string", "float"),
        ],
    );
}

#[test]
fn required_tables_are_found_at_any_depth() {
    assert_eq!(errors("", &schema(APP)), [missing("app")]);
    let nested = schema("[[table]]\nname = 'app.log'\nrequired = true");
    assert_eq!(errors("[app]", &nested), [missing("app.log")]);
    assert_eq!(errors("[app.log]", &nested), []);
    // What a pattern stands for may be absent.
    assert_eq!(errors("", &schema(NETWORKS)), []);
}

#[test]
fn what_the_schema_does_not_mention_is_allowed() {
    let document = "other = 1\n[app]\nname = 'x'\ncolor = 'red'\n[[more.tables]]\na = 1";
    assert_eq!(errors(document, &schema(APP)), []);
}

#[test]
fn a_float_may_be_written_as_an_integer() {
    let schema = field("name = 'ratio'\ntype = 'float'\nmin = 0\nmax = 1");
    for ratio in ["0", "1", "0.5", "1.0"] {
        assert_eq!(errors(&format!("app.ratio = {ratio}"), &schema), []);
    }
    for ratio in ["2", "-1", "1.5", "-0.5", "inf", "nan"] {
        let errors = errors(&format!("app.ratio = {ratio}"), &schema);
        assert!(matches!(&errors[..], [E::OutOfRange { value, .. }] if value == ratio));
    }
    let unbounded = field("name = 'ratio'\ntype = 'float'");
    assert_eq!(errors("app.ratio = nan", &unbounded), []);
}

#[test]
fn a_string_matches_its_pattern() {
    let schema = field("name = 'mail'\ntype = 'string'\npattern_constraint = '^\\w+@\\w+$'");
    assert_eq!(errors("app.mail = 'a@b'", &schema), []);
    assert_eq!(
        errors("app.mail = 'ab'", &schema),
        [mismatch("app.mail", "^\\w+@\\w+$")]
    );
}

#[test]
fn the_items_of_an_array_obey_the_rules_for_values() {
    let schema = field("name = 'kind'\ntype = 'array'\nenum = ['endpoint', 'backend']");
    assert_eq!(errors("app.kind = ['backend', 'endpoint']", &schema), []);
    let errors = errors("app.kind = ['backend', 'both']", &schema);
    assert!(matches!(
        &errors[..],
        [E::InvalidEnumValue { field_path, .. }] if field_path == "app.kind[1]"
    ));
}

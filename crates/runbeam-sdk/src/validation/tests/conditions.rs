//! `required_if`: what is a condition, and when it holds.

use super::*;

#[track_caller]
fn holds(text: &str, table: &str) -> bool {
    condition(text)
        .unwrap()
        .holds(&toml::from_str(table).unwrap())
}

#[test]
fn a_field_is_compared_as_its_type_has_it() {
    for (text, table, expected) in [
        ("tls == true", "tls = true", true),
        ("tls == false", "tls = true", false),
        ("tls == \"true\"", "tls = true", true),
        ("tls == yes", "tls = true", false),
        ("tls != true", "tls = false", true),
        ("tls != yes", "tls = true", true),
        ("kind == 's3'", "kind = 's3'", true),
        ("kind == \"s3\"", "kind = 's3'", true),
        ("kind == s3", "kind = 's3'", true),
        ("kind=='s3'", "kind = 's3'", true),
        ("kind == 's3'", "kind = 'S3'", false),
        ("kind == 'a == b'", "kind = 'a == b'", true),
        ("kind != 'a == b'", "kind = 'a == b'", false),
        ("kind == ''", "kind = ''", true),
        ("kind != 's3'", "kind = 'file'", true),
        ("port == 80", "port = 80", true),
        ("port == 80", "port = 81", false),
        ("port != 80", "port = 80", false),
        ("port == http", "port = 80", false),
        ("port != http", "port = 80", true),
        ("ratio == 1.5", "ratio = 1.5", false),
        ("ratio != 1.5", "ratio = 1.5", true),
        ("tags == a", "tags = ['a']", false),
        // An absent field equals nothing.
        ("tls == true", "", false),
        ("tls != true", "", true),
        ("tls exists", "tls = false", true),
        (" tls ", "tls = false", true),
        ("tls", "", false),
        ("a.b == 1", "a.b = 1", true),
        ("a.b exists", "a = 1", false),
    ] {
        assert_eq!(holds(text, table), expected, "{text} in {table}");
    }
}

#[test]
fn anything_else_is_no_condition() {
    for text in [
        "",
        " ",
        "==",
        "== 1",
        "a ==",
        "a == ",
        "a =",
        "a = 1",
        "a === 1",
        "a is 1",
        "a > 1",
        "a exists b",
        "a == b c",
        "a == 1 && b == 2",
        "a == '1' && b == '2'",
        "a == 'x",
        "a == \"x'",
        "a == '",
        "a b",
        "ä == 1",
        "exists == 'x' exists",
    ] {
        assert!(condition(text).is_none(), "{text}");
    }
}

#[test]
fn it_stands_in_place_of_required() {
    let schema = schema(
        "[[table]]\nname = 'app'\n\
         [[table.field]]\nname = 'cert'\ntype = 'string'\n\
         required = true\nrequired_if = 'tls == true'",
    );
    assert_eq!(errors("[app]\ntls = false", &schema), []);
    assert_eq!(errors("[app]\ntls = true\ncert = ''", &schema), []);
    assert_eq!(
        errors("[app]\ntls = true", &schema),
        [E::ConditionalRequirementFailed {
            field_path: "app.cert".into(),
            condition: "tls == true".into(),
        }],
    );
}

//! What errors say.

use super::*;

#[test]
fn an_error_tells_its_facts() {
    let range = |min, max| E::InvalidArrayLength {
        field_path: "a.b".into(),
        length: 2,
        min,
        max,
    };
    for (error, text) in [
        (missing("proxy.id"), "missing required field proxy.id"),
        (
            wrong_type("a.b", "string", "integer"),
            "invalid type of a.b: expected string, found integer",
        ),
        (
            mismatch("a.B", "^[a-z]+$"),
            "a.B does not match the pattern ^[a-z]+$",
        ),
        (
            E::InvalidEnumValue {
                field_path: "a.b".into(),
                value: "x".into(),
                allowed: vec!["y".into(), "z".into()],
            },
            "invalid value \"x\" of a.b: must be one of y, z",
        ),
        (
            E::ConditionalRequirementFailed {
                field_path: "a.b".into(),
                condition: "c == true".into(),
            },
            "missing field a.b: it is required while c == true",
        ),
        (range(Some(3), None), "a.b has 2 items: must be at least 3"),
        (range(None, Some(1)), "a.b has 2 items: must be at most 1"),
        (
            range(Some(3), Some(4)),
            "a.b has 2 items: must be between 3 and 4",
        ),
        (
            E::Multiple(vec![missing("a"), missing("b")]),
            "multiple validation errors:\n  1. missing required field a\n  \
             2. missing required field b",
        ),
    ] {
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn a_document_that_is_no_toml_is_refused_with_the_place_and_without_its_text() {
    let document = "[app]\nname = 'ä'\npassword = \"hunter2\nport = 1";
    let error = only(validate_toml(document, &schema(APP)));
    let text = error.to_string();
    assert!(
        text.starts_with("the document is not valid TOML: line 3, column "),
        "{text}"
    );
    assert!(
        !text.contains("hunter2") && !format!("{error:?}").contains("hunter2"),
        "{text}"
    );
}

#[test]
fn an_error_of_the_sdk_can_be_made_of_it() {
    let error = crate::RunbeamError::from(missing("proxy.id"));
    assert_eq!(error.to_string(), "missing required field proxy.id");
}

//! Which rules hold for which table.

use super::*;

#[test]
fn a_wildcard_stands_for_one_key() {
    let document = "network.default.tcp.address = ''\nnetwork.a-1.tcp.address = ''";
    assert_eq!(errors(document, &schema(NETWORKS)), []);
    assert_eq!(
        errors(
            "[network.a]\n[network.b.tcp]\naddress = 5",
            &schema(NETWORKS)
        ),
        [
            missing("network.a.tcp.address"),
            wrong_type("network.b.tcp.address", "string", "integer"),
        ],
    );
}

#[test]
fn a_name_matches_its_pattern_and_is_shown_as_in_toml() {
    for (name, shown) in [
        ("Upper", "Upper"),
        ("'a.b'", "\"a.b\""),
        ("''", "\"\""),
        ("\"a\\nb\"", "\"a\\nb\""),
        ("'ä'", "\"ä\""),
    ] {
        assert_eq!(
            errors(
                &format!("[network.{name}]\ntcp.address = ''"),
                &schema(NETWORKS)
            ),
            [mismatch(&format!("network.{shown}"), "^[a-z0-9_-]+$")],
        );
    }
}

#[test]
fn a_wildcard_may_stand_for_a_part_of_a_key() {
    let schema = schema(
        "[[table]]\nname = 'db_*.x'\npattern = true\n\
         [[table.field]]\nname = 'host'\ntype = 'string'\nrequired = true",
    );
    assert_eq!(errors("[db_main.x]", &schema), [missing("db_main.x.host")]);
    assert_eq!(errors("[main.x]\n[db_main.y]\n[db_main]", &schema), []);
}

#[test]
fn a_star_is_a_wildcard_only_in_a_pattern() {
    let schema = schema(
        "[[table]]\nname = '*'\n\
         [[table.field]]\nname = 'host'\ntype = 'string'\nrequired = true",
    );
    assert_eq!(errors("[main]", &schema), []);
    assert_eq!(errors("['*']", &schema), [missing("\"*\".host")]);
}

#[test]
fn an_exact_name_goes_before_a_pattern_and_a_later_table_before_an_earlier_one() {
    let needs = |name: &str, pattern: bool, field: &str| {
        format!(
            "[[table]]\nname = '{name}'\npattern = {pattern}\n\
             [[table.field]]\nname = '{field}'\ntype = 'string'\nrequired = true\n"
        )
    };
    let schema = schema(
        &[
            needs("db.main", false, "first"),
            needs("db.main", false, "second"),
            needs("db.*", true, "third"),
            needs("*.*", true, "fourth"),
        ]
        .concat(),
    );
    assert_eq!(errors("[db.main]", &schema), [missing("db.main.second")]);
    assert_eq!(errors("[db.x]", &schema), [missing("db.x.fourth")]);
}

#[test]
fn tables_within_tables_are_checked_too() {
    let schema = schema(&format!(
        "{APP}\n[[table]]\nname = 'app.log'\n\
         [[table.field]]\nname = 'file'\ntype = 'string'\nrequired = true"
    ));
    assert_eq!(
        errors("[app]\nname = ''\n[app.log]", &schema),
        [missing("app.log.file")]
    );
}

#[test]
fn what_stands_where_a_table_belongs_is_one() {
    assert_eq!(
        errors("app = 5", &schema(APP)),
        [wrong_type("app", "table", "integer")]
    );
    assert_eq!(
        errors("network = 'default'", &schema(NETWORKS)),
        [wrong_type("network", "table", "string")],
    );
    assert_eq!(
        errors("[[network.default]]", &schema(NETWORKS)),
        [wrong_type("network.default", "table", "array")],
    );
}

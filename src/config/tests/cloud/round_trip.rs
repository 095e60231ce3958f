//! What was uploaded comes back with additions of the cloud's, and nothing changes.

use super::*;

/// What an upload of the house's files carries.
fn uploaded(house: &House) -> String {
    let (_, local) = house
        .source()
        .read(&[])
        .unwrap_or_else(|it| panic!("{}", it.errors));
    house.source().upload(&local).unwrap().toml
}

/// The text with these lines behind the head of a table.
fn with(text: &str, table: &str, lines: &str) -> String {
    let head = format!("[{table}]\n");
    match text.contains(&head) {
        true => text.replace(&head, &format!("{head}{lines}\n")),
        false => format!("{text}{head}{lines}\n"),
    }
}

#[test]
fn additions_that_mean_nothing() {
    let mut house = House::new();
    // Nothing uses these.
    house.local += "[backends.spare]\nservice = \"http\"\nbase_url = \"http://10.0.0.8:80\"\n\
                    [rules.spare]\ntype = \"allow_all\"\n[policies.spare]\nrules = [\"spare\"]\n";
    let text = uploaded(&house);
    let (local, _) = house
        .source()
        .read(&[])
        .unwrap_or_else(|it| panic!("{}", it.errors));
    let ids = "id = \"01k8\"\nname = \"A name\"\ntags = [\"a\", \"b\"]";
    for (table, lines) in [
        ("pipelines.p", ids),
        ("pipelines.p", "description = \"\""),
        ("endpoints.e", ids),
        (
            "endpoints.e",
            "description = \"What it is for\"\npeer_ref = \"peers.x\"",
        ),
        ("endpoints.e.options", "max_body_size = 10485760"),
        ("middleware.hs", ids),
        ("middleware.hs", "fallback_on = \"missing\""),
        ("middleware.hs.config", "leeway_secs = 60"),
        ("middleware.pem", "optional = false"),
        ("middleware.pem.config", "max_failures = 10"),
        ("backends.b", ids),
        ("backends.b", "timeout_secs = 30\nmax_retries = 1"),
        ("backends.spare", ids),
        ("rules.spare", ids),
        ("policies.spare", ids),
        ("targets.t", ids),
        ("authentications.out", ids),
        (
            "network.public",
            "id = \"x\"\ninterface = \"wg0\"\nenable_wireguard = false",
        ),
        ("network.public.http", "force_https = false"),
        (
            "proxy",
            "store_dir = \"/x\"\nthreads = 0\ngrace_secs = 15\nname = \"other\"",
        ),
        ("proxy.content_limits", "max_csv_rows = 7"),
    ] {
        let back = with(&text, table, lines);
        let config = house.with(&[("back", true, &back)]);
        assert_eq!(
            config, local,
            "[{table}]\n{lines}\n{:?}",
            config.cloud.set_aside
        );
    }
    for table in ["[runbeam]\nenabled = false", "[logging]\nformat = \"text\""] {
        let config = house.with(&[("back", true, &format!("{text}{table}\n"))]);
        assert_eq!(config, local, "{table}");
    }
}

#[test]
fn additions_that_mean_something() {
    let mut house = House::new();
    house.local += "[backends.spare]\nservice = \"http\"\nbase_url = \"http://10.0.0.8:80\"\n";
    let text = uploaded(&house);
    for (table, lines, want) in [
        (
            "pipelines.p",
            "description = \"x\"",
            "pipelines.p: the local files have it",
        ),
        (
            "pipelines.p",
            "nonsense = 1",
            "pipelines.p: the local files have it",
        ),
        (
            "endpoints.e.options",
            "methods = [\"GET\"]",
            "endpoints.e: the local files have it",
        ),
        (
            "middleware.hs.config",
            "leeway_secs = 61",
            "middleware.hs: the local files have it",
        ),
        (
            "backends.b",
            "timeout_secs = 31",
            "backends.b: the local files have it",
        ),
        // Nothing uses it here, but the cloud's next pipeline may.
        (
            "backends.spare",
            "timeout_secs = 30",
            "backends.spare: the local files have it",
        ),
        (
            "network.public",
            "enable_wireguard = true",
            "is for the local files to set",
        ),
        (
            "proxy",
            "threads = 7",
            "proxy.threads: is for the local files to set",
        ),
        (
            "management",
            "allow_from = [\"10.0.0.0/8\"]",
            "management.allow_from: is for",
        ),
    ] {
        let lines = house.refused(&with(&text, table, lines));
        assert!(
            lines.iter().any(|line| line.contains(want)),
            "{want}\n{lines:#?}"
        );
    }
}

//! `cloud_owns_uploaded`: what was uploaded may be changed from the cloud, and nothing else.

use super::*;

/// The house with the right given, and `p` uploaded.
fn house() -> House {
    let mut house = House::new();
    house.local += "[runbeam]\nenabled = false\ncloud_owns_uploaded = true\n";
    house.uploaded = vec!["p".to_owned()];
    house
}

/// The table of that name in the local files.
fn local_table(house: &House, table: &str) -> String {
    let head = format!("[{table}]\n");
    let start = house.local.find(&head).unwrap();
    let rest = &house.local[start + 1..];
    let end = rest.find("\n[").map_or(rest.len(), |end| end + 1);
    house.local[start..start + 1 + end].to_owned()
}

fn pipeline<'c>(config: &'c Config, name: &str) -> &'c Pipeline {
    config
        .pipelines
        .iter()
        .find(|pipeline| &*pipeline.name == name)
        .unwrap()
}

#[test]
fn a_pipeline_that_was_uploaded_is_changed_and_is_the_clouds_then() {
    let house = house();
    let text = local_table(&house, "pipelines.p") + "description = \"changed\"\n";
    let config = house.with(&[("c", false, &text)]);
    assert_eq!(config.cloud.set_aside, []);
    assert_eq!(pipeline(&config, "p").description, "changed");
    assert_eq!(config.owner(pipeline(&config, "p")), Owner::Cloud);
    // What the local files say is what a discard goes back to.
    let config = house.with(&[]);
    assert_eq!(config.owner(pipeline(&config, "p")), Owner::Local);
    assert_eq!(pipeline(&config, "p").description, "");
}

#[test]
fn a_table_that_it_uses_is_changed_with_its_references() {
    let house = house();
    let step = local_table(&house, "middleware.hs");
    let text = step.replace("audience = \"a\"", "audience = \"a\", leeway_secs = 5");
    let config = house.with(&[("c", false, &format!("{CLOUD}{text}"))]);
    assert_eq!(config.cloud.set_aside, []);
    assert_eq!(config.cloud.pipelines, ["c", "p"].map(Arc::<str>::from));
    let auth = pipeline(&config, "p").steps[0].kind.auth().unwrap();
    let AuthSettings::Jwt(settings) = &auth.settings else {
        panic!();
    };
    assert_eq!(settings.rules.leeway.as_secs(), 5);
}

#[test]
fn without_the_right_or_the_upload_nothing_is_changed() {
    let text = |house: &House| local_table(house, "pipelines.p") + "description = \"changed\"\n";
    let mut without = house();
    without.local = without.local.replace("cloud_owns_uploaded = true\n", "");
    let mut not_uploaded = house();
    not_uploaded.uploaded = vec!["other".to_owned()];
    for house in [without, not_uploaded] {
        let lines = house.refused(&text(&house));
        assert!(
            lines[0].contains("the local files have it too"),
            "{lines:#?}"
        );
    }
}

#[test]
fn what_another_pipeline_uses_too_and_credentials_are_not_the_clouds() {
    let mut house = house();
    house.local += "[pipelines.later]\nnetworks = [\"public\"]\nendpoints = [\"later\"]\n\
                    middleware = [\"hs\", \"pem\"]\nbackends = [\"b\"]\n[endpoints.later]\n\
                    service = \"http\"\noptions = { path_prefix = \"/later\" }\n";
    for (table, from, to) in [
        ("middleware.hs", "audience = \"a\"", "audience = \"b\""),
        ("backends.b", "10.0.0.9", "10.0.0.66"),
        ("pipelines.later", "\"hs\", \"pem\"", "\"pem\""),
        ("authentications.out", "${LONG}", "mine"),
        ("targets.t", "10.0.0.9", "10.0.0.66"),
    ] {
        let text = local_table(&house, table);
        assert!(text.contains(from), "{text}");
        let lines = house.refused(&format!("{CLOUD}{}", text.replace(from, to)));
        assert!(
            lines
                .iter()
                .any(|line| line.contains("the local files have it")),
            "{lines:#?}"
        );
    }
}

#[test]
fn what_the_main_files_chain_uses_is_every_pipelines() {
    let mut house = house();
    house.local = format!(
        "{BASE}[runbeam]\nenabled = false\ncloud_owns_uploaded = true\n\
         [[middleware]]\ntype = \"policies\"\npolicies = [\"office\"]\n\
         [policies.office]\nrules = [\"inside\"]\n\
         [rules.inside]\ntype = \"ip_allow\"\noptions = {{ ip_addresses = [\"10.0.0.0/8\"] }}\n\
         [pipelines.p]\nnetworks = [\"public\"]\nendpoints = [\"e\"]\nbackends = [\"b\"]\n\
         [endpoints.e]\nservice = \"http\"\n\
         [pipelines.later]\nnetworks = [\"public\"]\nendpoints = [\"later\"]\nbackends = [\"b\"]\n\
         [endpoints.later]\nservice = \"http\"\noptions = {{ path_prefix = \"/later\" }}\n\
         [backends.b]\nservice = \"http\"\nbase_url = \"http://10.0.0.9:80\"\n"
    );
    let text =
        format!("{CLOUD}[policies.office]\nrules = [\"all\"]\n[rules.all]\ntype = \"allow_all\"\n");
    let lines = house.refused(&text);
    assert!(
        lines
            .iter()
            .any(|line| line.contains("the local files have it")),
        "{lines:#?}"
    );
}

#[test]
fn no_secret_goes_where_the_cloud_says() {
    let house = house();
    let backend = local_table(&house, "backends.b");
    let elsewhere = backend.replace("10.0.0.9", "10.0.0.66");
    let lines = house.refused(&format!("{CLOUD}{elsewhere}"));
    let want = "is a credential of the local files";
    assert!(lines.iter().any(|line| line.contains(want)), "{lines:#?}");
    // It goes where it went, whatever else of the backend is changed.
    let config = house.with(&[("c", false, &format!("{CLOUD}{backend}timeout_secs = 5\n"))]);
    assert_eq!(config.cloud.set_aside, []);
    let BackendTarget::Http(http) = &pipeline(&config, "p").backends[0].target else {
        panic!();
    };
    assert!(http.credential.is_some() && http.head_timeout.as_secs() == 5);
    // Nor over another protocol, be it said or left out.
    let mut by_tls = self::house();
    by_tls.local = by_tls.local.replace(
        "base_url = \"http://10.0.0.9:80\"\nauth",
        "protocol = \"https\"\nconnection = { host = \"10.0.0.9\" }\nauth",
    );
    let local = local_table(&by_tls, "backends.b");
    for protocol in ["", "protocol = \"http\"\n"] {
        let text = local.replace("protocol = \"https\"\n", protocol);
        let lines = by_tls.refused(&format!("{CLOUD}{text}"));
        assert!(lines.iter().any(|line| line.contains(want)), "{lines:#?}");
    }
    // Nor by way of a target.
    let mut by_target = self::house();
    by_target.local = by_target.local.replace(
        "base_url = \"http://10.0.0.9:80\"\nauth",
        "target_ref = \"targets.t\"\nauth",
    );
    let target = local_table(&by_target, "targets.t").replace("10.0.0.9", "10.0.0.66");
    let lines = by_target.refused(&format!("{CLOUD}{target}"));
    assert!(
        lines[0].contains("the local files have it too"),
        "{lines:#?}"
    );
    // A step that would ask elsewhere gets none of the references of the local one.
    let step = local_table(&house, "middleware.hs").replace("issuer = \"i\"", "issuer = \"j\"");
    let lines = house.refused(&format!("{CLOUD}{step}"));
    assert!(
        lines.iter().any(|line| line.contains("is a reference")),
        "{lines:#?}"
    );
    // Nor does what it has changed reach further than the rest of the cloud's.
    let text = local_table(&house, "pipelines.p").replace("\"b\"", "\"x\"")
        + "[backends.x]\nservice = \"http\"\nbase_url = \"http://169.254.169.254\"\n";
    let lines = house.refused(&text);
    assert!(
        lines.iter().any(|line| line.contains("link-local")),
        "{lines:#?}"
    );
}

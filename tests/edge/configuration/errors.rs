//! Errors: all of them at once, each where it stands, and never a typo that switches a check off.

use super::{GOOD, line_of, with};
use crate::support::{Program, Settings, Upstream};

#[test]
fn every_error_is_said_in_one_run_and_points_at_its_line() {
    // Each piece, what it becomes, and the words that its error needs.
    let changes: [(&str, &str, &[&str]); 9] = [
        ("bind_port = 18080", "bind_port = 180800", &["bind_port"]),
        (
            "bind_address = \"127.0.0.1\"\nbind_port = 19090",
            "bind_address = \"localhorst!\"\nbind_port = 19090",
            &["network.management", "bind_address"],
        ),
        ("endpoints = [\"api\"]", "endpoints = [\"apu\"]", &["apu", "api"]),
        ("backends = [\"app\"]", "backends = [\"nowhere\"]", &["nowhere"]),
        ("path_prefix = \"/api\"", "path_prefix = \"api\"", &["path_prefix"]),
        ("algorithm = \"RS256\"", "algorithm = \"none\"", &["algorithm"]),
        ("audience = \"harmony-api\"", "audiance = \"harmony-api\"", &["audiance", "audience"]),
        ("timeout_secs = 30", "timeout_sec = 30", &["timeout_sec", "timeout_secs"]),
        ("base_path = \"admin\"", "base_path = 5", &["base_path"]),
    ];
    let text = changes
        .iter()
        .fold(GOOD.to_owned(), |text, (piece, other, _)| text.replacen(piece, other, 1))
        + "\n[nonsense]\na = 1\n";
    let ran = Program::check(&text).run();
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(1), ""));
    for (_, other, words) in changes {
        let place = format!("harmony.toml:{}:", line_of(&text, other.lines().next().unwrap()));
        // The management's address is the second line that reads alike.
        let place =
            if words[0] == "network.management" { "harmony.toml:".to_owned() } else { place };
        ran.error_with(&[&[place.as_str()], words].concat());
    }
    ran.error_with(&[&format!("harmony.toml:{}:", line_of(&text, "[nonsense]")), "nonsense"]);
    assert!(ran.stderr.lines().count() >= 10, "one line per error:\n{}", ran.stderr);
}

#[test]
fn a_typo_is_an_error_that_names_what_was_meant() {
    let rows = [
        ("audience", "audiance"),
        ("audience", "audence"),
        ("issuer", "isuer"),
        ("jwks_url", "jwk_url"),
        ("algorithm", "algoritm"),
        ("middleware = [", "midleware = ["),
        ("path_prefix", "path_prefx"),
        ("base_url", "base_ulr"),
        ("bind_port = 18080", "bind_prot = 18080"),
        ("[management]", "[managment]"),
        ("\"jwt-auth\"", "\"jwt-auht\""),
    ];
    for (right, wrong) in rows {
        let text = with(right, wrong);
        let ran = Program::check(&text).run();
        assert_eq!(ran.status, Some(1), "{wrong}:\n{}", ran.stderr);
        let word = |text: &str| {
            text.split([' ', '=']).next().unwrap().trim_matches(['"', '[', ']']).to_owned()
        };
        let line = ran.error_with(&[&word(wrong)]);
        assert!(
            line.replace(&word(wrong), "").contains(&word(right)),
            "{wrong}: the nearest name is said: {line}"
        );
    }
    assert_eq!(
        Program::with(&["-c", "harmony.toml"])
            .file("harmony.toml", &with("audience", "audiance"))
            .run()
            .status,
        Some(1),
        "nor does it start"
    );
}

#[test]
fn text_that_is_no_toml_points_at_its_line() {
    for (text, line) in [
        ("[proxy\n", 1),
        ("[proxy]\nid = \"x\n", 2),
        ("[proxy]\nid = \"x\"\n\n= 5\n", 4),
        ("[proxy]\nid = \"x\"\nid = \"y\"\n", 3),
    ] {
        let ran = Program::check(text).run();
        assert_eq!(ran.status, Some(1), "{text}");
        ran.error_with(&[&format!("harmony.toml:{line}:")]);
    }
}

#[test]
fn two_pipelines_that_claim_one_place_are_named() {
    let second = "\n[pipelines.other]\nnetworks = [\"public\"]\nendpoints = [\"again\"]\n\
                  middleware = []\nbackends = [\"app\"]\n[endpoints.again]\nservice = \"http\"\n\
                  options = { path_prefix = \"/api\" }\n";
    let ran = Program::check(&(GOOD.to_owned() + second)).run();
    assert_eq!(ran.status, Some(1));
    let line = ran.error_with(&["/api", "other"]);
    assert!(line.replace("/api", "").contains("api"), "{line}");
    let disjoint =
        second.replace("path_prefix = \"/api\"", "path_prefix = \"/api\", methods = [\"POST\"]");
    let both =
        with("path_prefix = \"/api\"", "path_prefix = \"/api\", methods = [\"GET\"]") + &disjoint;
    Program::check(&both).run().assert_ok("disjoint methods");
}

#[test]
fn one_name_in_two_files_names_both_files() {
    let pipelines = with("id = \"edge-1\"", "id = \"edge-1\"\npipelines_path = \"pipelines\"");
    let backend =
        "[backends.app]\nservice = \"http\"\noptions = { base_url = \"http://127.0.0.1:1\" }\n";
    let ran = Program::check(&pipelines).file("pipelines/a.toml", backend).run();
    assert_eq!(ran.status, Some(1));
    ran.error_with(&["harmony.toml", "a.toml", "app"]);
    let ran = Program::check(&pipelines)
        .file("pipelines/a.toml", &backend.replace("app", "b"))
        .file("pipelines/b.toml", &backend.replace("app", "b"))
        .run();
    assert_eq!(ran.status, Some(1));
    ran.error_with(&["a.toml", "b.toml"]);
}

#[test]
fn an_error_in_a_file_of_the_pipelines_directory_names_that_file() {
    let pipelines = with("id = \"edge-1\"", "id = \"edge-1\"\npipelines_path = \"pipelines\"");
    let ran = Program::check(&pipelines)
        .file("pipelines/more.toml", "# a comment\n[backends.b]\nservice = \"htp\"\n")
        .run();
    assert_eq!(ran.status, Some(1));
    ran.error_with(&["more.toml:3:", "htp"]);
}

#[test]
fn what_an_http_edge_does_not_have_is_refused_by_name_used_or_not() {
    let rows: [(&str, &str); 9] = [
        ("[endpoints.d]\nservice = \"dicom\"\n", "dicom"),
        (
            "[backends.f]\nservice = \"fhir\"\noptions = { base_url = \"http://127.0.0.1:1\" }\n",
            "fhir",
        ),
        ("[middleware.t]\ntype = \"transform\"\n", "transform"),
        ("[middleware.w]\ntype = \"webhook\"\n", "webhook"),
        ("[network.x.http3]\nbind_address = \"127.0.0.1\"\nbind_port = 18083\n", "http3"),
        (
            "[network.w]\nenable_wireguard = true\n[network.w.http]\n\
             bind_address = \"127.0.0.1\"\nbind_port = 18084\n",
            "wireguard",
        ),
        (
            "[pipelines.m]\nmesh = \"x\"\nnetworks = [\"public\"]\nendpoints = [\"m\"]\n\
             middleware = []\nbackends = [\"app\"]\n[endpoints.m]\nservice = \"http\"\n\
             options = { path_prefix = \"/m\" }\n",
            "mesh",
        ),
        (
            "[middleware.b]\ntype = \"basic-auth\"\nconfig = { username = \"a\", password_hash = \
             \"b\" }\n",
            "hash-password",
        ),
        ("[middleware.o]\ntype = \"oauth\"\n", "oauth"),
    ];
    for (table, word) in rows {
        let ran = Program::check(&format!("{GOOD}\n{table}")).run();
        assert_eq!(ran.status, Some(1), "{word}");
        ran.error_with(&[word]);
    }
}

#[test]
fn a_reference_that_cannot_be_filled_in_is_an_error_that_names_it() {
    let text = with("harmony-api", "${HARMONY_TEST_AUDIENCE}");
    Program::check(&text).run().error_with(&[
        &format!("harmony.toml:{}:", line_of(&text, "HARMONY_TEST_AUDIENCE")),
        "HARMONY_TEST_AUDIENCE",
    ]);
    Program::check(&text).env("HARMONY_TEST_AUDIENCE", "x").run().assert_ok("the variable is set");
    Program::check(&with("harmony-api", "${HARMONY_TEST_AUDIENCE:-x}"))
        .run()
        .assert_ok("a default");
    Program::check(&with("harmony-api", "${file:missing}")).run().error_with(&["missing"]);
    Program::check(&with("harmony-api", "${credential:missing}")).run().error_with(&["missing"]);
    Program::check(&with("harmony-api", "${file:{dir}/there}"))
        .file("there", "x\n")
        .run()
        .assert_ok("a file");
}

#[test]
fn a_filled_in_value_decides() {
    let (upstream, name) = (Upstream::start(), "UPSTREAM_URL");
    let edge = crate::support::Edge::configured(
        Settings::bare()
            .and(&crate::support::settings::Route::to_url("r", "${UPSTREAM_URL}").text()),
    )
    .env(name, &format!("http://127.0.0.1:{}/from-env", upstream.port()))
    .start();
    assert_eq!(edge.get("/x").send().text(), "/from-env/x");
}

#[test]
fn a_file_that_is_not_there_is_said() {
    for arguments in [
        &["-c", "absent.toml"] as &[&str],
        &["-c", "absent.toml", "--check"],
        &["-c", "absent.toml", "-t"],
    ] {
        let ran = Program::with(arguments).run();
        assert_eq!(ran.status, Some(1), "{arguments:?}");
        ran.error_with(&["absent.toml"]);
    }
    let ran = Program::with(&["-c", "home"]).run();
    assert_eq!(ran.status, Some(1), "a directory is no file");
}

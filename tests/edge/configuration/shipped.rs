//! What is shipped loads: `conf/`, and the unit that starts it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::authority::Authority;
use crate::support::ports::Port;
use crate::support::request::Request;
use crate::support::{Issuer, Program};

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(shipped(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn every_configuration_that_is_shipped_loads() {
    let mut files: Vec<PathBuf> = fs::read_dir(shipped("conf"))
        .expect("conf/")
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    assert!(files.len() >= 2, "{files:?}");
    for file in files {
        let file = file.to_str().unwrap();
        Program::with(&["-c", file, "--check"]).run().assert_ok(file);
    }
}

#[test]
fn the_example_starts_on_a_fresh_machine_and_keeps_its_route_shut_without_keys() {
    // The shipped text, moved to ports that are free here.
    let (public, management) = (Port::claim(), Port::claim());
    let text = read("conf/harmony.toml")
        .replace("bind_port = 8080", &format!("bind_port = {public}"))
        .replace("bind_port = 9090", &format!("bind_port = {management}"));
    let issuer = Issuer::start();
    let edge = crate::support::edge::Edge::of_text(&text, public, management)
        .env("HARMONY_JWKS_URL", "http://127.0.0.1:1/jwks.json")
        .start_listening();
    let status = |request: Request| request.send().status;
    assert_eq!(status(edge.get("/api/x")), 401);
    assert_eq!(
        status(edge.get("/api/x").bearer(&issuer.token().sign())),
        503,
        "unreachable keys mean 503, not a failed start"
    );
    assert_eq!(status(edge.manage("/health")), 200);
}

#[test]
fn the_unit_starts_the_binary_with_a_configuration() {
    let unit = read("systemd/harmony-edge.service");
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("ExecStart");
    let words: Vec<&str> = start.split_whitespace().collect();
    assert!(words[0].starts_with('/') && words[0].ends_with("/harmony-edge"), "{start}");
    let config = words
        .iter()
        .position(|word| *word == "-c")
        .and_then(|place| words.get(place + 1))
        .expect("-c FILE");
    assert!(config.starts_with('/') && config.ends_with(".toml"), "{start}");
    for section in ["[Unit]", "[Service]", "[Install]"] {
        assert!(unit.contains(section), "{section}");
    }
}

/// Editors and other parsers read TOML 1.0, in which an inline table stands on one line.
#[test]
fn no_example_needs_more_than_toml_1_0() {
    let files = ["conf/harmony.toml", "conf/reference.toml"].map(str::to_owned);
    for page in pages().into_iter().chain(files) {
        for (at, line) in read(&page).lines().enumerate() {
            let code = line.split(" #").next().unwrap_or(line).trim();
            assert!(!code.ends_with("= {"), "{page}:{}: {line}", at + 1);
        }
    }
}

/// Every page of documentation.
fn pages() -> Vec<String> {
    let mut pages = Vec::new();
    for directory in ["docs", "docs/how-to"] {
        let files = fs::read_dir(shipped(directory)).unwrap_or_else(|_| panic!("{directory}/"));
        let names = files.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let names = names.filter(|name| name.ends_with(".md"));
        pages.extend(names.map(|name| format!("{directory}/{name}")));
    }
    pages.extend(["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(str::to_owned));
    pages
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut links = 0;
    for page in pages() {
        let text = read(&page);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.starts_with("http") {
                continue;
            }
            links += 1;
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let directory = shipped(&page).parent().unwrap().to_owned();
            let path = if file.is_empty() { shipped(&page) } else { directory.join(file) };
            assert!(path.exists(), "{page}: {target}");
            let named = |line: &str| {
                let title = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
                line.starts_with('#') && title.replace([',', '?', '.', '\''], "") == heading
            };
            let text =
                if heading.is_empty() { String::new() } else { read(path.to_str().unwrap()) };
            assert!(heading.is_empty() || text.lines().any(named), "{page}: {target}");
        }
    }
    assert!(links > 20, "{links} links");
}

/// The pieces in the documentation lack only what a reader has in the file already.
#[test]
fn the_documentation_shows_configurations_that_load() {
    // Those of the how-to pages are whole, and are tried besides (`how_to.rs`).
    let pages = pages().into_iter().filter(|page| !page.starts_with("docs/how-to"));
    let text: String = pages.map(|page| read(&page)).collect();
    let pieces: Vec<&str> =
        text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(pieces.len() >= 7, "{} pieces", pieces.len());
    let authority = Authority::new("an authority");
    let (one, other, root) =
        (authority.server(&["a.example"]), authority.server(&["b.example"]), authority.pem());
    // What stands in somebody's Cargo.toml is no configuration.
    for piece in pieces.into_iter().filter(|piece| !piece.contains("[dependencies]")) {
        let mut text = piece.to_owned();
        if !piece.contains("[proxy]") {
            text.push_str("[proxy]\nid = \"x\"\n");
            if !piece.contains("[network.public.http]") {
                text.push_str(
                    "[network.public.http]\nbind_address = \"127.0.0.1\"\nbind_port = 8080\n",
                );
            }
        }
        if !piece.contains("[proxy]") && !piece.contains("[endpoints.api]") {
            text.push_str(
                "[endpoints.api]\nservice = \"echo\"\noptions = { path_prefix = \"/api\" }\n",
            );
        }
        let reads_identity = ["\"claims\"", "\"cel\""].iter().any(|rule| piece.contains(rule));
        if (reads_identity || piece.contains("\"jwt\"")) && !piece.contains("[middleware.jwt]") {
            text.push_str(
                "[middleware.jwt]\ntype = \"jwt-auth\"\njwks_url = \"https://h/\"\n\
                 issuer = \"i\"\naudience = \"a\"\n",
            );
        }
        if !piece.contains("[backends.app") && !piece.contains("[proxy]") {
            text.push_str("[backends.app]\nservice = \"echo\"\n");
        }
        if !piece.contains("[pipelines.") {
            let step = piece.split("[middleware.").nth(1).and_then(|rest| rest.split(']').next());
            let steps: Vec<&str> =
                reads_identity.then_some("jwt").into_iter().chain(step).collect();
            text.push_str(&format!(
                "[pipelines.api]\nnetworks = [\"public\"]\n\
                 endpoints = [\"api\"]\nmiddleware = {steps:?}\nbackends = [\"app\"]\n"
            ));
        }
        let ran = Program::check(&text)
            .file("tls/cert.pem", &one.certificate)
            .file("tls/key.pem", &one.key)
            .file("tls/other.pem", &other.certificate)
            .file("tls/other.key", &other.key)
            .file("tls/clients.pem", &root)
            .file("tls/internal.pem", &root)
            .env("BILLING_KEY_HASH", &"ab".repeat(32))
            .env("INTROSPECTION_SECRET", "of the client")
            .env("REDIS_PASSWORD", "of the edge")
            .env(
                "ADMIN_PASSWORD_HASH",
                "$2b$12$x47zQBxnDIDtr8CrB.7P0Od7WQZ5pURJa4bPIGzrstXLp1P.YuBeG",
            )
            .run();
        ran.assert_ok(piece);
    }
}

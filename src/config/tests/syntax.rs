//! Texts that are not TOML, and what is said about them.

use super::*;

#[test]
fn another_format_is_told_once() {
    for (text, expected) in [
        (
            "proxy:\n  id: edge\nnetwork:\n  public:\n    http:\n",
            "YAML",
        ),
        ("---\nproxy:\n  id: edge\n  list:\n    - a\n", "YAML"),
        ("{\n  \"proxy\": { \"id\": \"e\" }\n}\n", "JSON"),
        (
            "worker_processes 1;\nhttp {\n  server {\n    listen 80;\n  }\n}\n",
            "a file with blocks in braces, as nginx has them",
        ),
        (
            "global\n  maxconn 100\nfrontend x\n",
            "another format than TOML",
        ),
    ] {
        let line = format!(
            "1: is {expected}; the configuration is written in TOML; begin with [proxy] and id = \
             \"edge-1\", as conf/harmony.toml does"
        );
        assert_eq!(errors(text), [line], "{text}");
    }
}

#[test]
fn what_is_there_twice_is_named_with_its_first_place() {
    let whole = format!("{BASE}{PIPELINE}{JWT}");
    for (text, lines) in [
        (
            format!("{whole}[middleware.jwt]\ntype = \"jwt-auth\"\nconfig = {{ a = 1 }}\n"),
            &["26: middleware.jwt: middleware.jwt is defined twice: also at 23"][..],
        ),
        (
            format!("{whole}[backends.\"b\"]\n[proxy]\n"),
            &[
                "26: backends.b: backends.b is defined twice: also at 20",
                "27: proxy: proxy is defined twice: also at 1",
            ],
        ),
        (
            whole.replace("networks =", "networks = []\nnetworks ="),
            &["15: pipelines.p.networks: pipelines.p.networks is defined twice: also at 14"],
        ),
        (
            format!("{whole}[middleware]\njwt = {{}}\n"),
            &["27: middleware.jwt: middleware.jwt is defined twice: also at 23"],
        ),
        (
            format!("{whole}[middleware.jwt.config]\nissuer = \"i\"\n"),
            &["26: middleware.jwt.config: middleware.jwt.config is defined twice: also at 25"],
        ),
        (
            format!("{whole}[proxy.id]\nx = 1\n"),
            &["26: proxy.id: proxy.id is defined twice: also at 2"],
        ),
        (
            whole.replace("{ jwks_url", "{ issuer = \"i\", jwks_url"),
            &[
                "25: middleware.jwt.config.issuer: middleware.jwt.config.issuer is defined twice: \
                 also at 25",
            ],
        ),
        (
            format!("{whole}[[middleware]]\ntype = \"passthru\"\n"),
            &[
                "26: middleware: middleware is defined twice: also at 23; [[middleware]] and \
                 [middleware.NAME] cannot stand in one file",
            ],
        ),
    ] {
        assert_eq!(errors(&text), lines, "{text}");
    }
}

#[test]
fn what_is_not_quoted_is_told_with_its_key() {
    for (line, expected) in [
        (
            "id = edge-1",
            "string values must be quoted, expected literal string; write it in quotes: id = \
             \"...\"",
        ),
        (
            "id = \u{201c}edge\u{201d}",
            "string values must be quoted, expected literal string; write it in straight quotes: \
             id = \"...\"",
        ),
        (
            "watch_files = True",
            "; write watch_files = true or watch_files = false",
        ),
        (
            "watch_files = yes",
            "; write watch_files = true or watch_files = false",
        ),
        (
            "log_level: info",
            "key with no value, expected `=`; write it with an equals sign: log_level = ...",
        ),
        (
            "id = \"a\";",
            "; a line ends without a comma or a semicolon",
        ),
        (
            "content_limits = { a = b }",
            "; write it in quotes: a = \"...\"",
        ),
    ] {
        let lines = errors(&format!("[proxy]\n{line}\n"));
        assert!(
            lines.len() == 1 && lines[0].starts_with("2: ") && lines[0].contains(expected),
            "{line}: {lines:#?}"
        );
    }
    // no value is shown: it could be a secret
    let lines = errors("[proxy]\nsecret = hunter2hunter2\n");
    assert!(!lines[0].contains("hunter2"), "{lines:?}");
}

#[test]
fn errors_without_end_take_no_time() {
    let begun = std::time::Instant::now();
    let text = "[a]\n".repeat(20_000) + &"a = 1\n".repeat(20_000);
    assert_eq!(errors(&text).len(), 19_999);
    assert!(
        begun.elapsed() < std::time::Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
}

//! Which module of the sources may use which. A module with rules is called a room. Sources are
//! read token by token, so that comments and strings do not count.

use std::collections::BTreeMap;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A room and the rooms that it may use, sub-rooms of these included. A room may use its own
/// sub-rooms, which never use it back: what they share is a sub-room, too. What is not here is the
/// top: it may use everything, and nobody may use it.
const MAY_USE: &[(&str, &[&str])] = &[
    ("common", &[]),
    ("config/model", &[]),
    ("config/reader", &["config/model"]),
    ("config/tables", &["config/model", "config/reader"]),
    ("config/cloud", &["config/model", "config/reader", "config/tables"]),
    ("config", &[]),
    ("telemetry", &["common"]),
    ("auth", &["common", "config"]),
    ("policy", &["common", "auth", "config"]),
    ("balance", &["common", "config"]),
    ("shared_store", &["common", "auth", "policy", "config"]),
    ("gateway", &["common", "auth", "policy", "balance", "config", "shared_store", "telemetry"]),
    ("listener", &["common", "gateway", "auth", "config", "telemetry"]),
    ("proxy/request", &["common", "listener", "gateway", "balance", "auth", "policy", "telemetry"]),
    ("proxy/streams", &["proxy/request", "listener", "gateway", "auth", "telemetry"]),
    (
        "proxy/forward",
        &["proxy/request", "proxy/streams", "listener", "gateway", "auth", "policy", "telemetry"],
    ),
    ("proxy/local", &["proxy/request", "proxy/forward", "listener", "auth", "config", "telemetry"]),
    ("proxy", &["listener", "gateway", "auth", "policy", "telemetry"]),
    ("control", &["gateway", "telemetry"]),
    ("management", &["listener", "gateway", "control", "telemetry"]),
    (
        "server",
        &[
            "config",
            "telemetry",
            "auth",
            "policy",
            "balance",
            "gateway",
            "listener",
            "proxy",
            "management",
            "control",
        ],
    ),
];

/// Argument parsing and the small commands; and what only cargo-fuzz builds.
const TOP: &[&str] = &["main", "lib", "cli", "demo", "fuzzing"];

/// Who may name Pingora.
const NAMES_PINGORA: &[&str] = &["server", "listener", "proxy", "management", "demo"];

/// A source file without its tests.
struct Source {
    path: PathBuf,
    module: Vec<String>,
    text: String,
    tokens: Vec<String>,
}

impl Source {
    fn read(path: &Path, root: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let stream = TokenStream::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut tokens = Vec::new();
        flatten(stream, &mut tokens);
        let module = module_path(path.strip_prefix(root).unwrap());
        Self { path: path.to_owned(), module, text, tokens: without_tests(tokens) }
    }

    fn room(&self) -> String {
        room_of(&self.module)
    }

    /// Every path that begins with `crate::` or `super::`, from the crate's root, groups in braces
    /// taken apart.
    fn uses(&self) -> Vec<Vec<String>> {
        let mut paths = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            let base = match self.tokens[at].as_str() {
                // `pub(in crate::...)` uses nothing.
                "crate" if at == 0 || self.tokens[at - 1] != "in" => Some(Vec::new()),
                "super" => Some(self.parent()),
                _ => None,
            };
            let Some(base) = base.filter(|_| self.is_separator(at + 1)) else {
                at += 1;
                continue;
            };
            at = self.path(at + 3, base, &mut paths);
        }
        paths
    }

    fn parent(&self) -> Vec<String> {
        self.module[..self.module.len().saturating_sub(1)].to_vec()
    }

    fn is_separator(&self, at: usize) -> bool {
        self.tokens.get(at..at + 2).is_some_and(|tokens| tokens == [":", ":"])
    }

    /// Reads on in a path behind `base`; where it ends.
    fn path(&self, mut at: usize, mut base: Vec<String>, paths: &mut Vec<Vec<String>>) -> usize {
        while let Some(token) = self.tokens.get(at) {
            match token.as_str() {
                "{" => return self.group(at, &base, paths),
                "<" => break,
                "super" => drop(base.pop()),
                name => base.push(name.to_owned()),
            }
            at += 1;
            if !self.is_separator(at) {
                break;
            }
            at += 2;
        }
        paths.push(base);
        at
    }

    /// Every path of a group in braces that begins at `at`; where it ends.
    fn group(&self, at: usize, base: &[String], paths: &mut Vec<Vec<String>>) -> usize {
        let mut at = at + 1;
        while let Some(token) = self.tokens.get(at) {
            at = match token.as_str() {
                "}" => return at + 1,
                "," => at + 1,
                // The new name is no path.
                "as" => at + 2,
                "self" => {
                    paths.push(base.to_vec());
                    at + 1
                }
                _ => self.path(at, base.to_vec(), paths),
            };
        }
        at
    }
}

/// The path of the module that a file below `src` is.
fn module_path(file: &Path) -> Vec<String> {
    let file = file.with_extension("");
    let parts = file.iter().map(|part| part.to_str().unwrap().to_owned());
    let mut module: Vec<String> = parts.collect();
    module.pop_if(|name| name == "mod");
    module
}

/// The innermost room that a module, or an item in one, lies in.
fn room_of(path: &[String]) -> String {
    let within = |room: &str| room.split('/').zip(path).filter(|(a, b)| a == b).count();
    let rooms = MAY_USE.iter().map(|(room, _)| *room);
    let rooms = rooms.filter(|room| within(room) == room.split('/').count());
    match rooms.max_by_key(|room| room.len()) {
        Some(room) => room.to_owned(),
        None => path.first().cloned().unwrap_or_default(),
    }
}

/// Whether a room is `other` or a sub-room of it.
fn is_within(room: &str, other: &str) -> bool {
    room.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn flatten(stream: TokenStream, out: &mut Vec<String>) {
    for token in stream {
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                out.push(open.to_owned());
                flatten(group.stream(), out);
                out.push(close.to_owned());
            }
            // What a string says is no code.
            TokenTree::Literal(_) => out.push("literal".to_owned()),
            other => out.push(other.to_string()),
        }
    }
}

/// Leaves out what follows `#[cfg(test)]`, through its semicolon or its closing brace.
fn without_tests(tokens: Vec<String>) -> Vec<String> {
    const TESTS: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut out = Vec::new();
    let mut rest = tokens.as_slice();
    while let Some(token) = rest.first() {
        if !(rest.len() > TESTS.len()
            && rest.iter().zip(TESTS).all(|(token, wanted)| token == wanted))
        {
            out.push(token.clone());
            rest = &rest[1..];
            continue;
        }
        let mut depth = 0;
        let end = rest[TESTS.len()..].iter().position(|token| {
            match token.as_str() {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth -= 1,
                _ => {}
            }
            depth == 0 && matches!(token.as_str(), ";" | "}")
        });
        rest = end.map_or(&[], |end| &rest[TESTS.len() + end + 1..]);
    }
    out
}

/// Every file of `src`, except those that are modules of tests alone.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    let sources: Vec<Source> = files.iter().map(|path| Source::read(path, &root)).collect();
    assert!(sources.len() > 10, "the sources are there");
    sources.into_iter().filter(|source| !is_for_tests_only(&source.path)).collect()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Whether the module above declares this file, or a directory that it lies in, under
/// `#[cfg(test)]`.
fn is_for_tests_only(path: &Path) -> bool {
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let directory = path.parent().unwrap();
    let (name, directory) = if name == "mod" {
        (directory.file_name().unwrap().to_str().unwrap(), directory.parent().unwrap())
    } else {
        (name, directory)
    };
    let above =
        [directory.join("mod.rs"), directory.join("lib.rs"), directory.with_extension("rs")]
            .into_iter()
            .find(|above| above.is_file() && above != path);
    let declared =
        above.as_ref().and_then(|above| fs::read_to_string(above).ok()).is_some_and(|text| {
            text.contains(&format!("#[cfg(test)]\nmod {name};"))
                || text.contains(&format!("#[cfg(test)]\npub(crate) mod {name};"))
        });
    declared || above.is_some_and(|above| is_for_tests_only(&above))
}

#[test]
fn a_room_uses_only_the_rooms_below_it() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !TOP.contains(&source.module[0].as_str())) {
        let room = source.room();
        let Some(allowed) = allowed.get(room.as_str()) else {
            wrong.push(format!("{}: a room without rules", source.path.display()));
            continue;
        };
        for path in source.uses() {
            let used = room_of(&path);
            if !is_within(&used, &room) && !allowed.iter().any(|other| is_within(&used, other)) {
                let path = path.join("::");
                wrong.push(format!("{}: {room} may not use {path}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_rules_have_no_cycle() {
    // Each room may use only rooms that stand before it in the list.
    let mut before = Vec::new();
    for (room, uses) in MAY_USE {
        for used in *uses {
            assert!(before.contains(used), "{room} uses {used}, which stands behind it");
        }
        assert!(
            !before.iter().any(|above| is_within(room, above)),
            "{room} stands behind the room that it is a part of"
        );
        before.push(room);
    }
}

#[test]
fn only_a_few_rooms_name_pingora() {
    for source in sources() {
        if NAMES_PINGORA.iter().any(|room| is_within(&source.room(), room)) {
            continue;
        }
        let named = source.tokens.iter().find(|token| token.starts_with("pingora"));
        assert_eq!(named, None, "{}", source.path.display());
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for source in sources() {
        assert!(
            source.text.starts_with("//! "),
            "{} begins with what it is for",
            source.path.display()
        );
    }
}

/// What stands in a raw string is text of its own, which may not break anywhere.
#[test]
fn no_line_is_longer_than_100_columns() {
    let mut files = Vec::new();
    for directory in ["src", "crates", "tests", "benches", "fuzz/src", "fuzz/targets"] {
        collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join(directory), &mut files);
    }
    assert!(files.len() > 100, "the sources are there");
    let mut wrong = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let numbered = (1..).zip(text.lines());
        let long: Vec<usize> = numbered
            .filter(|(_, line)| line.chars().count() > 100)
            .map(|(number, _)| number)
            .collect();
        if long.is_empty() {
            continue;
        }
        let mut raw = Vec::new();
        raw_strings(TokenStream::from_str(&text).unwrap(), &mut raw);
        let free = long.iter().filter(|line| !raw.iter().any(|lines| lines.contains(line)));
        wrong.extend(free.map(|line| format!("{}:{line}", path.display())));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The lines of each raw string.
fn raw_strings(stream: TokenStream, lines: &mut Vec<RangeInclusive<usize>>) {
    for token in stream {
        match token {
            TokenTree::Group(group) => raw_strings(group.stream(), lines),
            TokenTree::Literal(literal) => {
                let text = literal.to_string();
                if ["r\"", "r#", "br\"", "br#"].iter().any(|raw| text.starts_with(raw)) {
                    let span = literal.span();
                    lines.push(span.start().line..=span.end().line);
                }
            }
            _ => {}
        }
    }
}

#[test]
fn the_reader_of_sources_is_right() {
    let tokens = |text: &str| {
        let mut tokens = Vec::new();
        flatten(TokenStream::from_str(text).unwrap(), &mut tokens);
        without_tests(tokens)
    };
    let source = |file: &str, text: &str| Source {
        path: PathBuf::new(),
        module: module_path(Path::new(file)),
        text: text.into(),
        tokens: tokens(text),
    };
    let uses = |file: &str, text: &str| -> Vec<String> {
        source(file, text).uses().iter().map(|path| path.join("::")).collect()
    };
    assert_eq!(
        uses(
            "auth/mod.rs",
            "use crate::config; use crate::{gateway::{self, Live as L, x::*}, proxy};
             pub(in crate::auth) fn f() { crate::server::g::<A>(super::h) }"
        ),
        ["config", "gateway", "gateway::Live", "gateway::x::*", "proxy", "server::g", "h"]
    );
    assert_eq!(
        uses("a/b/c.rs", "use super::d; use super::super::{e::f, super::g};"),
        ["a::b::d", "a::e::f", "g"]
    );
    assert!(
        uses("auth.rs", "// crate::proxy\nconst A: &str = \"crate::proxy .unwrap()\";").is_empty()
    );
    let tested = "fn a() {} #[cfg(test)] mod tests { use crate::proxy; fn b() {} } fn d() {}";
    assert!(uses("auth.rs", tested).is_empty());
    assert!(
        source("auth.rs", tested).tokens.ends_with(&["d", "(", ")", "{", "}"].map(str::to_owned))
    );
    assert_eq!(uses("auth.rs", "#[cfg(test)] mod tests; use crate::proxy;"), ["proxy"]);

    let room = |path: &str| room_of(&path.split("::").map(str::to_owned).collect::<Vec<_>>());
    assert_eq!(room("config::reader::entry::Entry"), "config/reader");
    assert_eq!(room("config::Backend"), "config");
    assert_eq!(room("server::tls"), "server");
    assert!(is_within("config/reader", "config") && !is_within("config", "config/reader"));
}

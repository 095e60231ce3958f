//! The house rules of the sources: which room may know which, and what no room may do. Read token
//! by token, so that comments and strings do not count.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A room and the rooms that it may use. What is not here is the top: it may use everything, and
/// nobody may use it.
const MAY_USE: &[(&str, &[&str])] = &[
    ("config", &[]),
    ("telemetry", &[]),
    ("files", &[]),
    ("auth", &["config", "files"]),
    ("policy", &["config"]),
    ("balance", &["config"]),
    ("gateway", &["auth", "policy", "balance", "config", "files", "telemetry"]),
    ("listener", &["gateway", "auth", "policy", "config", "telemetry"]),
    ("proxy", &["listener", "gateway", "balance", "auth", "policy", "telemetry"]),
    ("runbeam", &["auth", "files"]),
    ("control", &["gateway", "runbeam", "telemetry"]),
    ("management", &["gateway", "control", "runbeam", "telemetry"]),
    (
        "server",
        &[
            "config",
            "telemetry",
            "files",
            "auth",
            "policy",
            "balance",
            "gateway",
            "listener",
            "proxy",
            "management",
            "control",
            "runbeam",
        ],
    ),
];

/// Argument parsing and the small commands; and what only cargo-fuzz builds.
const TOP: &[&str] = &["main", "lib", "cli", "demo", "fuzzing"];

/// Who may name Pingora.
const NAMES_PINGORA: &[&str] = &["server", "listener", "proxy", "management", "control", "demo"];

/// A source file without its tests.
struct Source {
    path: PathBuf,
    room: String,
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
        let inside = path.strip_prefix(root).unwrap().with_extension("");
        let inside = inside.to_str().unwrap();
        let room = inside.split('/').next().unwrap();
        Self { path: path.to_owned(), room: room.to_owned(), text, tokens: without_tests(tokens) }
    }

    /// The rooms that follow `crate::`, groups in braces included.
    fn uses(&self) -> Vec<String> {
        let mut rooms = Vec::new();
        for place in self.places(&["crate", ":", ":"]) {
            match self.tokens.get(place + 3).map(String::as_str) {
                Some("{") => rooms.extend(self.group(place + 3)),
                Some(name) => rooms.push(name.to_owned()),
                None => {}
            }
        }
        rooms
    }

    /// The first name of every part of a group in braces that begins at `place`.
    fn group(&self, place: usize) -> Vec<String> {
        let (mut depth, mut names, mut fresh) = (0, Vec::new(), false);
        for token in &self.tokens[place..] {
            match token.as_str() {
                "{" => {
                    depth += 1;
                    fresh = depth == 1;
                }
                "}" => {
                    depth -= 1;
                    if depth == 0 {
                        break;
                    }
                }
                "," => fresh = depth == 1,
                name if fresh => {
                    names.push(name.to_owned());
                    fresh = false;
                }
                _ => {}
            }
        }
        names
    }

    fn has(&self, pattern: &[&str]) -> bool {
        !self.places(pattern).is_empty()
    }

    fn places(&self, pattern: &[&str]) -> Vec<usize> {
        let windows = self.tokens.windows(pattern.len()).enumerate();
        windows
            .filter(|(_, window)| window.iter().zip(pattern).all(|(token, wanted)| token == wanted))
            .map(|(place, _)| place)
            .collect()
    }
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
    for source in sources().iter().filter(|source| !TOP.contains(&source.room.as_str())) {
        let Some(allowed) = allowed.get(source.room.as_str()) else {
            wrong.push(format!("{}: a room without rules", source.path.display()));
            continue;
        };
        for used in source.uses() {
            if source.room != used && !allowed.contains(&used.as_str()) {
                wrong.push(format!(
                    "{}: {} may not use {used}",
                    source.path.display(),
                    source.room
                ));
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
        before.push(room);
    }
}

#[test]
fn only_a_few_rooms_name_pingora() {
    for source in sources().iter().filter(|source| !NAMES_PINGORA.contains(&source.room.as_str())) {
        let named = source.tokens.iter().find(|token| token.starts_with("pingora"));
        assert_eq!(named, None, "{}", source.path.display());
    }
}

#[test]
fn nothing_gives_up_or_steps_outside_the_language() {
    let forbidden: [(&str, &[&str]); 6] = [
        (".unwrap()", &[".", "unwrap", "(", ")"]),
        ("unsafe", &["unsafe", "{"]),
        ("unsafe fn", &["unsafe", "fn"]),
        ("unsafe impl", &["unsafe", "impl"]),
        ("todo!", &["todo", "!"]),
        ("unimplemented!", &["unimplemented", "!"]),
    ];
    for source in sources() {
        for (name, pattern) in forbidden {
            assert!(!source.has(pattern), "{name} in {}", source.path.display());
        }
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

#[test]
fn the_reader_of_sources_is_right() {
    let tokens = |text: &str| {
        let mut tokens = Vec::new();
        flatten(TokenStream::from_str(text).unwrap(), &mut tokens);
        without_tests(tokens)
    };
    let source = |text: &str| Source {
        path: PathBuf::new(),
        room: "auth".into(),
        text: text.into(),
        tokens: tokens(text),
    };
    assert_eq!(
        source("use crate::config; use crate::{gateway::{Live, x}, proxy}; fn f() { crate::server::g() }").uses(),
        ["config", "gateway", "proxy", "server"]
    );
    assert!(
        source("// crate::proxy\nconst A: &str = \"crate::proxy .unwrap()\";").uses().is_empty()
    );
    let tested = source(
        "fn a() {} #[cfg(test)] mod tests { use crate::proxy; fn b() { c().unwrap() } } fn d() {}",
    );
    assert!(
        tested.uses().is_empty()
            && !tested.has(&[".", "unwrap", "(", ")"])
            && tested.has(&["fn", "d"])
    );
    let declared = source("#[cfg(test)] mod tests; use crate::proxy;");
    assert_eq!(declared.uses(), ["proxy"]);
}

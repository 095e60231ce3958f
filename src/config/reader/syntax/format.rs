//! Whether a text that is not TOML is something else that people configure servers with.

/// What the text is, if it looks like another format than TOML.
pub(crate) fn other_than_toml(text: &str) -> Option<&'static str> {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let second = text.get(1..).unwrap_or_default().trim_start();
    match text.chars().next()? {
        '{' if second.starts_with(['"', '}']) => return Some("JSON"),
        '[' if second.starts_with('{') => return Some("JSON"),
        '<' => return Some("XML"),
        _ => {}
    }
    let (mut toml, mut yaml, mut blocks, mut bare) = (0, 0, 0, 0);
    let lines = text.lines().map(str::trim);
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if line.starts_with('[') || is_assignment(line) {
            toml += 1;
        } else if line == "---" || line.starts_with("- ") || is_mapping(line) {
            yaml += 1;
        } else if line.ends_with([';', '{']) {
            blocks += 1;
        } else if line.starts_with(|first: char| first.is_ascii_alphabetic()) {
            bare += 1;
        }
    }
    match () {
        () if yaml > toml && yaml >= blocks => Some("YAML"),
        () if blocks > toml => Some("a file with blocks in braces, as nginx has them"),
        () if toml == 0 && bare > 0 => Some("another format than TOML"),
        () => None,
    }
}

/// `key = value`, and not a directive with an equals sign somewhere.
fn is_assignment(line: &str) -> bool {
    let Some((key, _)) = line.split_once('=') else {
        return false;
    };
    let key = key.trim();
    let bare = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !key.is_empty() && (key.starts_with(['"', '\'']) || key.chars().all(bare))
}

/// `key:` or `key: value`.
fn is_mapping(line: &str) -> bool {
    let line = line.strip_prefix("- ").unwrap_or(line);
    let Some((key, value)) = line.split_once(':') else {
        return false;
    };
    let key = key.trim_matches(['"', '\'']);
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./ ".contains(c);
    let value = value.trim_end();
    !key.is_empty() && key.chars().all(plain) && (value.is_empty() || value.starts_with(' '))
}

#[cfg(test)]
mod tests {
    use super::other_than_toml;

    #[test]
    fn formats_that_others_use() {
        for (text, expected) in [
            ("{\n  \"proxy\": {}\n}\n", Some("JSON")),
            ("[\n  { \"a\": 1 }\n]\n", Some("JSON")),
            ("<configuration/>", Some("XML")),
            ("proxy:\n  id: edge\n", Some("YAML")),
            ("---\n# x\nlist:\n  - a = b\n", Some("YAML")),
            (
                "worker_processes 1;\nhttp {\n  server { listen 80; }\n}\n",
                Some("a file with blocks in braces, as nginx has them"),
            ),
            (
                "example.com {\n  reverse_proxy localhost:3000\n}\n",
                Some("a file with blocks in braces, as nginx has them"),
            ),
            (
                "map $a $b {\n  ~x=1 y;\n}\nset $c \"d=e\";\n",
                Some("a file with blocks in braces, as nginx has them"),
            ),
            (
                "global\n  maxconn 100\nfrontend x\n  bind :80\n",
                Some("another format than TOML"),
            ),
            ("[proxy]\nid: edge\n", None),
            ("[proxy]\nid = edge\n", None),
            ("[proxy\n", None),
            ("= 5\n", None),
            ("a = {\n  b = 1,\n},\n", None),
            ("", None),
        ] {
            assert_eq!(other_than_toml(text), expected, "{text}");
        }
    }
}

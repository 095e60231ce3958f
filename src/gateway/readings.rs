//! What else servers behind us may take a canonical path for. Case is folded where paths are
//! compared: by the route table and by the patterns of rules.

use super::path::{decode_slashes, encoded_slashes, resolve};
use crate::config::without_parameter;

/// What else servers may take a canonical path for: those that decode an escaped slash, that cut
/// parameters (`;v=1`) off its segments, or that take an escaped `?` or `#` for the real one.
pub fn other_readings(path: &str) -> Vec<String> {
    if memchr::memchr2(b'%', b';', path.as_bytes()).is_none() {
        return Vec::new();
    }
    let slashed = decode_slashes(path);
    let mut others = Vec::new();
    let read = std::iter::once(path).chain(slashed.as_deref());
    for other in read.map(cut).chain(slashed.clone()) {
        if other != path && !others.contains(&other) {
            others.push(other);
        }
    }
    others
}

/// Whether a canonical path holds an escaped slash.
pub fn has_encoded_slash(path: &str) -> bool {
    encoded_slashes(path).next().is_some()
}

/// A path without parameters, and without what follows an escaped `?` or `#`.
fn cut(path: &str) -> String {
    let end = ["%3F", "%23"]
        .iter()
        .filter_map(|mark| path.find(mark))
        .min();
    let path = &path[..end.unwrap_or(path.len())];
    let named: Vec<&str> = path.split('/').map(without_parameter).collect();
    let named = named.join("/");
    // No segment has a parameter any more, so nothing is refused.
    resolve(&named).unwrap_or(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_readings_cut_parameters_and_queries_off_and_decode_slashes() {
        let cases: [(&str, &[&str]); 14] = [
            ("/api/x", &[]),
            ("/api/a%20b", &[]),
            ("/api;x/y;z=1", &["/api/y"]),
            ("/;/api", &["/api"]),
            ("/;x/api/", &["/api/"]),
            ("/api%3Bx", &["/api"]),
            ("/api%3Fx/y", &["/api"]),
            ("/api%23x", &["/api"]),
            ("/x;a/api%3F;b", &["/x/api"]),
            ("/api%2Fx", &["/api/x"]),
            ("/a%2fb%2Fc/", &["/a/b/c/"]),
            ("/a;v%2Fb", &["/a", "/a/b", "/a;v/b"]),
            ("/a%3Fv%2Fb", &["/a", "/a%3Fv/b"]),
            ("/a%2F;v/b", &["/a%2F/b", "/a/b", "/a/;v/b"]),
        ];
        for (path, others) in cases {
            assert_eq!(other_readings(path), others, "{path}");
            assert_eq!(
                has_encoded_slash(path),
                path.to_lowercase().contains("%2f"),
                "{path}"
            );
        }
    }
}

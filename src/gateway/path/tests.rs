//! Spellings in, the canonical one or an error out.

use super::*;

#[test]
fn canonical_paths_are_borrowed() {
    for path in ["/", "/api", "/api/", "/a/b.c/d..e/~f", "/a;v=1/b", "/a:b@c"] {
        assert!(
            matches!(canonical(path), Ok(Cow::Borrowed(same)) if same == path),
            "{path}"
        );
    }
}

#[test]
fn spellings_of_one_place_become_one() {
    for (path, expected) in [
        ("//api//x", "/api/x"),
        ("/./api/./x", "/api/x"),
        ("/%61pi/x", "/api/x"),
        ("/x/../api", "/api"),
        ("/x/%2e%2E/api", "/api"),
        ("/x/.%2e/api/.", "/api/"),
        ("/api/x/..", "/api/"),
        ("/api/x/../", "/api/"),
        ("/../../api", "/api"),
        ("/a//../b", "/b"),
        ("/..", "/"),
        ("/%7euser/%c3%a4", "/~user/%C3%A4"),
        ("/a%20b/%3a", "/a%20b/%3A"),
        ("/.hidden/...", "/.hidden/..."),
        ("/a%3bb", "/a%3Bb"),
        ("/100%25/%25zz", "/100%25/%25zz"),
        ("/a%2fb%2Fc/%7e", "/a%2fb%2Fc/~"),
        ("/a%2Fb/", "/a%2Fb/"),
        ("/a%2F.b/c", "/a%2F.b/c"),
    ] {
        assert_eq!(canonical(path).as_deref(), Ok(expected), "{path}");
    }
}

#[test]
fn canonical_form_is_a_fixed_point() {
    for path in ["/a/%2E%2e/./b//c/%41%3f", "/x/y/../..//z/.", "/%2e/%2e%2e/"] {
        let once = canonical(path).unwrap().into_owned();
        assert_eq!(canonical(&once).unwrap(), once, "{path}");
    }
}

#[test]
fn ambiguous_paths_have_no_canonical_form() {
    use PathError::*;
    for (path, error) in [
        ("api", NotAbsolute),
        ("*", NotAbsolute),
        ("", NotAbsolute),
        ("/a\\b", ForbiddenByte),
        ("/a b", ForbiddenByte),
        ("/a#b", ForbiddenByte),
        ("/a\tb", ForbiddenByte),
        ("/a\u{e4}", ForbiddenByte),
        ("/a%2f", EncodedSlash),
        ("/%2fa", EncodedSlash),
        ("/a/%2F/b", EncodedSlash),
        ("/a%2f/b", EncodedSlash),
        ("/a/%2fb", EncodedSlash),
        ("/a%2f%2Fb", EncodedSlash),
        ("/a%2F//", EncodedSlash),
        ("//a%2Fb", EncodedSlash),
        ("/a%2F..", EncodedSlash),
        ("/a%2f../b", EncodedSlash),
        ("/a%2f%2e%2E%2fb", EncodedSlash),
        ("/..%2fa", EncodedSlash),
        ("/.%2fa", EncodedSlash),
        ("/a%2f./b", EncodedSlash),
        ("/a%2fb/../c", EncodedSlash),
        ("/a%2fb/./c", EncodedSlash),
        ("/a/../b%2fc", EncodedSlash),
        ("/a%2f..;x/b", EncodedSlash),
        ("/a%2f.%3bx", EncodedSlash),
        ("/a%5cb", ForbiddenEscape),
        ("/a%00", ForbiddenEscape),
        ("/a%0d%0a", ForbiddenEscape),
        ("/%c0%af", ForbiddenEscape),
        ("/a%", MalformedEscape),
        ("/a%2", MalformedEscape),
        ("/a%zz", MalformedEscape),
        ("/a%u002f", MalformedEscape),
        ("/a%+1", MalformedEscape),
        ("/%e0%80%af", ForbiddenEscape),
        ("/%f0%80%80%af", ForbiddenEscape),
        ("/%252e%252e/x", NestedEscape),
        ("/%25%32%65", NestedEscape),
        ("/%25252e", NestedEscape),
        ("/x/..;/api", DotParameter),
        ("/x/..;a=b/api", DotParameter),
        ("/x/.;/api", DotParameter),
        ("/x/%2e%2e%3b/api", DotParameter),
        ("/x/..%3ba;b/api", DotParameter),
    ] {
        assert_eq!(canonical(path), Err(error), "{path}");
    }
}

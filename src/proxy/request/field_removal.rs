//! Removes fields and leaves the order of all others as it was.

use http::HeaderMap;
use http::header::HeaderName;

/// Removes the fields of these names. The map itself would put its last name in the place of each
/// one that is removed.
pub(crate) fn remove_fields(headers: &mut HeaderMap, mut goes: impl FnMut(&HeaderName) -> bool) {
    let mut names = headers.keys().skip_while(|name| !goes(name));
    let Some(first) = names.next() else { return };
    if names.next().is_none() {
        // It is the last one, as `Connection` of nginx is: nothing takes its place.
        let last = first.clone();
        headers.remove(last);
        return;
    }
    let left = HeaderMap::with_capacity(headers.capacity());
    let mut current = None;
    for (name, value) in std::mem::replace(headers, left) {
        // Only the first value of a name comes with it.
        if let Some(name) = name {
            current = (!goes(&name)).then_some(name);
        }
        if let Some(name) = &current {
            headers.append(name.clone(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_stays_keeps_its_order() {
        let names = ["a", "b", "c", "d", "e", "f"];
        // Each set of names that go, as bits.
        for set in 0..1 << names.len() {
            let goes = |name: &str| {
                let at = names.iter().position(|it| *it == name).unwrap();
                set & 1 << at != 0
            };
            let mut headers = HeaderMap::new();
            for (number, name) in names.iter().chain(&names[1..]).enumerate() {
                headers.append(*name, HeaderValue::from(number));
            }
            let line = |(name, value): (&HeaderName, &HeaderValue)| {
                format!("{name}: {}", value.to_str().unwrap())
            };
            let mut expected: Vec<String> = headers.iter().map(line).collect();
            expected.retain(|line| !goes(&line[..1]));
            remove_fields(&mut headers, |name| goes(name.as_str()));
            let left: Vec<String> = headers.iter().map(line).collect();
            assert_eq!(left, expected, "{set:b}");
        }
    }
}

//! The route table of one network: host, longest whole-segment prefix, method.
//!
//! A look-up costs one hash for each segment of the path, up to the deepest prefix there is,
//! however many routes there are. The hash may be a quick one: no client puts anything into the
//! table.

use foldhash::HashMap;
use http::Method;

/// One place in the table: its routes differ only in their methods.
#[derive(Debug)]
struct Place<T> {
    routes: Vec<(Vec<Method>, T)>,
}

/// The prefixes that one host (or any host) claims.
#[derive(Debug)]
struct Prefixes<T> {
    places: HashMap<Box<str>, Place<T>>,
    /// Segments of the deepest prefix: no look-up goes further, so a path of a million slashes
    /// costs no more.
    depth: usize,
}

/// Routes of one network.
#[derive(Debug)]
pub struct RouteTable<T> {
    hosts: HashMap<Box<str>, Prefixes<T>>,
    any_host: Prefixes<T>,
}

/// What a look-up found.
#[derive(Debug, PartialEq, Eq)]
pub struct Match<'a, T> {
    /// The route; where the method is not served, the first route of the place, whose steps decide
    /// before a 405 says so.
    pub route: &'a T,
    /// The methods of the place, when the one asked for is not among them.
    pub allowed: Option<Vec<&'a Method>>,
}

impl<T> Default for Prefixes<T> {
    fn default() -> Self {
        Self {
            places: HashMap::default(),
            depth: 0,
        }
    }
}

impl<T> Default for RouteTable<T> {
    fn default() -> Self {
        Self {
            hosts: HashMap::default(),
            any_host: Prefixes::default(),
        }
    }
}

impl<T: Clone> RouteTable<T> {
    /// Adds a route. `prefix` is canonical and, unless it is `/` alone, has no trailing slash; no
    /// `hosts` or no `methods` means any. The configuration has made sure that no two routes claim
    /// the same.
    pub fn insert(&mut self, hosts: &[String], prefix: &str, methods: &[Method], route: T) {
        if hosts.is_empty() {
            self.any_host.insert(prefix, methods, route);
            return;
        }
        for host in hosts {
            self.hosts.entry(host.as_str().into()).or_default().insert(
                prefix,
                methods,
                route.clone(),
            );
        }
    }
}

impl<T> RouteTable<T> {
    /// Finds the route of a request. `host` is in lower case and without port; `path` is canonical.
    pub fn find(&self, host: &str, path: &str, method: &Method) -> Option<Match<'_, T>> {
        let place = self
            .hosts
            .get(host)
            .and_then(|prefixes| prefixes.find(path))
            .or_else(|| self.any_host.find(path))?;
        place.select(method)
    }
}

impl<T> Prefixes<T> {
    fn insert(&mut self, prefix: &str, methods: &[Method], route: T) {
        let key = if prefix == "/" { "" } else { prefix };
        self.depth = self.depth.max(key.matches('/').count());
        self.places
            .entry(key.into())
            .or_insert_with(|| Place { routes: Vec::new() })
            .routes
            .push((methods.to_vec(), route));
    }

    fn find(&self, path: &str) -> Option<&Place<T>> {
        if self.places.is_empty() {
            return None;
        }
        let mut end = self.deepest(path);
        loop {
            if let Some(place) = self.places.get(&path[..end]) {
                return Some(place);
            }
            end = path[..end].rfind('/')?;
        }
    }

    /// Where the longest candidate ends: behind as many segments as the deepest prefix has.
    fn deepest(&self, path: &str) -> usize {
        memchr::memchr_iter(b'/', path.as_bytes())
            .nth(self.depth)
            .unwrap_or(path.len())
    }
}

impl<T> Place<T> {
    fn select(&self, method: &Method) -> Option<Match<'_, T>> {
        let serves = |methods: &[Method]| methods.is_empty() || methods.contains(method);
        if let Some((_, route)) = self.routes.iter().find(|(methods, _)| serves(methods)) {
            return Some(Match {
                route,
                allowed: None,
            });
        }
        let (_, route) = self.routes.first()?;
        let allowed = self
            .routes
            .iter()
            .flat_map(|(methods, _)| methods)
            .collect();
        Some(Match {
            route,
            allowed: Some(allowed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(routes: &[(&[&str], &str, &[Method], u32)]) -> RouteTable<u32> {
        let mut table = RouteTable::default();
        for (hosts, prefix, methods, route) in routes {
            let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
            table.insert(&hosts, prefix, methods, *route);
        }
        table
    }

    fn route(table: &RouteTable<u32>, host: &str, path: &str) -> Option<u32> {
        table
            .find(host, path, &Method::GET)
            .map(|found| *found.route)
    }

    #[test]
    fn the_longest_prefix_of_whole_segments_wins() {
        let table = table(&[
            (&[], "/", &[], 0),
            (&[], "/api", &[], 1),
            (&[], "/api/v1/users", &[], 2),
        ]);
        for (path, expected) in [
            ("/", 0),
            ("/apix", 0),
            ("/ap", 0),
            ("/api", 1),
            ("/api/", 1),
            ("/api/v1", 1),
            ("/api/v1/usersx", 1),
            ("/api/v1/users", 2),
            ("/api/v1/users/7/a/b/c", 2),
        ] {
            assert_eq!(route(&table, "h", path), Some(expected), "{path}");
        }
    }

    #[test]
    fn a_named_host_beats_none_and_falls_back() {
        let table = table(&[
            (&[], "/api", &[], 0),
            (&["a.example", "b.example"], "/", &[], 1),
            (&["c.example"], "/only", &[], 2),
        ]);
        assert_eq!(route(&table, "a.example", "/api"), Some(1));
        assert_eq!(route(&table, "b.example", "/x"), Some(1));
        assert_eq!(route(&table, "c.example", "/only/x"), Some(2));
        assert_eq!(route(&table, "c.example", "/api"), Some(0));
        assert_eq!(route(&table, "d.example", "/x"), None);
    }

    #[test]
    fn the_method_decides_last() {
        let table = table(&[
            (&[], "/x", &[Method::GET, Method::HEAD], 1),
            (&[], "/x", &[Method::POST], 2),
            (&[], "/", &[], 0),
        ]);
        let post = table.find("h", "/x/y", &Method::POST).unwrap();
        assert_eq!((post.route, post.allowed), (&2, None));
        let delete = table.find("h", "/x/y", &Method::DELETE).unwrap();
        assert_eq!(delete.route, &1);
        assert_eq!(
            delete.allowed.unwrap(),
            [&Method::GET, &Method::HEAD, &Method::POST]
        );
    }

    #[test]
    fn an_empty_table_finds_nothing() {
        assert_eq!(route(&RouteTable::default(), "h", "/"), None);
    }
}

//! The route table of one network: host, longest whole-segment prefix, method.
//!
//! A look-up costs one hash for each segment of the path, up to the deepest prefix there is,
//! however many routes there are. The hash may be a quick one: no client puts anything into the
//! table. What servers that read a path in another way would take it for is looked for only where a
//! longer prefix could be found that way.

use foldhash::HashMap;
use http::Method;

use super::confusable::ConfusablePrefixes;
use crate::config::PrefixBoundary;

/// What a route claims of a network.
#[derive(Debug, Clone, Copy, Default)]
pub struct RouteSpec<'a> {
    /// In lower case, without ports; none: any host.
    pub hosts: &'a [String],
    /// Canonical and, unless it is `/` alone, without a slash at its end.
    pub prefix: &'a str,
    /// None: every method.
    pub methods: &'a [Method],
    /// Whether its servers tell upper case from lower case in paths.
    pub case_sensitive: bool,
    /// Where they take the prefix to end.
    pub boundary: PrefixBoundary,
}

/// One place in the table: its routes differ only in their methods.
#[derive(Debug)]
struct Place<T> {
    routes: Vec<Entry<T>>,
}

#[derive(Debug)]
struct Entry<T> {
    methods: Vec<Method>,
    case_sensitive: bool,
    route: T,
}

/// The prefixes that one host (or any host) claims.
#[derive(Debug)]
struct Prefixes<T> {
    places: HashMap<Box<str>, Place<T>>,
    /// Segments of the deepest prefix: no look-up goes further, so a path of a million slashes
    /// costs no more.
    depth: usize,
    confusable: ConfusablePrefixes,
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
    /// Another route, which a server would take the request for that folds case in the path or in
    /// the method, or that ends prefixes elsewhere. `None` where the path itself has a prefix in
    /// the table that is at least as long.
    pub confusable: Option<&'a T>,
}

impl<T> Default for Prefixes<T> {
    fn default() -> Self {
        Self {
            places: HashMap::default(),
            depth: 0,
            confusable: ConfusablePrefixes::default(),
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
    /// Adds a route. The configuration has made sure that no two routes claim the same.
    pub fn insert(&mut self, spec: &RouteSpec<'_>, route: T) {
        if spec.hosts.is_empty() {
            self.any_host.insert(spec, route);
            return;
        }
        for host in spec.hosts {
            let prefixes = self.hosts.entry(host.as_str().into()).or_default();
            prefixes.insert(spec, route.clone());
        }
    }
}

impl<T> RouteTable<T> {
    /// Finds the route of a request. `host` is in lower case and without port; `path` is canonical.
    pub fn find(&self, host: &str, path: &str, method: &Method) -> Option<Match<'_, T>> {
        let named = self.hosts.get(host);
        let of_named = named.and_then(|prefixes| prefixes.find(path));
        let (length, place) = of_named.or_else(|| self.any_host.find(path))?;
        let mut found = place.select(method)?;
        if found.confusable.is_none() {
            // Where the host's own prefixes have been left, those of any host count beside them.
            let any_host = of_named.is_none().then_some(&self.any_host);
            let mut prefixes = named.into_iter().chain(any_host);
            found.confusable =
                prefixes.find_map(|prefixes| prefixes.find_confusable(path, length, method));
        }
        Some(found)
    }
}

impl<T> Prefixes<T> {
    fn insert(&mut self, spec: &RouteSpec<'_>, route: T) {
        let key = match spec.prefix {
            "/" => "",
            prefix => prefix,
        };
        self.depth = self.depth.max(key.matches('/').count());
        self.confusable
            .insert(key, spec.case_sensitive, spec.boundary);
        self.places
            .entry(key.into())
            .or_insert_with(|| Place { routes: Vec::new() })
            .routes
            .push(Entry {
                methods: spec.methods.to_vec(),
                case_sensitive: spec.case_sensitive,
                route,
            });
    }

    /// The place of the longest prefix that a path begins with, and that prefix's length.
    fn find(&self, path: &str) -> Option<(usize, &Place<T>)> {
        if self.places.is_empty() {
            return None;
        }
        let mut end = self.deepest(path);
        loop {
            if let Some(place) = self.places.get(&path[..end]) {
                return Some((end, place));
            }
            end = path[..end].rfind('/')?;
        }
    }

    /// The route of a prefix longer than `own` that only other servers take the path to begin with.
    fn find_confusable(&self, path: &str, own: usize, method: &Method) -> Option<&T> {
        if self.confusable.is_empty() || path.len() == own {
            return None;
        }
        let place = |prefix: &str| self.places.get(prefix);
        let folded = self
            .confusable
            .find_folded(&path[..self.deepest(path)], own, |prefix| {
                place(prefix)?.reached(method, |entry| !entry.case_sensitive)
            });
        let entry = folded.or_else(|| {
            let prefix = self.confusable.find_cut(path, own)?;
            place(prefix)?.reached(method, |_| true)
        })?;
        Some(&entry.route)
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
        if let Some(entry) = self.serving(method) {
            let folded = self.serving_folded(method);
            return Some(Match {
                route: &entry.route,
                allowed: None,
                confusable: folded
                    .filter(|other| !std::ptr::eq(*other, entry))
                    .map(|it| &it.route),
            });
        }
        let entries = self.routes.iter();
        Some(Match {
            route: &self.routes.first()?.route,
            allowed: Some(entries.flat_map(|entry| &entry.methods).collect()),
            confusable: None,
        })
    }

    /// Who names the method, else who serves every one.
    fn serving(&self, method: &Method) -> Option<&Entry<T>> {
        let names = |entry: &&Entry<T>| entry.methods.contains(method);
        let mut entries = self.routes.iter();
        entries.find(names).or_else(|| self.serving_all())
    }

    /// The same for a server that folds case; `None` where it makes no difference.
    fn serving_folded(&self, method: &Method) -> Option<&Entry<T>> {
        let asked = method.as_str();
        if !asked.bytes().any(|byte| byte.is_ascii_lowercase()) {
            return None;
        }
        let same = |method: &Method| method.as_str().eq_ignore_ascii_case(asked);
        let mut entries = self.routes.iter();
        let named = entries.find(|entry| entry.methods.iter().any(same));
        named.or_else(|| self.serving_all())
    }

    fn serving_all(&self) -> Option<&Entry<T>> {
        self.routes.iter().find(|entry| entry.methods.is_empty())
    }

    /// A route of the place that `counts` and that a request with this method comes to; where none
    /// serves the method, any of them.
    fn reached(&self, method: &Method, counts: impl Fn(&&Entry<T>) -> bool) -> Option<&Entry<T>> {
        let serving = [self.serving(method), self.serving_folded(method)];
        let mut serving = serving.into_iter().flatten().peekable();
        match serving.peek() {
            Some(_) => serving.find(counts),
            None => self.routes.iter().find(counts),
        }
    }
}

#[cfg(test)]
mod tests;

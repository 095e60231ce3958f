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
    /// In lower case, without ports, or `*.NAME` for what is below a name; none: any host.
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

/// The routes of one prefix, which differ only in their methods.
#[derive(Debug)]
struct PrefixEntry<T> {
    routes: Vec<MethodEntry<T>>,
}

#[derive(Debug)]
struct MethodEntry<T> {
    methods: Vec<Method>,
    case_sensitive: bool,
    route: T,
}

/// The prefixes that one host (or any host) claims.
#[derive(Debug)]
struct Prefixes<T> {
    entries: HashMap<Box<str>, PrefixEntry<T>>,
    /// Segments of the deepest prefix: no look-up goes further, so a path of a million slashes
    /// costs no more.
    depth: usize,
    confusable: ConfusablePrefixes,
}

/// Routes of one network.
#[derive(Debug)]
pub struct RouteTable<T> {
    hosts: HashMap<Box<str>, Prefixes<T>>,
    /// By the names that they are below of.
    wildcards: HashMap<Box<str>, Prefixes<T>>,
    /// Labels of the longest of these names: no look-up goes further.
    wildcard_labels: usize,
    any_host: Prefixes<T>,
}

/// What a look-up found.
#[derive(Debug, PartialEq, Eq)]
pub struct Match<'a, T> {
    /// The route; where the method is not served, the first route of the prefix, whose steps decide
    /// before a 405 says so.
    pub route: &'a T,
    /// The methods of the prefix, when the one asked for is not among them.
    pub allowed: Option<Vec<&'a Method>>,
    /// Another route, which a server would take the request for that folds case in the path or in
    /// the method, or that ends prefixes elsewhere. `None` where the path itself has a prefix in
    /// the table that is at least as long.
    pub confusable: Option<&'a T>,
}

impl<T> Default for Prefixes<T> {
    fn default() -> Self {
        Self {
            entries: HashMap::default(),
            depth: 0,
            confusable: ConfusablePrefixes::default(),
        }
    }
}

impl<T> Default for RouteTable<T> {
    fn default() -> Self {
        Self {
            hosts: HashMap::default(),
            wildcards: HashMap::default(),
            wildcard_labels: 0,
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
            let prefixes = match host.strip_prefix("*.") {
                Some(name) => {
                    let labels = name.split('.').count();
                    self.wildcard_labels = self.wildcard_labels.max(labels);
                    self.wildcards.entry(name.into())
                }
                None => self.hosts.entry(host.as_str().into()),
            };
            prefixes.or_default().insert(spec, route.clone());
        }
    }
}

impl<T> RouteTable<T> {
    /// Finds the route of a request. `host` is in lower case and without port; `path` is canonical.
    pub fn find(&self, host: &str, path: &str, method: &Method) -> Option<Match<'_, T>> {
        let named = self.hosts.get(host).into_iter();
        let levels = named
            .chain(self.wildcard_levels(host))
            .chain([&self.any_host]);
        let mut candidates = levels.clone().enumerate();
        let (level, length, entry) = candidates.find_map(|(level, prefixes)| {
            let (length, entry) = prefixes.find(path)?;
            Some((level, length, entry))
        })?;
        let mut found = entry.select(method)?;
        if found.confusable.is_none() {
            // Where the prefixes of a better host have been left, those behind count beside them.
            let mut passed = levels.take(level + 1);
            found.confusable =
                passed.find_map(|prefixes| prefixes.find_confusable(path, length, method));
        }
        Some(found)
    }

    /// The prefixes of the names that a host is below of, by one label or more: those of the
    /// longest name first.
    fn wildcard_levels<'t, 'h>(
        &'t self,
        host: &'h str,
    ) -> impl Iterator<Item = &'t Prefixes<T>> + Clone + use<'t, 'h, T> {
        let mut dots = memchr::memrchr_iter(b'.', host.as_bytes()).take(self.wildcard_labels);
        let first = dots.by_ref().last();
        // A label without a character is none.
        let first = first.filter(|_| host.split('.').all(|label| !label.is_empty()));
        let names = first.into_iter().flat_map(move |first| {
            let dots = memchr::memchr_iter(b'.', &host.as_bytes()[first..]);
            dots.map(move |dot| &host[first + dot + 1..])
        });
        names.filter_map(|name| self.wildcards.get(name))
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
        self.entries
            .entry(key.into())
            .or_insert_with(|| PrefixEntry { routes: Vec::new() })
            .routes
            .push(MethodEntry {
                methods: spec.methods.to_vec(),
                case_sensitive: spec.case_sensitive,
                route,
            });
    }

    /// The entry of the longest prefix that a path begins with, and that prefix's length.
    fn find(&self, path: &str) -> Option<(usize, &PrefixEntry<T>)> {
        if self.entries.is_empty() {
            return None;
        }
        let mut end = self.deepest(path);
        loop {
            if let Some(entry) = self.entries.get(&path[..end]) {
                return Some((end, entry));
            }
            end = path[..end].rfind('/')?;
        }
    }

    /// The route of a prefix longer than `own` that only other servers take the path to begin with.
    fn find_confusable(&self, path: &str, own: usize, method: &Method) -> Option<&T> {
        if self.confusable.is_empty() || path.len() == own {
            return None;
        }
        let entry_of = |prefix: &str| self.entries.get(prefix);
        let folded = self
            .confusable
            .find_folded(&path[..self.deepest(path)], own, |prefix| {
                entry_of(prefix)?.reachable_entry(method, |entry| !entry.case_sensitive)
            });
        let entry = folded.or_else(|| {
            let prefix = self.confusable.find_cut(path, own)?;
            entry_of(prefix)?.reachable_entry(method, |_| true)
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

impl<T> PrefixEntry<T> {
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
    fn serving(&self, method: &Method) -> Option<&MethodEntry<T>> {
        let names = |entry: &&MethodEntry<T>| entry.methods.contains(method);
        let mut entries = self.routes.iter();
        entries.find(names).or_else(|| self.serving_all())
    }

    /// The same for a server that folds case; `None` where it makes no difference.
    fn serving_folded(&self, method: &Method) -> Option<&MethodEntry<T>> {
        let asked = method.as_str();
        if !asked.bytes().any(|byte| byte.is_ascii_lowercase()) {
            return None;
        }
        let same = |method: &Method| method.as_str().eq_ignore_ascii_case(asked);
        let mut entries = self.routes.iter();
        let named = entries.find(|entry| entry.methods.iter().any(same));
        named.or_else(|| self.serving_all())
    }

    fn serving_all(&self) -> Option<&MethodEntry<T>> {
        self.routes.iter().find(|entry| entry.methods.is_empty())
    }

    /// A route of the prefix that `counts` and that a request with this method comes to; where none
    /// serves the method, any of them.
    fn reachable_entry(
        &self,
        method: &Method,
        counts: impl Fn(&&MethodEntry<T>) -> bool,
    ) -> Option<&MethodEntry<T>> {
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

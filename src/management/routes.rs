//! The table of what the Management API answers to. Which route does what stands in `mod`; who may
//! call, in `access_control`.

use http::Method;

/// What a call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Authorize,
    Backends,
    Connections,
    Deauthorize,
    DeleteRevocation,
    Discard,
    Drain,
    Enable,
    History,
    Info,
    LogLevel,
    Metrics,
    Page,
    Pipelines,
    RefreshKeys,
    Reload,
    Revocations,
    Revoke,
    Routes,
    ConfigStatus,
    Token,
    Update,
    Status,
}

/// Where a route answers besides the base path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alias {
    /// Nowhere.
    No,
    /// Under `/api`: the published client calls these there, whatever the base path is.
    Api,
    /// At the root, where scrapers expect it.
    Root,
}

/// A path that ends in a slash, other than `/`, stands for any name below it.
const TABLE: &[(&str, Alias, Method, Route)] = &[
    ("", Alias::No, Method::GET, Route::Page),
    ("/", Alias::No, Method::GET, Route::Page),
    ("/authorize", Alias::No, Method::POST, Route::Authorize),
    ("/backends", Alias::No, Method::GET, Route::Backends),
    ("/cloud/discard", Alias::No, Method::POST, Route::Discard),
    (
        "/config/status",
        Alias::Api,
        Method::GET,
        Route::ConfigStatus,
    ),
    ("/connections", Alias::No, Method::GET, Route::Connections),
    ("/deauthorize", Alias::No, Method::POST, Route::Deauthorize),
    ("/info", Alias::No, Method::GET, Route::Info),
    ("/keys/refresh", Alias::No, Method::POST, Route::RefreshKeys),
    ("/log-level", Alias::No, Method::POST, Route::LogLevel),
    ("/metrics", Alias::Root, Method::GET, Route::Metrics),
    ("/pipelines", Alias::No, Method::GET, Route::Pipelines),
    ("/reload", Alias::Api, Method::POST, Route::Reload),
    ("/revocations", Alias::No, Method::GET, Route::Revocations),
    ("/revocations", Alias::No, Method::POST, Route::Revoke),
    (
        "/revocations/",
        Alias::No,
        Method::DELETE,
        Route::DeleteRevocation,
    ),
    ("/routes", Alias::No, Method::GET, Route::Routes),
    ("/status", Alias::No, Method::GET, Route::Status),
    ("/status/history", Alias::No, Method::GET, Route::History),
    ("/token", Alias::No, Method::POST, Route::Token),
    ("/update", Alias::No, Method::POST, Route::Update),
    ("/upstreams/drain", Alias::No, Method::POST, Route::Drain),
    ("/upstreams/enable", Alias::No, Method::POST, Route::Enable),
];

/// Why no route answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RouteError {
    /// There is nothing at this path.
    Unknown,
    /// There is, for these methods.
    Method(&'static str),
}

/// Finds the route of a path. `base` is `/admin`, say.
pub(super) fn find(base: &str, path: &str, method: &Method) -> Result<Route, RouteError> {
    let own = path.strip_prefix(base);
    let api = path.strip_prefix("/api");
    let found = TABLE.iter().filter(|(name, also, ..)| match also {
        _ if own == Some(name) => name.len() <= 1 || !name.ends_with('/'),
        Alias::No => own.is_some_and(|own| is_below(own, name)),
        Alias::Api => api == Some(name),
        Alias::Root => path == *name,
    });
    let fits = |expected: &Method| {
        method == expected || (method == Method::HEAD && expected == Method::GET)
    };
    let mut expected = Vec::new();
    for (_, _, method, route) in found {
        if fits(method) {
            return Ok(*route);
        }
        expected.push(method);
    }
    Err(match expected[..] {
        [] => RouteError::Unknown,
        [&Method::GET] => RouteError::Method("GET, HEAD"),
        [&Method::POST] => RouteError::Method("POST"),
        [&Method::DELETE] => RouteError::Method("DELETE"),
        _ => RouteError::Method("GET, HEAD, POST"),
    })
}

/// Whether a path is a name below one that ends in a slash.
fn is_below(path: &str, name: &str) -> bool {
    let below = path
        .strip_prefix(name)
        .filter(|_| name.len() > 1 && name.ends_with('/'));
    below.is_some_and(|below| !below.is_empty() && !below.contains('/'))
}

impl Route {
    /// Whether it answers 403 while Runbeam is off.
    pub(super) fn needs_runbeam(self) -> bool {
        matches!(self, Self::Authorize | Self::Token | Self::Update)
    }

    /// Whether programs ask for it again and again: of these calls, the audit log tells of those
    /// only that are refused.
    pub(super) fn is_polled(self) -> bool {
        matches!(
            self,
            Self::History | Self::Metrics | Self::Page | Self::Status
        )
    }

    /// Whether it changes anything, so that who asked for it is logged.
    pub(super) fn changes(self) -> bool {
        !matches!(
            self,
            Self::Backends
                | Self::Connections
                | Self::History
                | Self::Info
                | Self::Metrics
                | Self::Page
                | Self::Pipelines
                | Self::Revocations
                | Self::Routes
                | Self::ConfigStatus
                | Self::Status
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_where_it_belongs() {
        let find = |method: Method, path: &str| find("/admin", path, &method);
        for (path, route) in [
            ("/admin", Ok(Route::Page)),
            ("/admin/", Ok(Route::Page)),
            ("/admin/status", Ok(Route::Status)),
            ("/admin/info", Ok(Route::Info)),
            ("/admin/backends", Ok(Route::Backends)),
            ("/api/backends", Err(RouteError::Unknown)),
            ("/admin/metrics", Ok(Route::Metrics)),
            ("/metrics", Ok(Route::Metrics)),
            ("/api/config/status", Ok(Route::ConfigStatus)),
            ("/admin/config/status", Ok(Route::ConfigStatus)),
            ("/info", Err(RouteError::Unknown)),
            ("/api/info", Err(RouteError::Unknown)),
            ("/api/metrics", Err(RouteError::Unknown)),
            ("/adminx/info", Err(RouteError::Unknown)),
            ("/admin/info/", Err(RouteError::Unknown)),
            ("/", Err(RouteError::Unknown)),
            ("/status", Err(RouteError::Unknown)),
            ("/admin/reload", Err(RouteError::Method("POST"))),
        ] {
            assert_eq!(find(Method::GET, path), route, "{path}");
        }
        assert_eq!(find(Method::POST, "/api/reload"), Ok(Route::Reload));
        assert_eq!(find(Method::HEAD, "/admin/info"), Ok(Route::Info));
        for (method, path, route) in [
            (Method::GET, "/admin/revocations", Ok(Route::Revocations)),
            (Method::POST, "/admin/revocations", Ok(Route::Revoke)),
            (
                Method::PUT,
                "/admin/revocations",
                Err(RouteError::Method("GET, HEAD, POST")),
            ),
            (
                Method::DELETE,
                "/admin/revocations/ab",
                Ok(Route::DeleteRevocation),
            ),
            (
                Method::GET,
                "/admin/revocations/ab",
                Err(RouteError::Method("DELETE")),
            ),
            (
                Method::DELETE,
                "/admin/revocations/",
                Err(RouteError::Unknown),
            ),
            (
                Method::DELETE,
                "/admin/revocations/a/b",
                Err(RouteError::Unknown),
            ),
        ] {
            assert_eq!(find(method, path), route, "{path}");
        }
        let refused = Err(RouteError::Method("GET, HEAD"));
        assert_eq!(find(Method::POST, "/admin/info"), refused);
        assert_eq!(
            find(Method::HEAD, "/admin/reload"),
            Err(RouteError::Method("POST"))
        );
    }

    #[test]
    fn only_a_post_and_a_delete_change_anything() {
        for (path, _, method, route) in TABLE {
            assert_eq!(route.changes(), *method != Method::GET, "{path}");
        }
    }
}

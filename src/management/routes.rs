//! The table of what the Management API answers to. Which route does what stands in `mod`; who may call, in `guard`.

use http::Method;

/// What a call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Metrics,
    Page,
    Reload,
    Status,
    Watch,
}

/// Where a route answers besides the base path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Also {
    /// Nowhere.
    No,
    /// Under `/api`: the published client calls these there, whatever the base path is.
    Api,
    /// At the root, where scrapers expect it.
    Root,
}

const TABLE: &[(&str, Also, Method, Route)] = &[
    ("", Also::No, Method::GET, Route::Page),
    ("/", Also::No, Method::GET, Route::Page),
    ("/config/status", Also::Api, Method::GET, Route::Status),
    ("/metrics", Also::Root, Method::GET, Route::Metrics),
    ("/reload", Also::Api, Method::POST, Route::Reload),
    ("/status", Also::No, Method::GET, Route::Watch),
];

/// Why no route answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unrouted {
    /// There is nothing at this path.
    Unknown,
    /// There is, for these methods.
    Method(&'static str),
}

/// Finds the route of a path. `base` is `/admin`, say.
pub(super) fn find(base: &str, path: &str, method: &Method) -> Result<Route, Unrouted> {
    let own = path.strip_prefix(base);
    let api = path.strip_prefix("/api");
    let found = TABLE.iter().find(|(name, also, ..)| match also {
        _ if own == Some(name) => true,
        Also::No => false,
        Also::Api => api == Some(name),
        Also::Root => path == *name,
    });
    let Some((_, _, expected, route)) = found else {
        return Err(Unrouted::Unknown);
    };
    if method == expected || (method == Method::HEAD && expected == Method::GET) {
        return Ok(*route);
    }
    Err(Unrouted::Method(if *expected == Method::GET {
        "GET, HEAD"
    } else {
        "POST"
    }))
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
            ("/admin/status", Ok(Route::Watch)),
            ("/admin/metrics", Ok(Route::Metrics)),
            ("/metrics", Ok(Route::Metrics)),
            ("/api/config/status", Ok(Route::Status)),
            ("/admin/config/status", Ok(Route::Status)),
            ("/", Err(Unrouted::Unknown)),
            ("/status", Err(Unrouted::Unknown)),
            ("/api/metrics", Err(Unrouted::Unknown)),
            ("/adminx/status", Err(Unrouted::Unknown)),
            ("/admin/status/", Err(Unrouted::Unknown)),
            ("/admin/reload", Err(Unrouted::Method("POST"))),
        ] {
            assert_eq!(find(Method::GET, path), route, "{path}");
        }
        assert_eq!(find(Method::POST, "/api/reload"), Ok(Route::Reload));
        assert_eq!(find(Method::HEAD, "/admin/"), Ok(Route::Page));
        let refused = Err(Unrouted::Method("GET, HEAD"));
        assert_eq!(find(Method::POST, "/admin/status"), refused);
    }
}

//! The route of a request: by network, host, canonical path and method, and by every other reading
//! of its path.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use pingora_proxy::Session;

use super::context::Context;
use super::head::Head;
use super::rejection::Rejection;
use crate::gateway::{self, Gateway, Match, PathError, Route};
use crate::policy::preflighted_method;

/// What answers a request.
pub(super) enum Destination<'g> {
    /// The edge, with what a pipeline publishes of itself.
    ResourceDocument(&'g Bytes),
    /// The pipeline of this route.
    Route {
        matched: Match<'g, Arc<Route>>,
        /// Whether it is a CORS preflight.
        is_preflight: bool,
    },
}

/// Finds what answers a request, and notes what else its path may be read as.
pub(super) fn find<'g>(
    gateway: &'g Gateway,
    session: &Session,
    ctx: &mut Context,
    head: &Head,
) -> Result<Destination<'g>, Rejection> {
    let path = ctx.path.as_deref().unwrap_or_default();
    let request = session.req_header();
    let local = ctx.connection.local;
    let host = head.host();
    let preflighted = preflighted_method(&request.method, &request.headers);
    let document = local.and_then(|local| gateway.resource_document(local, &host, path));
    if let Some(document) = document {
        return match *preflighted.as_ref().unwrap_or(&request.method) {
            Method::GET | Method::HEAD => Ok(Destination::ResourceDocument(document)),
            _ => {
                let allowed = [&Method::GET, &Method::HEAD];
                Err(Rejection::method_not_allowed(&allowed))
            }
        };
    }
    let routes = local.and_then(|local| gateway.routes(local));
    let find = |path: &str| {
        let by = |method: &Method| routes.and_then(|routes| routes.find(&host, path, method));
        match &preflighted {
            None => by(&request.method),
            Some(asked) => route_of_preflight(by(&Method::OPTIONS), || by(asked)),
        }
    };
    let matched = find(path).ok_or_else(Rejection::not_found)?;
    if matched.confusable.is_some() {
        return Err(PathError::ConfusableRoute.into());
    }
    let route = matched.route;
    ctx.other_paths = gateway::other_readings(path);
    for other in &ctx.other_paths {
        let same = find(other)
            .is_some_and(|other| Arc::ptr_eq(other.route, route) && other.confusable.is_none());
        if !same {
            return Err(PathError::AmbiguousRoute.into());
        }
    }
    if !ctx.other_paths.is_empty()
        && route.pipeline.settings.reject_encoded_slashes
        && gateway::has_encoded_slash(path)
    {
        return Err(PathError::EncodedSlash.into());
    }
    let is_preflight = preflighted.is_some();
    Ok(Destination::Route {
        matched,
        is_preflight,
    })
}

/// The route of a preflight: that of the method that it asks for, if pages of other origins may use
/// it, unless a route at the same place names OPTIONS.
fn route_of_preflight<'r>(
    own: Option<Match<'r, Arc<Route>>>,
    asked: impl FnOnce() -> Option<Match<'r, Arc<Route>>>,
) -> Option<Match<'r, Arc<Route>>> {
    let names_options = |route: &Route| route.endpoint.methods.contains(&Method::OPTIONS);
    let is_named = own.as_ref().is_some_and(|own| names_options(own.route));
    if is_named && own.as_ref().is_some_and(|own| own.allowed.is_none()) {
        return own;
    }
    asked()
        .filter(|asked| asked.route.pipeline.cors().is_some())
        .or(own)
}

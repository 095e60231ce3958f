//! `GET /connections`: those that are open, of clients and to upstreams, and why others were
//! closed.

use std::sync::atomic::Ordering;

use serde_json::{Map, Value, json};

use super::response::ApiResponse;
use crate::gateway::Live;

/// By network, and by backend.
pub(super) fn answer(live: &Live) -> ApiResponse {
    let config = live.config();
    let networks = config.networks.iter().map(|network| {
        let metrics = live.metrics().network(&network.name);
        let closed: Map<String, Value> = metrics
            .closed()
            .into_iter()
            .map(|(reason, count)| (reason.to_owned(), count.into()))
            .collect();
        json!({
            "network": &*network.name,
            "address": network.bind.to_string(),
            "open": metrics.open.load(Ordering::Relaxed),
            "closed": closed,
        })
    });
    let backends = live.backends();
    let backends = backends.iter().map(|backend| {
        let in_flight = backend.upstreams.iter().map(|one| one.health.in_flight);
        json!({
            "backend": &*backend.name,
            "open": backend.connections,
            "requests_in_flight": in_flight.sum::<usize>(),
        })
    });
    ApiResponse::ok(&json!({
        "clients": networks.collect::<Vec<Value>>(),
        "upstreams": backends.collect::<Vec<Value>>(),
    }))
}

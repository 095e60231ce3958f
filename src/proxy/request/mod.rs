//! A request until it is forwarded or answered: its head, who may send it where, and why it goes no
//! further.

pub(crate) mod admission;
mod authority;
pub(crate) mod body;
pub(crate) mod body_rate;
mod client;
pub(crate) mod client_address;
pub(crate) mod client_stream;
pub(crate) mod client_url;
pub(crate) mod context;
pub(crate) mod debug_log;
pub(crate) mod field_removal;
pub(crate) mod forwarded;
pub(crate) mod grpc;
pub(crate) mod head;
pub(crate) mod header_rules;
pub(crate) mod hop_by_hop;
pub(crate) mod id;
pub(crate) mod record;
pub(crate) mod rejection;
pub(crate) mod reserved_headers;
mod routing;
mod selection;
pub(crate) mod send_half;
pub(crate) mod shadow;
mod stages;
pub(crate) mod trace_context;

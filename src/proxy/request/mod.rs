//! A request until it is forwarded or answered: its head, who may send it where, and the answer to
//! one that goes no further.

pub(crate) mod admission;
pub(crate) mod client_address;
pub(crate) mod context;
pub(crate) mod head;
pub(crate) mod record;
pub(crate) mod rejection;
pub(crate) mod reserved_headers;

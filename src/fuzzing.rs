//! What `fuzz/` needs of private functions. cargo-fuzz alone builds it, so the library's interface
//! does not grow.
//!
//! Every room gives what it has in a `fuzzing` of its own; nothing is decided there.

pub use crate::auth::fuzzing::{
    Proven, bearer_token, discovery_document, dpop_proof, htpasswd, introspection_answer, key_set,
    logout_token, revocation_log, security_event, user_and_password,
};
pub use crate::listener::fuzzing::request_end;
pub use crate::management::fuzzing::{authorize_body, token_body};
pub use crate::proxy::fuzzing::{Head, forwarded_address, request_head, upstream_target};
pub use runbeam_sdk::fuzzing::{exact_origin, named_origin, printable};

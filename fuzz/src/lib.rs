//! What the targets share: a model of what stands behind the edge, and an issuer with keys.

pub mod issuer;
pub mod nginx;

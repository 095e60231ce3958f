//! gRPC: what its clients are told when the edge rejects a call.

mod rejections;

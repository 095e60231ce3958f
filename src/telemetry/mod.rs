//! The log, its access records, and the counters behind the metrics.
//!
//! Nothing here knows of the other rooms; they pass plain values.

pub mod access;
mod escape;
mod log_file;
mod logger;
mod metrics;
pub mod spans;
mod writer;

pub use logger::{LogSettings, start};
pub use metrics::{
    BOUNDS, BackendMetrics, Histogram, HistogramSnapshot, Metrics, NetworkMetrics, PipelineMetrics,
    ShadowMetrics,
};
pub use writer::LogWriter;

//! The log, its access records, and the counters behind the metrics.
//!
//! Nothing here knows of the other rooms; they pass plain values.

pub mod access;
pub mod audit;
mod escape;
mod log_file;
mod logger;
mod metrics;
mod open;
pub mod spans;
mod writer;

pub use logger::{LogSettings, configure_level, set_level, start};
pub use metrics::{
    BOUNDS, BackendMetrics, Histogram, HistogramSnapshot, Metrics, NetworkMetrics, PipelineMetrics,
    ShadowMetrics,
};
pub use open::LogError;
pub use writer::LogWriter;

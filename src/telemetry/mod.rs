//! What goes on, for those who run it: the log and its access records, and counters.
//!
//! Nothing here knows of the other rooms; they hand over plain values.

pub mod access;
mod log_file;
mod logger;
mod metrics;
mod writer;

pub use logger::{LogSettings, start};
pub use metrics::{
    BOUNDS, BackendMetrics, Histogram, HistogramSnapshot, Metrics, NetworkMetrics, PipelineMetrics,
};
pub use writer::LogWriter;

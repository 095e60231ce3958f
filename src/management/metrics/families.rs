//! Metric families in the making. The text is the encoder's of the `prometheus` crate, which knows
//! what must be escaped.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::TextEncoder;
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

use crate::telemetry::{BOUNDS, HistogramSnapshot};

/// Names and values of labels.
pub(super) type Labels = Vec<(&'static str, String)>;

/// Families, in the order in which they were added.
#[derive(Default)]
pub(super) struct Families(Vec<MetricFamily>);

impl Families {
    pub(super) fn counter(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, f64)>,
    ) {
        self.add(name, help, MetricType::COUNTER, samples, |metric, value| {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        });
    }

    pub(super) fn gauge(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, f64)>,
    ) {
        self.add(name, help, MetricType::GAUGE, samples, |metric, value| {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        });
    }

    pub(super) fn histogram(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, HistogramSnapshot)>,
    ) {
        self.add(
            name,
            help,
            MetricType::HISTOGRAM,
            samples,
            |metric, observed| {
                let bucket = |(bound, count)| {
                    let mut bucket = Bucket::default();
                    bucket.set_upper_bound(bound);
                    bucket.set_cumulative_count(count);
                    bucket
                };
                let mut histogram = Histogram::default();
                histogram.set_bucket(
                    BOUNDS
                        .into_iter()
                        .zip(observed.cumulative)
                        .map(bucket)
                        .collect(),
                );
                histogram.set_sample_count(observed.count());
                histogram.set_sample_sum(observed.sum);
                metric.set_histogram(histogram);
            },
        );
    }

    /// Two samples with the same labels would spoil the whole scrape: the first one counts.
    fn add<T>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        samples: impl IntoIterator<Item = (Labels, T)>,
        set: impl Fn(&mut Metric, T),
    ) {
        let mut metrics = BTreeMap::new();
        for (labels, value) in samples {
            metrics.entry(labels).or_insert_with_key(|labels| {
                let mut metric = Metric::from_label(labels.iter().map(label).collect());
                set(&mut metric, value);
                metric
            });
        }
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics.into_values().collect());
        self.0.push(family);
    }

    /// The families in the text format.
    pub(super) fn into_text(self) -> String {
        let mut text = String::new();
        for family in self.0 {
            if family.get_metric().is_empty() {
                // The encoder refuses it; the format does not. Neither name nor help comes from
                // outside.
                let kind = format!("{:?}", family.get_field_type()).to_lowercase();
                let (name, help) = (family.name(), family.help());
                let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            } else if let Err(error) = TextEncoder::new().encode_utf8(&[family], &mut text) {
                log::error!("a metric cannot be written: {error}");
            }
        }
        text
    }
}

fn label((name, value): &(&'static str, String)) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name((*name).to_owned());
    pair.set_value(value.clone());
    pair
}

/// Prometheus counts in doubles; above 2^53 a count loses its last digits.
#[allow(clippy::cast_precision_loss, reason = "see above")]
pub(super) fn count(value: u64) -> f64 {
    value as f64
}

pub(super) fn size(value: usize) -> f64 {
    count(u64::try_from(value).unwrap_or(u64::MAX))
}

pub(super) fn flag(value: bool) -> f64 {
    f64::from(u8::from(value))
}

/// Unix time, in seconds.
pub(in crate::management) fn unix(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Histogram;

    #[test]
    fn labels_are_escaped_and_never_twice() {
        let mut families = Families::default();
        let label = |value: &str| vec![("a", value.to_owned())];
        families.counter(
            "x_total",
            "Help.",
            [
                (label("q\"\\\n"), 2.0),
                (label("b"), 1.0),
                (label("b"), 7.0),
            ],
        );
        families.gauge("y", "None.", []);
        assert_eq!(
            families.into_text(),
            "# HELP x_total Help.\n# TYPE x_total counter\nx_total{a=\"b\"} 1\n\
             x_total{a=\"q\\\"\\\\\\n\"} 2\n# HELP y None.\n# TYPE y gauge\n"
        );
    }

    #[test]
    fn a_histogram_has_buckets_sum_and_count() {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_millis(2));
        histogram.observe(Duration::from_secs(60));
        let mut families = Families::default();
        families.histogram(
            "d_seconds",
            "Help.",
            [(vec![("p", "api".to_owned())], histogram.snapshot())],
        );
        let text = families.into_text();
        for line in [
            "# TYPE d_seconds histogram",
            "d_seconds_bucket{p=\"api\",le=\"0.001\"} 0",
            "d_seconds_bucket{p=\"api\",le=\"0.0025\"} 1",
            "d_seconds_bucket{p=\"api\",le=\"30\"} 1",
            "d_seconds_bucket{p=\"api\",le=\"+Inf\"} 2",
            "d_seconds_sum{p=\"api\"} 60.002",
            "d_seconds_count{p=\"api\"} 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }
}

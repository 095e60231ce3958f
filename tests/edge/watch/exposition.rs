//! A strict reader of the Prometheus text format, version 0.0.4: what a scraper would only shrug at
//! is an error here.

use std::collections::{BTreeMap, BTreeSet};

/// The samples of a scrape, by their whole name with labels in the order of the alphabet.
pub struct Exposition {
    types: BTreeMap<String, String>,
    samples: BTreeMap<String, f64>,
}

impl Exposition {
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line ends");
        let (mut types, mut samples) = (BTreeMap::new(), BTreeMap::new());
        let (mut helped, mut current) = (BTreeSet::new(), String::new());
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').unwrap_or_else(|| panic!("{line}"));
                assert!(
                    is_name(name) && !help.is_empty() && helped.insert(name.to_owned()),
                    "{line}"
                );
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap_or_else(|| panic!("{line}"));
                assert!(
                    helped.contains(name) && ["counter", "gauge", "histogram"].contains(&kind),
                    "{line}"
                );
                assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
                assert_eq!(types.insert(name.to_owned(), kind.to_owned()), None, "{line}");
                current = name.to_owned();
            } else {
                let (name, labels, value) =
                    sample(line).unwrap_or_else(|| panic!("not a sample: {line}"));
                let own = match types[&current].as_str() {
                    "histogram" => ["_bucket", "_sum", "_count"]
                        .iter()
                        .any(|end| name.strip_suffix(end) == Some(&current)),
                    _ => name == current,
                };
                assert!(own, "{line} stands under {current}");
                let key = key(name, &labels);
                assert_eq!(samples.insert(key, value), None, "twice: {line}");
            }
        }
        let all = Self { types, samples };
        all.check_histograms();
        all
    }

    /// The value of a sample, written as it stands in the text, but with labels in the order of the
    /// alphabet; 0 where it is absent.
    pub fn value(&self, sample: &str) -> f64 {
        self.samples.get(sample).copied().unwrap_or_default()
    }

    #[track_caller]
    pub fn assert(&self, sample: &str, expected: f64) {
        assert_eq!(self.samples.get(sample), Some(&expected), "{sample}: {:#?}", self.samples);
    }

    /// The samples whose names begin so.
    pub fn beginning(&self, start: &str) -> Vec<&str> {
        self.samples.keys().map(String::as_str).filter(|name| name.starts_with(start)).collect()
    }

    /// The names of the series that a query may ask for, with or without samples.
    pub fn names(&self) -> BTreeSet<String> {
        let parts = |name: &String, kind: &String| match kind.as_str() {
            "histogram" => ["_bucket", "_sum", "_count"].map(|end| format!("{name}{end}")).to_vec(),
            _ => vec![name.clone()],
        };
        self.types.iter().flat_map(|(name, kind)| parts(name, kind)).collect()
    }

    fn check_histograms(&self) {
        for (name, _) in self.types.iter().filter(|(_, kind)| *kind == "histogram") {
            let mut series: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
            for (sample, value) in &self.samples {
                let Some(rest) = sample.strip_prefix(&format!("{name}_bucket{{")) else {
                    continue;
                };
                let (bound, others) = rest
                    .trim_end_matches('}')
                    .split(',')
                    .partition::<Vec<&str>, _>(|label| label.starts_with("le="));
                let bound = bound[0].trim_start_matches("le=\"").trim_end_matches('"');
                series
                    .entry(others.join(","))
                    .or_default()
                    .push((bound.parse().unwrap_or(f64::INFINITY), *value));
            }
            for (labels, mut buckets) in series {
                buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
                assert!(
                    buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1),
                    "{name} {labels}: {buckets:?}"
                );
                let last = buckets.last().unwrap();
                assert_eq!(
                    (last.0, last.1),
                    (f64::INFINITY, self.value(&format!("{name}_count{{{labels}}}"))),
                    "{name} {labels}"
                );
            }
        }
    }
}

fn key(name: &str, labels: &BTreeMap<String, String>) -> String {
    let labels: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    if labels.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", labels.join(",")) }
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Takes a line apart; `None` where it is no sample. Values of labels keep their escapes.
fn sample(line: &str) -> Option<(&str, BTreeMap<String, String>, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"")?;
            let mut escaped = false;
            let close = after.char_indices().find(|(_, character)| {
                let closes = !escaped && *character == '"';
                escaped = !escaped && *character == '\\';
                closes
            });
            let (value, after) = after.split_at(close?.0);
            if !is_name(label) || labels.insert(label.to_owned(), value.to_owned()).is_some() {
                return None;
            }
            rest = &after[1..];
            match rest.strip_prefix(',') {
                Some(next) => rest = next,
                None => break,
            }
        }
        rest = rest.strip_prefix('}')?;
    }
    let value = rest.strip_prefix(' ')?;
    (is_name(name) && !value.contains(' ')).then_some(())?;
    Some((name, labels, value.parse().ok()?))
}

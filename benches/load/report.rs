//! One table, and one picture of it.

use std::fmt::Write as _;

use crate::cases::{Measured, Sample};

/// Everything that was measured.
pub struct Report {
    rounds: usize,
    seconds: usize,
    missing: Vec<&'static str>,
    cases: Vec<(&'static str, Vec<Row>)>,
    lines: Vec<String>,
}

/// Medians of a contestant's rounds.
struct Row {
    name: &'static str,
    throughput: f64,
    cpu: f64,
    latency: [f64; 3],
    memory: f64,
    /// CPU against the first contestant of the case: the median of the rounds' ratios.
    first_to_this: f64,
}

impl Report {
    pub fn new(rounds: usize, seconds: usize, missing: Vec<&'static str>) -> Self {
        Self { rounds, seconds, missing, cases: Vec::new(), lines: Vec::new() }
    }

    pub fn add(&mut self, measured: Measured) {
        let first =
            measured.contestants.first().map(|(_, samples)| samples.clone()).unwrap_or_default();
        let rows = measured
            .contestants
            .iter()
            .map(|(name, samples)| Row::of(name, samples, &first))
            .collect();
        self.cases.push((measured.case, rows));
    }

    pub fn add_lines(&mut self, lines: Vec<String>) {
        self.lines.extend(lines);
    }

    pub fn print(&self) {
        println!(
            "\nMedians of {} rounds of {} s, contestants taking turns; the proxy on one core, \
             client and upstream on another. 64 keep-alive connections, if the case \
             does not say otherwise.",
            self.rounds, self.seconds
        );
        println!(
            "The last column is harmony-edge's (the first contestant's) CPU time a request over \
             this one's: the median of the rounds' ratios.\n"
        );
        println!(
            "| case | proxy | requests/s | CPU us/request | p50 ms | p99 ms | p99.9 ms | MB | \
             ratio |"
        );
        println!("|---|---|---:|---:|---:|---:|---:|---:|---:|");
        for (case, rows) in &self.cases {
            for row in rows {
                let [p50, p99, p999] = row.latency.map(|microseconds| microseconds / 1e3);
                println!(
                    "| {case} | {} | {:.0} | {:.1} | {p50:.2} | {p99:.2} | {p999:.2} | {:.0} | \
                     {:.2} |",
                    row.name, row.throughput, row.cpu, row.memory, row.first_to_this
                );
            }
        }
        println!();
        for line in &self.lines {
            println!("{line}");
        }
        if !self.missing.is_empty() {
            println!("not installed, so missing: {}", self.missing.join(", "));
        }
    }

    /// Bars of CPU time a request, as SVG.
    pub fn plot(&self) -> String {
        const LEFT: f64 = 250.0;
        const WIDTH: f64 = 460.0;
        const ROW: f64 = 20.0;
        let most =
            self.cases.iter().flat_map(|(_, rows)| rows).map(|row| row.cpu).fold(1.0, f64::max);
        let (mut body, mut y) = (String::new(), 40.0);
        for (case, rows) in &self.cases {
            let _ =
                writeln!(body, "<text x=\"10\" y=\"{:.0}\" class=\"case\">{case}</text>", y + 14.0);
            for row in rows {
                let ours = match row.name {
                    "bare Pingora" | "HAProxy" | "Envoy" | "nginx" => "peer",
                    _ => "ours",
                };
                let length = row.cpu / most * WIDTH;
                let _ = writeln!(
                    body,
                    "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}</text>",
                    LEFT - 8.0,
                    y + 14.0,
                    row.name
                );
                let _ = writeln!(
                    body,
                    "<rect x=\"{LEFT}\" y=\"{:.0}\" width=\"{length:.1}\" height=\"14\" \
                     class=\"{ours}\"/>",
                    y + 3.0
                );
                let _ = writeln!(
                    body,
                    "<text x=\"{:.0}\" y=\"{:.0}\">{:.1}</text>",
                    LEFT + length + 6.0,
                    y + 14.0,
                    row.cpu
                );
                y += ROW;
            }
            y += 10.0;
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"800\" height=\"{y:.0}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n\
             <style>.ours {{ fill: #0b7285 }} .peer {{ fill: #adb5bd }} .case {{ font-weight: \
             bold }} text {{ fill: #495057 }}</style>\n\
             <text x=\"10\" y=\"20\" font-size=\"14\">CPU time a request (microseconds, less is \
             better; medians of {} rounds)</text>\n{body}</svg>\n",
            self.rounds
        )
    }
}

impl Row {
    fn of(name: &'static str, samples: &[Sample], first: &[Sample]) -> Self {
        let of = |value: &dyn Fn(&Sample) -> f64| median(samples.iter().map(value).collect());
        Self {
            name,
            throughput: of(&|sample| sample.outcome.requests / sample.outcome.seconds),
            cpu: of(&|sample| sample.cpu),
            latency: [0, 1, 2].map(|index| of(&|sample| sample.outcome.latency[index])),
            memory: of(&|sample| sample.memory),
            first_to_this: median(
                first.iter().zip(samples).map(|(first, this)| first.cpu / this.cpu).collect(),
            ),
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

//! How long a start takes until the first request is served, with a large configuration.

use std::fmt::Write as _;
use std::time::Instant;

use crate::cases::EDGE;
use crate::process::{Process, free_port};

const PIPELINES: usize = 1000;

/// Medians, as lines of the report.
pub fn measure(rounds: usize) -> anyhow::Result<Vec<String>> {
    let directory = tempfile::tempdir()?;
    let (mut starts, mut reloads) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        println!("start and reload: round {round} of {rounds}");
        let (port, management) = (free_port()?, free_port()?);
        let file = directory.path().join("harmony.toml");
        std::fs::write(&file, configuration(port, management, "one", directory.path()))?;
        let begun = Instant::now();
        let command = [EDGE.to_owned(), "-c".to_owned(), file.display().to_string()];
        let process = Process::start("harmony-edge", "0,1", &command, port)?;
        while get(port, "/route500/x")? != 200 {}
        starts.push(begun.elapsed());
        std::fs::write(&file, configuration(port, management, "two", directory.path()))?;
        let begun = Instant::now();
        process.signal_hangup()?;
        while get(port, "/two")? != 200 {}
        reloads.push(begun.elapsed());
    }
    let median = |mut times: Vec<std::time::Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1e3
    };
    Ok(vec![
        format!("{PIPELINES} pipelines: {:.0} ms from the start to the first answer (looked for every 10 ms)", median(starts)),
        format!("{PIPELINES} pipelines: {:.0} ms from the signal to the first answer of the new configuration", median(reloads)),
    ])
}

fn get(port: u16, path: &str) -> anyhow::Result<u16> {
    use std::io::{Read as _, Write as _};
    let mut connection = std::net::TcpStream::connect(("127.0.0.1", port))?;
    write!(connection, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    Ok(answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_default())
}

fn configuration(port: u16, management: u16, marker: &str, directory: &std::path::Path) -> String {
    let mut text = format!(
        "[proxy]\nid = \"bench\"\nstate_dir = {:?}\n[network.public.http]\nbind_address = \"127.0.0.1\"\nbind_port = {port}\n[network.management.http]\nbind_address = \"127.0.0.1\"\nbind_port = {management}\n\
         [management]\nenabled = true\nnetwork = \"management\"\n",
        directory.join("state")
    );
    let pipeline = |text: &mut String, name: &str, prefix: &str| {
        let _ = writeln!(
            text,
            "[pipelines.{name}]\nnetworks = [\"public\"]\nendpoints = [\"{name}\"]\nmiddleware = []\nbackends = [\"{name}\"]\n[endpoints.{name}]\nservice = \"http\"\npath_prefix = \"{prefix}\"\n[backends.{name}]\nservice = \"echo\""
        );
    };
    for number in 1..PIPELINES {
        pipeline(&mut text, &format!("p{number}"), &format!("/route{number}"));
    }
    pipeline(&mut text, marker, &format!("/{marker}"));
    text
}

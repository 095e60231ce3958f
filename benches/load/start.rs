//! How long a start and a reload take with a large configuration, and what others feel of reloads.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::contestants::EDGE;
use crate::process::{Process, free_port};

const PIPELINES: usize = 1000;

/// The load under which reloads are felt: this many connections, each with this many requests at
/// this pace. Far from what the machine can do, so that it is the reload that is seen and not the
/// queue.
const CONNECTIONS: usize = 16;
const REQUESTS: u32 = 200;
const PACE: Duration = Duration::from_millis(20);
/// Several of them in the time of the load, so that 1 % of the requests cannot hide them.
const RELOAD_EVERY: Duration = Duration::from_millis(500);

/// Medians, as lines of the report.
pub fn measure(rounds: usize) -> anyhow::Result<Vec<String>> {
    let directory = tempfile::tempdir()?;
    let (mut starts, mut reloads, mut calm, mut reloading) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
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
        calm.push(p99(port, || Ok(()))?);
        let mut marker = ["one", "two"].into_iter().cycle();
        reloading.push(p99(port, || {
            std::fs::write(
                &file,
                configuration(
                    port,
                    management,
                    marker.next().unwrap_or_default(),
                    directory.path(),
                ),
            )?;
            process.signal_hangup()
        })?);
    }
    let median = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1e3
    };
    let (calm, reloading) = (median(calm), median(reloading));
    Ok(vec![
        format!(
            "{PIPELINES} pipelines: {:.0} ms from the start to the first answer (looked for every \
             10 ms)",
            median(starts)
        ),
        format!(
            "{PIPELINES} pipelines: {:.0} ms from the signal to the first answer of the new \
             configuration",
            median(reloads)
        ),
        format!(
            "{PIPELINES} pipelines: p99 {calm:.2} ms without reloads, {reloading:.2} ms ({:.2} \
             times as much) with one every {} ms, at {} requests a second",
            reloading / calm,
            RELOAD_EVERY.as_millis(),
            CONNECTIONS as u128 * 1000 / PACE.as_millis()
        ),
    ])
}

/// The 99th percentile of the time to an answer, while `disturb` is called again and again.
fn p99(port: u16, mut disturb: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<Duration> {
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|number| {
                scope.spawn(move || client(port, PACE * number as u32 / CONNECTIONS as u32))
            })
            .collect();
        while !clients.iter().all(|client| client.is_finished()) {
            disturb()?;
            std::thread::sleep(RELOAD_EVERY);
        }
        let mut times = Vec::new();
        for client in clients {
            times.append(&mut client.join().map_err(|_| anyhow::anyhow!("a client panicked"))??);
        }
        times.sort_unstable();
        times.get(times.len() * 99 / 100).copied().context("no answers")
    })
}

/// One connection's requests, at their pace from `offset` on.
fn client(port: u16, offset: Duration) -> anyhow::Result<Vec<Duration>> {
    let mut connection = TcpStream::connect(("127.0.0.1", port))?;
    connection.set_nodelay(true)?;
    let first = Instant::now() + offset;
    let mut buffer = [0; 4096];
    let mut times = Vec::new();
    for number in 0..REQUESTS {
        let due = first + PACE * number;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        connection.write_all(b"GET /route500/x HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        let read = connection.read(&mut buffer)?;
        anyhow::ensure!(
            buffer[..read].starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&buffer[..read])
        );
        // From when it was due: one that waited behind another counts, too.
        times.push(due.elapsed());
    }
    Ok(times)
}

fn get(port: u16, path: &str) -> anyhow::Result<u16> {
    let mut connection = TcpStream::connect(("127.0.0.1", port))?;
    write!(connection, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    Ok(answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_default())
}

fn configuration(port: u16, management: u16, marker: &str, directory: &Path) -> String {
    let mut text = format!(
        "[proxy]\nid = \"bench\"\nstate_dir = {:?}\n[network.public.http]\n\
         bind_address = \"127.0.0.1\"\nbind_port = {port}\n[network.management.http]\n\
         bind_address = \"127.0.0.1\"\nbind_port = {management}\n\
         [management]\nenabled = true\nnetwork = \"management\"\n",
        directory.join("state")
    );
    let pipeline = |text: &mut String, name: &str, prefix: &str| {
        let _ = writeln!(
            text,
            "[pipelines.{name}]\nnetworks = [\"public\"]\nendpoints = [\"{name}\"]\n\
             middleware = []\nbackends = [\"{name}\"]\n[endpoints.{name}]\nservice = \"http\"\n\
             path_prefix = \"{prefix}\"\n[backends.{name}]\nservice = \"echo\""
        );
    };
    for number in 1..PIPELINES {
        pipeline(&mut text, &format!("p{number}"), &format!("/route{number}"));
    }
    pipeline(&mut text, marker, &format!("/{marker}"));
    text
}

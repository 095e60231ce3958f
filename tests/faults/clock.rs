//! The system's clock steps: tokens are judged by what it says, everything else goes on, and when
//! it is right again, so is everything.

use std::fs;
use std::path::{Path, PathBuf};

use crate::row::Row;
use crate::support::keys::RsaKey;
use crate::support::token::now;
use crate::support::{Edge, Issuer, Upstream};
use crate::traffic::Traffic;

/// From Debian's package `libfaketime`.
fn library() -> Option<PathBuf> {
    let places = fs::read_dir("/usr/lib")
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .chain(["/usr/lib".into(), "/usr/local/lib".into()]);
    places.map(|place| place.join("faketime/libfaketimeMT.so.1")).find(|path| path.exists())
}

#[test]
fn the_clock_steps_by_two_hours() {
    let Some(library) = library() else {
        eprintln!("skipped: libfaketime is not installed");
        return;
    };
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let preload = format!("LD_PRELOAD={}", library.display());
    // Only the time of day steps: the clock that time-outs run by never does.
    let launcher = [
        "env",
        &preload,
        "FAKETIME_TIMESTAMP_FILE={dir}/clock",
        "FAKETIME_NO_CACHE=1",
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
        "DONT_FAKE_MONOTONIC=1",
    ];
    let open = "[pipelines.open]\nnetworks = [\"public\"]\nendpoints = [\"open\"]\n\
                middleware = [\"limit\"]\nbackends = [\"app\"]\n\
         [endpoints.open]\nservice = \"http\"\noptions = { path_prefix = \"/open\" }\n\
         [middleware.limit]\ntype = \"policies\"\n\
         rules = [{ type = \"ip_allow\", options = { ip_addresses = [\"127.0.0.1/32\"] } }, { \
         type = \"rate_limit\", options = { max_requests = 100000, window_seconds = 60 } }]";
    let edge =
        Edge::with_jwt(&issuer, &upstream).and(open).file("clock", "+0").under(&launcher).start();
    let step = |offset: i64| set(edge.directory(), offset);
    let other = RsaKey::number(3);
    let rows = [
        ("clock steps 2 h forward", 7200, "expired", "forward by 7200 s", "back by 7200 s"),
        ("clock steps 2 h back", -7200, "not_yet_valid", "back by 7200 s", "forward by 7200 s"),
    ];
    for (fault, offset, reason, there_by, back_by) in rows {
        let here = issuer.token().sign();
        let there = issuer
            .token()
            .claim("iat", now() + offset)
            .claim("nbf", now() + offset - 5)
            .claim("exp", now() + offset + 600)
            .sign();
        let status = |token: &str| edge.get("/api/x").bearer(token).send().status;
        assert_eq!(status(&here), 200, "it is remembered from now on");
        assert_eq!(status(&there), 401);
        let bad = vec![
            edge.get("/api/x").bearer(&issuer.token_of("k1", &other).sign()),
            edge.get("/api/x"),
        ];
        let mut row = Row::begin(fault, &edge, Traffic::start(vec![edge.get("/open/x")], bad));
        step(offset);
        row.sees_line(&["WARN", "the system's clock", there_by]);
        assert_eq!(
            status(&here),
            401,
            "{fault}: a token that is remembered is judged by the clock"
        );
        assert_eq!(status(&issuer.token().claim("jti", offset).sign()), 401, "{fault}: a new one");
        assert_eq!(status(&there), 200, "{fault}: a token of that time");
        row.sees_line(&[&format!("reason={reason}")]);
        let refusals = format!("harmony_http_refusals_total{{pipeline=\"api\",reason=\"{reason}\"");
        row.sees_metric(&refusals, |value| value >= 2.0);
        // Key sets, and with them `/ready`, age by the other clock.
        assert_eq!(edge.manage("/ready").send().status, 200);
        step(0);
        row.recovers(|| status(&here) == 200);
        row.sees_line(&["WARN", "the system's clock", back_by]);
        assert_eq!(status(&there), 401, "{fault}: and that one no more");
        row.end(32);
    }
}

/// Whole: a clock that is read while it is being written would be another time.
fn set(directory: &Path, offset: i64) {
    fs::write(directory.join("clock.new"), format!("{offset:+}")).unwrap();
    fs::rename(directory.join("clock.new"), directory.join("clock")).unwrap();
}

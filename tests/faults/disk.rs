//! The state directory cannot be written: nothing that serves stops serving, nothing that was kept
//! is lost, and what is refused says why.

use crate::SOON;
use crate::cloud::{authorize, await_health, echo, info, runbeam};
use crate::row::Row;
use crate::support::{Cloud, Edge, Issuer, Settings, Upstream, eventually};
use crate::traffic::Traffic;
use crate::volume::Volume;

#[test]
fn a_full_disk_and_a_read_only_state_directory() {
    for (fault, words) in [
        ("disk full", "No space left on device"),
        ("state directory read-only", "Read-only file system"),
    ] {
        let Some(volume) = Volume::of(256) else {
            return;
        };
        let full = fault == "disk full";
        let break_it = || {
            if full { volume.fill() } else { volume.read_only(true) }
        };
        let mend_it = || {
            if full { volume.free() } else { volume.read_only(false) }
        };

        let (mut issuer, mut cloud, upstream) =
            (Issuer::start(), Cloud::start(), Upstream::start());
        let settings = Settings::with_jwt(&issuer, &upstream).jwt("jwks_cooldown_secs = 1");
        let settings =
            settings.proxy(&format!("state_dir = {:?}", volume.path())).and(&runbeam(&cloud));
        let launcher = volume.launcher();
        let launcher: Vec<&str> = launcher.iter().map(String::as_str).collect();
        let mut edge = Edge::configured(settings).under(&launcher).start();
        assert_eq!(authorize(&edge, &cloud).status, 201);
        await_health(&edge);
        cloud.add_change("c1", "pipeline", &echo("first"));
        let applied = |id: &str| cloud.change_status(id).as_deref() == Some("applied");
        eventually("the first change", SOON, || applied("c1").then_some(()));

        let mut row = Row::begin(fault, &edge, Traffic::with_tokens(&edge, &issuer, "/api/x"));
        break_it();
        // A key set: in service, though it cannot be kept.
        let old = issuer.signing_key();
        issuer.rotate("k2", 1);
        issuer.publish(vec![old.jwk("k1"), issuer.signing_key().jwk("k2")]);
        let new = issuer.token().sign();
        eventually("the new key", SOON, || {
            (edge.get("/api/x").bearer(&new).send().status == 200).then_some(())
        });
        row.sees_line(&["WARN", "cannot keep key sets in", words]);
        // A machine token: refused, and the one before goes on.
        let answer = authorize(&edge, &cloud);
        assert_eq!(answer.status, 500, "{}", answer.text());
        row.sees_line(&["ERROR", "management: ", words]);
        assert_eq!(info(&edge)["state"], "authorized");
        // A change: what could not survive a restart is not put in service.
        cloud.add_change("c2", "pipeline", &echo("second"));
        row.sees_line(&["change c2", words]);
        assert_ne!(edge.get("/second/x").send().status, 200, "not in service");
        eventually("the cloud learns of it", SOON, || {
            (cloud.change_status("c2").as_deref() == Some("failed")).then_some(())
        });
        assert_eq!(edge.get("/first/x").send().status, 200);

        mend_it();
        row.recovers(|| authorize(&edge, &cloud).status == 201);
        cloud.add_change("c3", "pipeline", &echo("third"));
        eventually("a change after it", SOON, || applied("c3").then_some(()));
        assert_eq!(edge.steer("POST", "/admin/keys/refresh").send().status, 200);
        row.sees_line(&["key sets are kept in", "again"]);
        row.end(32);

        // Nothing was lost, as a start with nobody else there shows; not even when the directory is
        // broken again.
        issuer.stop();
        cloud.stop();
        break_it();
        edge.restart();
        assert_eq!(edge.get("/api/x").bearer(&new).send().status, 200, "{fault}: the key set");
        assert_eq!(edge.get("/first/x").send().status, 200, "{fault}: the first change");
        assert_eq!(edge.get("/third/x").send().status, 200, "{fault}: the last change");
        eventually(&format!("{fault}: the machine token"), SOON, || {
            (info(&edge)["state"] == "authorized").then_some(())
        });
    }
}

//! The shipped unit: how much it lets the process do, by systemd's own measure.

use std::process::Command;

use super::has;

#[test]
fn the_unit_is_closed_tight() {
    if !has("systemd-analyze") {
        return;
    }
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/harmony-edge.service");
    let output = Command::new("systemd-analyze").args(["security", "--offline=yes", "--no-pager", "--threshold=15", unit]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "over 1.5:\n{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("Overall exposure level"), "{text}");
}

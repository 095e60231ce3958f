//! What somebody else has put into the state directory, or could have: it is not believed, and it
//! does not get in the way. Runbeam is off.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::keys::RsaKey;
use crate::support::{Edge, Issuer, Upstream, eventually};

const SOON: Duration = Duration::from_secs(15);
/// A user that is not us.
const NOBODY: u32 = 65_534;

fn status(edge: &Edge, token: &str) -> u16 {
    edge.get("/api/x").bearer(token).send().status
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// A process whose issuer is gone, and which finds a planter's key and a pipeline at its next
/// start.
struct House {
    edge: Edge,
    token: String,
    keys: PathBuf,
    cloud: PathBuf,
    _upstream: Upstream,
}

impl House {
    fn start() -> Self {
        let (mut issuer, upstream) = (Issuer::start(), Upstream::start());
        let edge = Edge::with_jwt(&issuer, &upstream).proxy("state_dir = \"{dir}/state\"").start();
        assert_eq!(status(&edge, &issuer.token().sign()), 200);
        issuer.stop();
        let state = edge.directory().join("state");
        let keys = eventually("the set on the disk", SOON, || {
            let entries = fs::read_dir(state.join("jwks")).ok()?;
            let mut paths = entries.map(|entry| entry.unwrap().path());
            paths.find(|path| path.extension().is_some_and(|extension| extension == "json"))
        });
        let planter = RsaKey::number(3);
        let mut kept: Value = serde_json::from_slice(&fs::read(&keys).unwrap()).unwrap();
        kept["keys"] = json!([planter.jwk("k1")]);
        fs::write(&keys, kept.to_string()).unwrap();
        let pipeline = "[pipelines.planted]\nnetworks = [\"public\"]\nendpoints = [\"planted\"]\n\
                        middleware = []\n\
            [endpoints.planted]\nservice = \"echo\"\noptions = { path_prefix = \"/planted\" }\n";
        let layer = json!({
            "version": 1,
            "texts": [{ "change": "1", "key": "id 1", "pipelines": ["planted"], "toml": pipeline }],
            "applied": ["1"],
        });
        let cloud = state.join("cloud.json");
        fs::write(&cloud, layer.to_string()).unwrap();
        set_mode(&cloud, 0o600);
        let token = issuer.token_of("k1", &planter).sign();
        Self { edge, token, keys, cloud, _upstream: upstream }
    }

    fn state(&self) -> PathBuf {
        self.edge.directory().join("state")
    }

    /// Whether the next start believes the key, and whether it believes the pipeline.
    #[track_caller]
    fn assert_believed(&mut self, row: &str, (key, pipeline): (bool, bool)) {
        self.edge.restart();
        assert_eq!(status(&self.edge, &self.token), if key { 200 } else { 503 }, "{row}");
        let planted = self.edge.get("/planted/x").send().status;
        assert_eq!(planted, if pipeline { 200 } else { 404 }, "{row}");
    }
}

#[test]
fn what_is_ours_is_believed() {
    House::start().assert_believed("as we left it", (true, true));
}

#[test]
fn what_others_can_write_is_not() {
    let mut house = House::start();
    set_mode(&house.state(), 0o777);
    house.assert_believed("the state directory", (false, false));
    let log = house.edge.log();
    assert!(log.contains("others may have written it"), "{log}");
    house.assert_believed("nor at the start after that", (false, false));
    set_mode(&house.state(), 0o700);
    set_mode(house.keys.parent().unwrap(), 0o777);
    house.assert_believed("the key sets' directory", (false, true));
    set_mode(house.keys.parent().unwrap(), 0o700);
    set_mode(&house.keys, 0o666);
    set_mode(&house.cloud, 0o666);
    house.assert_believed("the files", (false, false));
}

#[test]
fn what_belongs_to_another_is_not() {
    let mut house = House::start();
    if chown(house.state(), Some(NOBODY), None).is_err() {
        println!("skipped: giving a file to another user takes root");
        return;
    }
    house.assert_believed("the state directory", (false, false));
    chown(house.state(), Some(0), None).unwrap();
    chown(house.keys.parent().unwrap(), Some(NOBODY), None).unwrap();
    chown(&house.cloud, Some(NOBODY), None).unwrap();
    house.assert_believed("the directory, and the file", (false, false));
    chown(house.keys.parent().unwrap(), Some(0), None).unwrap();
    chown(&house.keys, Some(NOBODY), None).unwrap();
    house.assert_believed("the files", (false, false));
    let (state, away) = (house.state(), house.edge.directory().join("away"));
    chown(&house.keys, Some(0), None).unwrap();
    chown(&house.cloud, Some(0), None).unwrap();
    fs::rename(&state, &away).unwrap();
    symlink(&away, &state).unwrap();
    house.assert_believed("our link", (true, true));
    lchown(&state, Some(NOBODY), None).unwrap();
    house.assert_believed("another's link", (false, false));
}

#[test]
fn what_is_no_file_neither_blocks_the_start_nor_is_followed() {
    let mut house = House::start();
    for (row, plant) in [
        (
            "a pipe",
            (|_, path| {
                assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
            }) as fn(&Path, &Path),
        ),
        ("a link", |kept, path| symlink(kept, path).unwrap()),
        ("a device", |_, path| symlink("/dev/zero", path).unwrap()),
        ("a directory", |_, path| fs::create_dir(path).unwrap()),
        ("a second name", |kept, path| fs::hard_link(kept, path).unwrap()),
        ("far too large a file", |kept, path| {
            let mut content = fs::read(kept).unwrap();
            content.resize(65 * 1024 * 1024, b' ');
            fs::write(path, content).unwrap();
        }),
    ] {
        let files = [house.keys.clone(), house.cloud.clone()];
        let aside = files.clone().map(|path| path.with_extension("kept"));
        for (path, aside) in files.iter().zip(&aside) {
            fs::rename(path, aside).unwrap();
            plant(aside, path);
        }
        house.assert_believed(row, (false, false));
        for (path, aside) in files.iter().zip(&aside) {
            if path.is_dir() {
                fs::remove_dir(path).unwrap();
            } else {
                fs::remove_file(path).unwrap();
            }
            fs::rename(aside, path).unwrap();
        }
    }
    house.assert_believed("back in place", (true, true));
}

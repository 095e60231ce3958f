//! A change of the files is a reload: whoever makes it, however it is made, and as often as the
//! content changes.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::support::edge::EdgeBuilder;
use crate::support::poll::eventually;
use crate::support::settings::Route;
use crate::support::{Edge, Settings, Upstream};

/// How long a reload may take on a busy machine.
const SOON: Duration = Duration::from_secs(30);

fn generation(edge: &Edge) -> u64 {
    edge.manage("/admin/config/status").send().json()["generation"].as_u64().expect("a generation")
}

/// Waits until requests for `path` get `status`.
#[track_caller]
fn becomes(edge: &Edge, path: &str, status: u16) {
    eventually(&format!("{path}: {status}"), SOON, || {
        (edge.get(path).send().status == status).then_some(())
    });
}

fn file(edge: &Edge) -> PathBuf {
    edge.directory().join("harmony.toml")
}

/// Puts another file in the place of one, as editors do.
fn replace(path: &Path, text: &str) {
    let temporary = path.with_extension("new");
    fs::write(&temporary, text).unwrap();
    fs::rename(temporary, path).unwrap();
}

fn open(upstream: &Upstream) -> EdgeBuilder {
    Edge::open(upstream).watching()
}

#[test]
fn a_file_that_is_written_replaced_or_made_anew_serves() {
    let upstream = Upstream::start();
    let edge = open(&upstream).start();
    edge.rewrite(|text| text.replace("\"/api\"", "\"/written\""));
    becomes(&edge, "/written", 200);
    let text = fs::read_to_string(file(&edge)).unwrap();
    replace(&file(&edge), &text.replace("/written", "/replaced"));
    becomes(&edge, "/replaced", 200);
    // Twice: the watch is not tied to the file that was there at first.
    replace(&file(&edge), &text.replace("/written", "/again"));
    becomes(&edge, "/again", 200);
    fs::rename(file(&edge), edge.directory().join("harmony.toml~")).unwrap();
    eventually("a word about the missing file", SOON, || {
        edge.log().contains("cannot be read").then_some(())
    });
    assert_eq!(edge.get("/again").send().status, 200);
    fs::write(file(&edge), text.replace("/written", "/anew")).unwrap();
    becomes(&edge, "/anew", 200);
}

#[test]
fn a_burst_is_one_reload_and_the_same_content_is_none() {
    let upstream = Upstream::start();
    let edge = open(&upstream).start();
    let text = fs::read_to_string(file(&edge)).unwrap();
    for _ in 0..20 {
        replace(&file(&edge), &text);
        fs::write(edge.directory().join("unrelated.toml"), "[broken").unwrap();
    }
    for index in 0..20 {
        fs::write(file(&edge), text.replace("\"/api\"", &format!("\"/burst{index}\""))).unwrap();
    }
    becomes(&edge, "/burst19", 200);
    thread::sleep(Duration::from_millis(600));
    // A machine that stops in the middle of the burst makes several of it.
    assert!(generation(&edge) <= 5, "{}", generation(&edge));
}

#[test]
fn a_broken_file_changes_nothing_until_it_is_mended() {
    let upstream = Upstream::start();
    let edge = open(&upstream).start();
    edge.rewrite(|text| {
        text.replace("\"/api\"", "\"/mended\"").replace("[endpoints", "[[endpoints")
    });
    let status = eventually("the error", SOON, || {
        let status = edge.manage("/admin/config/status").send().json();
        status["last_error"].is_string().then_some(status)
    });
    assert_eq!(status["generation"], 1);
    assert_eq!(edge.get("/api").send().status, 200);
    edge.rewrite(|text| text.replace("[[endpoints", "[endpoints"));
    becomes(&edge, "/mended", 200);
}

#[test]
fn files_of_the_pipelines_directory_come_and_go() {
    let upstream = Upstream::start();
    let edge = Edge::configured(Settings::bare().watching())
        .file("pipelines/a.toml", &Route::to("a", &upstream).prefix("/a").text())
        .start();
    let directory = edge.directory().join("pipelines");
    fs::write(directory.join("b.toml"), Route::to("b", &upstream).prefix("/b").text()).unwrap();
    becomes(&edge, "/b", 200);
    fs::write(directory.join("c.toml.swp"), "[broken").unwrap();
    fs::remove_file(directory.join("a.toml")).unwrap();
    becomes(&edge, "/a", 404);
    assert_eq!(edge.get("/b").send().status, 200);
    // The whole directory goes, and another one takes its place.
    fs::rename(&directory, edge.directory().join("old")).unwrap();
    becomes(&edge, "/b", 404);
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("d.toml"), Route::to("d", &upstream).prefix("/d").text()).unwrap();
    becomes(&edge, "/d", 200);
    fs::write(directory.join("d.toml"), Route::to("d", &upstream).prefix("/e").text()).unwrap();
    becomes(&edge, "/e", 200);
}

#[test]
fn a_directory_that_is_swapped_behind_links_serves() {
    let upstream = Upstream::start();
    let edge = open(&upstream).start();
    let home = edge.directory();
    let text = fs::read_to_string(file(&edge)).unwrap();
    let version = |number: u32, prefix: &str| {
        let directory = home.join(format!("..{number}"));
        fs::create_dir(&directory).unwrap();
        fs::write(
            directory.join("harmony.toml"),
            text.replace("\"/api\"", &format!("\"{prefix}\"")),
        )
        .unwrap();
        symlink(format!("..{number}"), home.join("..data_tmp")).unwrap();
        fs::rename(home.join("..data_tmp"), home.join("..data")).unwrap();
    };
    version(1, "/one");
    fs::remove_file(file(&edge)).unwrap();
    symlink("..data/harmony.toml", file(&edge)).unwrap();
    becomes(&edge, "/one", 200);
    version(2, "/two");
    becomes(&edge, "/two", 200);
    fs::remove_dir_all(home.join("..1")).unwrap();
    version(3, "/three");
    becomes(&edge, "/three", 200);
}

#[test]
fn a_file_that_the_configuration_names_counts_too() {
    let upstream = Upstream::start();
    let edge = open(&upstream).file("prefix", "/first\n").start();
    // Newly named: from now on it is watched.
    edge.rewrite(|text| text.replace("\"/api\"", "\"${file:prefix}\""));
    becomes(&edge, "/first", 200);
    fs::write(edge.directory().join("prefix"), "/second\n").unwrap();
    becomes(&edge, "/second", 200);
    // Named by a configuration that failed because it was not there.
    edge.rewrite(|text| text.replace("file:prefix", "file:deep/other"));
    eventually("the error", SOON, || {
        edge.log().contains("deep/other cannot be read").then_some(())
    });
    fs::create_dir(edge.directory().join("deep")).unwrap();
    fs::write(edge.directory().join("deep/other"), "/third\n").unwrap();
    becomes(&edge, "/third", 200);
}

#[test]
fn what_the_edge_writes_itself_is_no_change() {
    let upstream = Upstream::start();
    let edge = open(&upstream).proxy("state_dir = \"{dir}\"").start();
    let reloads = || edge.log().matches("reload: nothing has changed").count();
    // Only who watches sees this.
    edge.rewrite(|text| text.replace("\"/api\"", "\"/watched\""));
    becomes(&edge, "/watched", 200);
    let before = reloads();
    for index in 0..50 {
        fs::write(edge.directory().join("auth.json"), format!("{index}")).unwrap();
        replace(&edge.directory().join("cloud.json"), &format!("{index}"));
        edge.get("/api").send();
        thread::sleep(Duration::from_millis(10));
    }
    thread::sleep(Duration::from_millis(500));
    assert_eq!((reloads(), generation(&edge)), (before, 2));
}

#[test]
fn it_can_be_switched_off_and_on() {
    let upstream = Upstream::start();
    let edge = open(&upstream).start();
    edge.rewrite(|text| text.replacen("[proxy]", "[proxy]\nwatch_files = false", 1));
    eventually("the reload", SOON, || (generation(&edge) == 2).then_some(()));
    edge.rewrite(|text| {
        text.replace("\"/api\"", "\"/moved\"").replace("watch_files = false", "watch_files = true")
    });
    thread::sleep(Duration::from_millis(800));
    assert_eq!(edge.get("/api").send().status, 200);
    assert_eq!(edge.steer("POST", "/admin/reload").send().status, 200);
    assert_eq!(edge.get("/moved").send().status, 200);
    edge.rewrite(|text| text.replace("/moved", "/back"));
    becomes(&edge, "/back", 200);
}

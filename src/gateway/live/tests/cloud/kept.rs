//! The file that the cloud's part is kept in.

use super::*;

#[test]
fn what_cannot_be_kept_does_not_serve() {
    let house = House::new();
    let live = house.start();
    // A file where the directory should be: even root cannot write there.
    fs::write(house.path("state"), "").unwrap();
    let error = live
        .apply_change("1", one("a", &pipeline("a")))
        .unwrap_err();
    assert!(matches!(error, ReloadError::NotKept { .. }), "{error}");
    assert_eq!(names(&live), ["local"]);
    assert!(!live.has_applied("1"));
    fs::remove_file(house.path("state")).unwrap();
    live.apply_change("1", one("a", &pipeline("a"))).unwrap();
}

#[test]
fn without_a_state_directory_it_serves_until_the_end() {
    let house = House::new();
    house.write(&LOCAL.replace("STATE\n", ""));
    let live = house.start();
    live.apply_change("1", one("a", &pipeline("a"))).unwrap();
    assert_eq!(names(&live), ["local", "a"]);
    assert!(live.has_applied("1"));
    assert_eq!(names(&house.start()), ["local"]);
}

#[test]
fn a_file_that_cannot_be_used_is_kept_under_another_name() {
    for content in [
        "",
        "{",
        "{\"version\":2}",
        "[]",
        "{\"version\":1,\"texts\":3,\"applied\":[]}",
        "\u{0}\u{1}",
    ] {
        let house = House::new();
        fs::create_dir(house.path("state")).unwrap();
        fs::write(house.path("state/cloud.json"), content).unwrap();
        let live = house.start();
        assert_eq!(names(&live), ["local"]);
        assert!(
            live.set_aside()[0].to_string().contains("cannot be used"),
            "{content}"
        );
        assert_eq!(house.kept().as_deref(), Some(content));
        live.apply_change("1", one("a", &pipeline("a"))).unwrap();
        assert_eq!(live.set_aside(), []);
        let moved = fs::read_to_string(house.path("state/cloud.json.broken-1")).unwrap();
        assert_eq!(moved, content);
        assert_eq!(names(&house.start()), ["local", "a"]);
    }
}

#[test]
fn the_file_is_its_owners_and_no_one_else_may_write_it() {
    let house = House::new();
    house
        .start()
        .apply_change("1", one("a", &pipeline("a")))
        .unwrap();
    let path = house.path("state/cloud.json");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let live = house.start();
    assert_eq!(names(&live), ["local"]);
    assert!(
        live.set_aside()[0]
            .to_string()
            .contains("others may have written it")
    );
}

#[test]
fn its_size_has_an_end() {
    let house = House::new();
    let live = house.start();
    let padding = "#".repeat(1_000_000);
    let mut refused = None;
    for index in 0..12 {
        let text = format!("{}{padding}", pipeline(&format!("p{index}")));
        if let Err(error) = live.apply_change(&index.to_string(), one(&index.to_string(), &text)) {
            refused = Some((index, error.to_string()));
            break;
        }
    }
    let (index, error) = refused.unwrap();
    assert!(index == 8 && error.contains("8 MiB"), "{index} {error}");
    // Few ids are remembered, but the last ones are.
    let mut layer = CloudLayer::default();
    for index in 0..2000 {
        layer = layer.with(&index.to_string(), whole("")).unwrap();
    }
    assert!(layer.has_applied("1999") && layer.has_applied("976") && !layer.has_applied("975"));
}

#[test]
fn discarded_is_discarded() {
    let house = House::new();
    let live = house.start();
    assert_eq!(live.discard_layer().unwrap(), Reload::Unchanged);
    live.apply_change("1", one("a", &pipeline("a"))).unwrap();
    assert!(matches!(live.discard_layer(), Ok(Reload::Reloaded(_))));
    assert_eq!(
        (names(&live), live.status().source),
        (vec!["local".to_owned()], "file")
    );
    let again = house.start();
    assert_eq!(names(&again), ["local"]);
    assert!(again.has_applied("1"));
}

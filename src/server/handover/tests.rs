//! The directory where two processes meet.

use super::*;

fn directory() -> (tempfile::TempDir, HandoverDirectory) {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("own");
    let directory = HandoverDirectory::choose(Some(&path)).unwrap();
    (root, directory)
}

#[test]
fn a_pid_file_holds_as_long_as_its_process() {
    let (_root, directory) = directory();
    assert_eq!(directory.running_process().unwrap(), None);
    let pid_file = directory.write_pid_file().unwrap();
    let own = i32::try_from(std::process::id()).unwrap();
    assert_eq!(directory.running_process().unwrap(), Pid::from_raw(own));
    // The next process writes its own while this one still drains.
    let next = directory.write_pid_file().unwrap();
    drop(pid_file);
    assert_eq!(directory.running_process().unwrap(), Pid::from_raw(own));
    drop(next);
    assert_eq!(
        directory.running_process().unwrap(),
        None,
        "the file alone means nothing"
    );
}

#[test]
fn without_a_running_process_there_is_nothing_to_take_over() {
    let (_root, directory) = directory();
    let error = directory.take_over().unwrap_err();
    assert!(matches!(error, TakeOverError::NobodyRuns(_)), "{error}");
}

#[test]
fn one_upgrade_at_a_time() {
    let (_root, directory) = directory();
    let lock = create(&directory.0.join("upgrade.lock")).unwrap();
    lock.try_lock().unwrap();
    let error = directory.take_over().unwrap_err();
    assert!(matches!(error, TakeOverError::UnderWay(_)), "{error}");
}

#[test]
fn a_directory_where_others_write_is_refused() {
    let root = tempfile::tempdir().unwrap();
    std::fs::set_permissions(root.path(), Permissions::from_mode(0o777)).unwrap();
    assert!(HandoverDirectory::choose(Some(root.path())).is_none());
}

//! A small file system of its own, which can be full or read-only. It lives in a mount namespace
//! that a helper process holds: nothing is mounted on the machine, and nothing is left behind.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::eventually;
use crate::{SOON, can};

/// Says that the mount is there.
const MOUNTED: &str = ".mounted";

pub struct Volume {
    directory: TempDir,
    holder: Child,
    user_namespace: bool,
}

impl Volume {
    /// A file system of so many KiB; `None`, and a word about it, where none can be mounted.
    pub fn of(kib: usize) -> Option<Self> {
        let user_namespace = !rustix::process::geteuid().is_root();
        let flags = if user_namespace { "-rm" } else { "-m" };
        if !can("unshare", &[flags, "true"]) {
            return None;
        }
        let directory = tempfile::tempdir().expect("a temporary directory");
        let script = format!(
            "mount -t tmpfs -o size={kib}k,mode=700 tmpfs {0} && touch {0}/{MOUNTED} && exec \
             sleep 1000000",
            directory.path().display()
        );
        let mut command = Command::new("unshare");
        let holder = command
            .args([flags, "sh", "-c", &script])
            .stdin(Stdio::null())
            .spawn()
            .expect("unshare");
        let volume = Self { directory, holder, user_namespace };
        eventually("the mount", SOON, || volume.inside().join(MOUNTED).exists().then_some(()));
        Some(volume)
    }

    /// Where an edge under [`Self::launcher`] sees it.
    pub fn path(&self) -> String {
        self.directory.path().display().to_string()
    }

    /// Where the test sees it.
    pub fn inside(&self) -> PathBuf {
        let path = self.directory.path().strip_prefix("/").expect("an absolute path");
        PathBuf::from(format!("/proc/{}/root", self.holder.id())).join(path)
    }

    /// The program that starts an edge where the volume is.
    pub fn launcher(&self) -> Vec<String> {
        let mut words = self.nsenter();
        words.extend(["sh", "-c", "cd {dir} && exec \"$0\" \"$@\""].map(str::to_owned));
        words
    }

    /// Takes all the room that is left.
    pub fn fill(&self) {
        let mut filler =
            File::create(self.inside().join("filler")).expect("a file to fill the volume");
        while filler.write_all(&[0; 512]).is_ok() {}
    }

    /// Gives the room back.
    pub fn free(&self) {
        fs::remove_file(self.inside().join("filler")).expect("the filler");
    }

    /// Puts a read-only view of the volume in front of it, or takes that away: files that are open
    /// would keep the volume itself from becoming read-only.
    pub fn read_only(&self, read_only: bool) {
        let path = self.path();
        let script = if read_only {
            format!("mount --bind {path} {path} && mount -o remount,bind,ro {path}")
        } else {
            format!("umount -l {path}")
        };
        let words = self.nsenter();
        let status = Command::new(&words[0])
            .args(&words[1..])
            .args(["sh", "-c", &script])
            .status()
            .expect("mount");
        assert!(status.success(), "{script}");
    }

    fn nsenter(&self) -> Vec<String> {
        let mut words = vec![
            "nsenter".to_owned(),
            "-t".to_owned(),
            self.holder.id().to_string(),
            "-m".to_owned(),
        ];
        if self.user_namespace {
            words.extend(["-U".to_owned(), "--preserve-credentials".to_owned()]);
        }
        words
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

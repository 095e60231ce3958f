//! The configuration file where none is named.

use std::path::{Path, PathBuf};

/// Where it is looked for, the first that is there. The second name is the one that images of the
/// older Harmony use.
const PLACES: [&str; 2] = ["/etc/harmony/harmony.toml", "/etc/harmony/config.toml"];

/// The file that is named, else the first default that is there.
pub(super) fn config(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    match named {
        Some(path) => Ok(path.to_owned()),
        None => first_of(&PLACES.map(Path::new)),
    }
}

fn first_of(places: &[&Path]) -> anyhow::Result<PathBuf> {
    // One that cannot be looked at is taken: reading it says why.
    let found = places
        .iter()
        .find(|place| place.try_exists().unwrap_or(true));
    if let Some(found) = found {
        return Ok(found.to_path_buf());
    }
    let places: Vec<String> = places
        .iter()
        .map(|place| place.display().to_string())
        .collect();
    anyhow::bail!(
        "no configuration file: neither {} exists; name a file with `-c FILE` (conf/harmony.toml \
         is an example), or try `harmony-edge demo`",
        places.join(" nor ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_is_there() {
        let home = tempfile::tempdir().unwrap();
        let (one, two) = (
            home.path().join("harmony.toml"),
            home.path().join("config.toml"),
        );
        let places = [one.as_path(), two.as_path()];
        let error = first_of(&places).unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "no configuration file: neither {} nor {} exists; name a file with `-c FILE` \
                 (conf/harmony.toml is an example), or try `harmony-edge demo`",
                one.display(),
                two.display()
            )
        );
        std::fs::write(&two, "").unwrap();
        assert_eq!(first_of(&places).unwrap(), two);
        std::fs::write(&one, "").unwrap();
        assert_eq!(first_of(&places).unwrap(), one);
        assert_eq!(config(Some(Path::new("x"))).unwrap(), Path::new("x"));
    }
}

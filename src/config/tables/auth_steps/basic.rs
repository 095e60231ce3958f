//! The settings of a `basic-auth` step. Not here: htpasswd files (the auth room reads them).

use std::collections::BTreeMap;
use std::path::Path;

use zeroize::Zeroizing;

use crate::config::model::{Basic, BasicUser, ErrorKind, Owner, Secret, StoredPassword};
use crate::config::reader::{Entry, Reader};
use crate::config::tables::values::credential;

/// What the presented password may have at most: bcrypt looks at no more.
const MAX_PASSWORD: usize = 72;
/// The costliest hash that the cloud may send: a second or so of one core for each password.
const MAX_COST_OF_THE_CLOUD: u32 = 14;
/// The default of `max_failures`.
pub(crate) const MAX_FAILURES: u32 = 10;
const HASH_HELP: &str = "make one with `harmony-edge hash-password`";

/// Keys that only a check has, and a credential for an upstream has not.
pub(crate) const OF_A_STEP: &[&str] = &[
    "password_hash",
    "users",
    "htpasswd_path",
    "token_path",
    "max_failures",
    "realm",
    "optional",
    "fallback_on",
    "forward_credential",
];

/// Reads the settings.
pub(crate) fn read(reader: &Reader<'_>) -> Option<Basic> {
    // the older Harmony kept a token there, which nothing here needs
    reader.ignore(&["token_path"]);
    let own = ["username", "password", "password_hash"];
    let alone = own.iter().any(|key| reader.has(key)).then(|| user(reader));
    let list = reader.get("users").map(|list| users(&list));
    let htpasswd = reader.get("htpasswd_path");
    if alone.is_none() && list.is_none() && htpasswd.is_none() {
        reader.error(
            "has no users",
            "add username and password_hash, or users = [{ username, password_hash }], or \
             htpasswd_path",
        );
    }
    let none = alone.is_none() && list.is_none();
    let mut users = Vec::new();
    for (found, place) in alone
        .into_iter()
        .flatten()
        .map(|user| (user, None))
        .chain(list.into_iter().flatten())
    {
        if users
            .iter()
            .any(|other: &BasicUser| other.name == found.name)
        {
            report(
                reader,
                place.as_ref(),
                "is a second user of that name",
                "give each user one password",
            );
            return None;
        }
        users.push(found);
    }
    let htpasswd_path = match htpasswd {
        Some(entry) => {
            let path = entry.readable_file()?;
            warn_of_costs(&entry, &path);
            Some(path)
        }
        None => None,
    };
    let settings = Basic {
        htpasswd_path,
        max_failures: u32::try_from(reader.number(
            "max_failures",
            0..=1_000_000,
            MAX_FAILURES.into(),
        ))
        .unwrap_or(u32::MAX),
        users,
        owner: reader.owner(),
    };
    (!settings.users.is_empty() || none && settings.htpasswd_path.is_some()).then_some(settings)
}

fn report(reader: &Reader<'_>, place: Option<&Entry<'_>>, sentence: &str, help: &str) {
    match place {
        Some(entry) => entry.error_help(sentence, help),
        None => reader.error(sentence, help),
    }
}

/// The users of `users`, each with where it stands.
fn users<'a>(list: &Entry<'a>) -> Vec<(BasicUser, Option<Entry<'a>>)> {
    if !list.is_not_empty() {
        return Vec::new();
    }
    list.items()
        .into_iter()
        .filter_map(|item| {
            let reader = item.table()?;
            let user = user(&reader);
            reader.finish();
            Some((user?, Some(item)))
        })
        .collect()
}

/// `username` with `password_hash` or `password`.
fn user(reader: &Reader<'_>) -> Option<BasicUser> {
    let name = reader.required_text("username", "name the user");
    let hash = reader.get("password_hash");
    let plain = reader.get("password");
    let password = match (hash, plain) {
        (Some(_), Some(plain)) => {
            plain.error_help(
                "is a second password beside `password_hash`",
                "keep the hash",
            );
            None
        }
        (Some(hash), None) => password_hash(&hash),
        (None, Some(plain)) => {
            plain.warning(
                "the password stands here as it is; put password_hash in its place, \
                 made with `harmony-edge hash-password`",
            );
            Some(plain.text()?.to_string()).and_then(|text| {
                plain_password(&text)
                    .map_err(|error| plain.error(error))
                    .ok()
            })
        }
        (None, None) => {
            reader.missing("password_hash", HASH_HELP);
            None
        }
    };
    let name = name?;
    if let Err(error) = user_name(&name) {
        if let Some(entry) = reader.get("username") {
            entry.error(error);
        }
        return None;
    }
    Some(BasicUser {
        name: name.to_string(),
        password: password?,
    })
}

fn password_hash(entry: &Entry<'_>) -> Option<StoredPassword> {
    let text = entry.text()?;
    let Some((hash, cost)) = credential::bcrypt_hash(&text) else {
        entry.error_help(
            "is not a bcrypt hash ($2a$, $2b$ or $2y$ with a cost of 4 to 31, 60 characters)",
            HASH_HELP,
        );
        return None;
    };
    if entry.owner() == Owner::Cloud && cost > MAX_COST_OF_THE_CLOUD {
        entry.error_help(
            format!(
                "has bcrypt cost {cost}, and the cloud's are at most {MAX_COST_OF_THE_CLOUD}: \
                 checking one password would keep a core busy for seconds"
            ),
            HASH_HELP,
        );
        return None;
    }
    if let Some(warning) = of_cost(cost) {
        entry.warning(&format!("bcrypt cost {cost} {warning}"));
    }
    Some(StoredPassword::Bcrypt(hash))
}

/// What deserves a warning about a cost of bcrypt's.
fn of_cost(cost: u32) -> Option<&'static str> {
    match cost {
        ..10 => Some(
            "is low: whoever gets hold of the hash can try many passwords; make a new one with \
             `harmony-edge hash-password`",
        ),
        10..=14 => None,
        _ => Some("is high: checking one password takes seconds, and the queue for it is short"),
    }
}

/// The same for the hashes of an htpasswd file, once for each cost: `htpasswd -B` makes them with a
/// cost of 5. What is wrong with the file is told when the step is built.
fn warn_of_costs(entry: &Entry<'_>, path: &Path) {
    let text = Zeroizing::new(std::fs::read_to_string(path).unwrap_or_default());
    let mut lines: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let hash = line.trim_end().split_once(':').map(|(_, hash)| hash);
        if let Some((_, cost)) = hash.and_then(credential::bcrypt_hash) {
            lines.entry(cost).or_default().push(index + 1);
        }
    }
    for (cost, lines) in lines {
        let (Some(warning), Some(first)) = (of_cost(cost), lines.first()) else {
            continue;
        };
        let of_others = match lines.len() {
            1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        entry.warning(&format!(
            "line {first}{of_others} of {}: bcrypt cost {cost} {warning}",
            path.display()
        ));
    }
}

/// A user with a password as it is; what is wrong with it is a sentence that shows nothing.
pub(crate) fn plain_user(name: &str, password: &str) -> Result<BasicUser, ErrorKind> {
    user_name(name)?;
    Ok(BasicUser {
        name: name.to_owned(),
        password: plain_password(password)?,
    })
}

fn plain_password(password: &str) -> Result<StoredPassword, ErrorKind> {
    match password {
        "" => Err("is empty after filling in".into()),
        _ if password.len() > MAX_PASSWORD => Err(format!(
            "is a password over {MAX_PASSWORD} bytes, which no client may present"
        )
        .into()),
        _ if password.chars().any(char::is_control) => {
            Err("is a password with control characters, which no client may present".into())
        }
        _ => Ok(StoredPassword::Plain(Secret::new(password.to_owned()))),
    }
}

fn user_name(name: &str) -> Result<(), ErrorKind> {
    if name.contains(':') {
        return Err("is a user name with a colon, which no client can present".into());
    }
    if !credential::is_subject(name) {
        return Err(
            "must be a user name in visible ASCII: the upstream gets it in a header".into(),
        );
    }
    Ok(())
}

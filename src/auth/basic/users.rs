//! The users of one `basic-auth` step.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use http::HeaderValue;

use super::htpasswd;
use super::passwords::Passwords;
use super::stored::StoredPassword;
use crate::auth::error::BuildCause;
use crate::auth::identity::{AuthMethod, Content, Credential, Identity};
use crate::common::sha256;
use crate::config::{self, Basic};

/// The users of a step by name, and one for every other name.
#[derive(Debug)]
pub(super) struct Users {
    by_name: HashMap<String, User>,
    nobody: User,
    max_cost: Option<u32>,
}

/// What a password is compared with, and who has it then.
#[derive(Debug)]
pub(super) struct User {
    pub(super) stored: StoredPassword,
    /// `None`: there is no such user.
    pub(super) identity: Option<Identity>,
}

impl Users {
    pub(super) fn build(settings: &Basic, passwords: &Passwords) -> Result<Self, BuildCause> {
        let mut by_name = HashMap::new();
        for user in &settings.users {
            let stored = match &user.password {
                config::StoredPassword::Bcrypt(hash) => {
                    StoredPassword::bcrypt(hash.expose()).ok_or(BuildCause::PasswordHash)?
                }
                config::StoredPassword::Plain(password) => {
                    StoredPassword::Digest(passwords.digest(password.expose()))
                }
            };
            add(&mut by_name, user.name.clone(), stored)?;
        }
        if let Some(path) = &settings.htpasswd_path {
            for (name, stored) in htpasswd::read(path)? {
                add(&mut by_name, name, stored)?;
            }
        }
        if by_name.is_empty() {
            return Err(BuildCause::NoUsers);
        }
        let max_cost = by_name.values().filter_map(|user| user.stored.cost()).max();
        Ok(Self {
            by_name,
            nobody: User {
                stored: StoredPassword::decoy(max_cost),
                identity: None,
            },
            max_cost,
        })
    }

    /// The user of this name, or the one that stands for everybody else.
    pub(super) fn find(&self, name: &str) -> &User {
        self.by_name.get(name).unwrap_or(&self.nobody)
    }

    /// The cost of the costliest hash; `None`: there are no hashes.
    pub(super) fn max_cost(&self) -> Option<u32> {
        self.max_cost
    }
}

fn add(
    users: &mut HashMap<String, User>,
    name: String,
    stored: StoredPassword,
) -> Result<(), BuildCause> {
    let subject = HeaderValue::from_str(&name).map_err(|_| BuildCause::UnfitSubject)?;
    match users.entry(name) {
        Entry::Occupied(taken) => Err(BuildCause::SameUser(taken.key().clone())),
        Entry::Vacant(place) => {
            place.insert(User {
                identity: Some(Identity::new(Content {
                    method: AuthMethod::Basic,
                    subject: Some(subject),
                    headers: Vec::new(),
                    valid_until: None,
                    credential: Credential::Password(fingerprint(&stored)),
                    claims: None,
                    key_scopes: Box::default(),
                })),
                stored,
            });
            Ok(())
        }
    }
}

/// What tells a password that was changed from the one before.
fn fingerprint(stored: &StoredPassword) -> [u8; 32] {
    sha256(&[stored.bytes()])
}

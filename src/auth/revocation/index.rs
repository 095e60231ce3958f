//! The entries in memory, found by what a credential says of itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::entry::{Change, Deletion, Revocation, RevocationId, Target, TokenSelector};
use crate::auth::identity::{Credential, Identity, TokenIds};

/// The entries that count.
#[derive(Debug, Default)]
pub(super) struct Index {
    entries: BTreeMap<RevocationId, Revocation>,
    deletions: HashMap<RevocationId, u64>,
    issuers: HashMap<Arc<str>, IssuerEntries>,
    keys: HashMap<Arc<str>, Scope>,
    certificates: HashMap<[u8; 32], Scope>,
    /// Of issuers whose entries were dropped at the end of `keep_secs`: the last second whose
    /// tokens one of them may have named.
    expired: HashMap<Arc<str>, u64>,
}

/// The entries of one issuer.
#[derive(Debug, Default)]
struct IssuerEntries {
    token_ids: HashMap<Arc<str>, Scope>,
    sessions: HashMap<Arc<str>, Scope>,
    subjects: HashMap<Arc<str>, Scope>,
    client_ids: HashMap<Arc<str>, Scope>,
    all: Option<Scope>,
}

/// From when to when an entry counts.
#[derive(Debug, Clone, Copy)]
struct Scope {
    before: Option<u64>,
    until: Option<u64>,
}

impl Scope {
    fn of(entry: &Revocation) -> Self {
        Self {
            before: entry.before,
            until: entry.until,
        }
    }

    /// Whether it covers what was issued in this second; `None`: it is not known when.
    fn covers(self, issued_at: Option<u64>, now: u64) -> bool {
        self.until.is_none_or(|until| now < until)
            && match (self.before, issued_at) {
                (Some(before), Some(issued_at)) => issued_at <= before,
                _ => true,
            }
    }
}

impl IssuerEntries {
    fn slot(
        &mut self,
        selector: &TokenSelector,
    ) -> Option<(&mut HashMap<Arc<str>, Scope>, Arc<str>)> {
        Some(match selector {
            TokenSelector::TokenId(value) => (&mut self.token_ids, value.clone()),
            TokenSelector::Session(value) => (&mut self.sessions, value.clone()),
            TokenSelector::Subject(value) => (&mut self.subjects, value.clone()),
            TokenSelector::ClientId(value) => (&mut self.client_ids, value.clone()),
            TokenSelector::All => return None,
        })
    }

    fn set(&mut self, selector: &TokenSelector, scope: Option<Scope>) {
        match (self.slot(selector), scope) {
            (Some((map, value)), Some(scope)) => {
                map.insert(value, scope);
            }
            (Some((map, value)), None) => {
                map.remove(&value);
            }
            (None, scope) => self.all = scope,
        }
    }

    fn is_empty(&self) -> bool {
        let maps = [
            &self.token_ids,
            &self.sessions,
            &self.subjects,
            &self.client_ids,
        ];
        self.all.is_none() && maps.into_iter().all(HashMap::is_empty)
    }

    fn names(&self, ids: &TokenIds, subject: Option<&str>, now: u64) -> bool {
        let issued_at = ids.issued_at.map(|at| at.max(0.0) as u64);
        let found = |map: &HashMap<Arc<str>, Scope>, value: Option<&str>| {
            let scope = value.and_then(|value| map.get(value));
            scope.is_some_and(|scope| scope.covers(issued_at, now))
        };
        found(&self.token_ids, ids.token_id.as_deref())
            || found(&self.sessions, ids.session.as_deref())
            || found(&self.subjects, subject)
            || found(&self.client_ids, ids.client_id.as_deref())
            || self.all.is_some_and(|scope| scope.covers(issued_at, now))
    }
}

impl Index {
    /// Whether an entry names the credential behind an identity, at this second since 1970. A
    /// token that an entry may have named which was dropped after `keep_secs` counts as named.
    pub(super) fn names(&self, identity: &Identity, now: u64, keep_secs: u64) -> bool {
        let subject = identity.subject().and_then(|subject| subject.to_str().ok());
        match identity.credential() {
            Credential::Token(ids) => {
                let Some(issuer) = ids.issuer.as_deref() else {
                    return false;
                };
                let entries = self.issuers.get(issuer);
                entries.is_some_and(|entries| entries.names(ids, subject, now))
                    || self.outlives(identity, ids, issuer, now, keep_secs)
            }
            Credential::ApiKey(_) => subject
                .and_then(|id| self.keys.get(id))
                .is_some_and(|scope| scope.covers(None, now)),
            Credential::Certificate(fingerprint) => self
                .certificates
                .get(fingerprint)
                .is_some_and(|scope| scope.covers(None, now)),
            Credential::Password(_) => false,
        }
    }

    /// Whether a token lives longer than entries are kept, and one of those that were dropped may
    /// have named it.
    fn outlives(
        &self,
        identity: &Identity,
        ids: &TokenIds,
        issuer: &str,
        now: u64,
        keep_secs: u64,
    ) -> bool {
        let Some(&last) = self.expired.get(issuer) else {
            return false;
        };
        match ids.issued_at {
            Some(issued_at) => issued_at.max(0.0) as u64 <= last,
            None => identity
                .valid_until()
                .is_some_and(|until| until > now.saturating_add(keep_secs) as f64),
        }
    }

    /// Takes a change in. Whether it changes anything.
    pub(super) fn apply(&mut self, change: &Change) -> bool {
        match change {
            Change::Revoked(entry) => self.insert(entry),
            Change::Deleted(deletion) => self.delete(*deletion),
        }
    }

    fn insert(&mut self, entry: &Revocation) -> bool {
        let id = entry.id();
        if let Some(deleted_at) = self.deletions.get(&id) {
            if entry.made_at <= *deleted_at {
                return false;
            }
            self.deletions.remove(&id);
        }
        let merged = match self.entries.get(&id) {
            Some(known) => {
                let mut merged = known.clone();
                merged.merge(entry);
                if merged == *known {
                    return false;
                }
                merged
            }
            None => entry.clone(),
        };
        self.scope(&merged.target, Some(Scope::of(&merged)));
        self.entries.insert(id, merged);
        true
    }

    fn delete(&mut self, deletion: Deletion) -> bool {
        let Deletion { id, deleted_at } = deletion;
        if let Some(entry) = self.entries.get(&id) {
            if entry.made_at > deleted_at {
                return false;
            }
            let target = entry.target.clone();
            self.entries.remove(&id);
            self.scope(&target, None);
        } else if self
            .deletions
            .get(&id)
            .is_some_and(|known| *known >= deleted_at)
        {
            return false;
        }
        self.deletions.insert(id, deleted_at);
        true
    }

    /// Sets or removes what a target is found by.
    fn scope(&mut self, target: &Target, scope: Option<Scope>) {
        match (target, scope) {
            (Target::Tokens(issuer, selector), scope) => {
                let entries = self.issuers.entry(issuer.clone()).or_default();
                entries.set(selector, scope);
                if entries.is_empty() {
                    self.issuers.remove(issuer);
                }
            }
            (Target::ApiKey(id), Some(scope)) => {
                self.keys.insert(id.clone(), scope);
            }
            (Target::ApiKey(id), None) => {
                self.keys.remove(id);
            }
            (Target::Certificate(fingerprint), Some(scope)) => {
                self.certificates.insert(*fingerprint, scope);
            }
            (Target::Certificate(fingerprint), None) => {
                self.certificates.remove(fingerprint);
            }
        }
    }
}

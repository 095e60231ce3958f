//! The entries in memory, found by what a credential says of itself.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use foldhash::HashMap;
use jose::clock;

use super::entry::{Change, Deletion, Revocation, RevocationId, Target, TokenSelector};
use super::journal::{Expired, Record};
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
    fn set(&mut self, selector: &TokenSelector, scope: Option<Scope>) {
        let (map, value) = match selector {
            TokenSelector::TokenId(value) => (&mut self.token_ids, value),
            TokenSelector::Session(value) => (&mut self.sessions, value),
            TokenSelector::Subject(value) => (&mut self.subjects, value),
            TokenSelector::ClientId(value) => (&mut self.client_ids, value),
            TokenSelector::All => {
                self.all = scope;
                return;
            }
        };
        match scope {
            Some(scope) => map.insert(value.clone(), scope),
            None => map.remove(value),
        };
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
        let names_certificate = |fingerprint: &[u8; 32]| {
            let scope = self.certificates.get(fingerprint);
            scope.is_some_and(|scope| scope.covers(None, now))
        };
        match identity.credential() {
            // Its sender has shown the certificate.
            Credential::Token(ids) if ids.certificate.as_deref().is_some_and(names_certificate) => {
                true
            }
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
            Credential::Certificate(fingerprint) => names_certificate(fingerprint),
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

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many of `max` places are taken. What is left behind by entries that were dropped takes
    /// places of its own, as many again: each was an entry once.
    pub(super) fn occupied(&self, max: usize) -> usize {
        let surplus = (self.entries.len() + self.expired.len()).saturating_sub(max);
        self.entries.len().max(surplus)
    }

    /// Whether there is room for the new entries among these changes.
    pub(super) fn fits(&self, changes: &[Change], max: usize) -> bool {
        let new = changes.iter().filter_map(|change| match change {
            Change::Revoked(entry) => Some(entry.id()),
            Change::Deleted(_) => None,
        });
        let new: HashSet<_> = new.filter(|id| !self.entries.contains_key(id)).collect();
        new.is_empty() || new.len() + self.occupied(max) <= max
    }

    /// Keeps those changes with which there are at most `max` entries.
    pub(super) fn retain_fitting(&self, changes: &mut Vec<Change>, max: usize) {
        let room = max.saturating_sub(self.occupied(max));
        let mut new = HashSet::new();
        changes.retain(|change| match change {
            Change::Revoked(entry) => {
                let id = entry.id();
                let is_known = self.entries.contains_key(&id) || new.contains(&id);
                is_known || (new.len() < room && new.insert(id))
            }
            Change::Deleted(_) => true,
        });
    }

    /// At most `limit` entries behind this one, in the order of their names.
    pub(super) fn page(&self, after: Option<RevocationId>, limit: usize) -> Vec<Revocation> {
        let first = after.map_or(Bound::Unbounded, Bound::Excluded);
        let entries = self.entries.range((first, Bound::Unbounded)).take(limit);
        entries.map(|(_, entry)| entry.clone()).collect()
    }

    /// What is left behind by entries that are gone.
    pub(super) fn traces(&self) -> Vec<Record> {
        let expired = self.expired.iter().map(|(issuer, before)| {
            let (issuer, before) = (issuer.as_ref().to_owned(), *before);
            Record::Expired(Expired { issuer, before })
        });
        let deletions = self.deletions.iter().map(|(id, deleted_at)| {
            let (id, deleted_at) = (*id, *deleted_at);
            Record::Deleted(Deletion { id, deleted_at })
        });
        deletions.chain(expired).collect()
    }

    /// How many records that are.
    pub(super) fn records_count(&self) -> usize {
        self.expired.len() + self.deletions.len() + self.entries.len()
    }

    /// An entry as it is made now: what comes later wins.
    pub(super) fn renewed(&self, entry: &Revocation) -> Revocation {
        let id = entry.id();
        let deleted_at = self
            .deletions
            .get(&id)
            .map_or(0, |deleted_at| deleted_at + 1);
        Revocation {
            made_at: entry.made_at.max(deleted_at),
            ..entry.clone()
        }
    }

    /// The deletion of an entry, if there is one of this name.
    pub(super) fn deletion(&self, id: RevocationId) -> Option<Deletion> {
        let entry = self.entries.get(&id)?;
        let deleted_at = ((clock::now() * 1000.0) as u64).max(entry.made_at);
        Some(Deletion { id, deleted_at })
    }

    /// Whether applying this change would alter the list.
    pub(super) fn is_changed_by(&self, change: &Change) -> bool {
        match change {
            Change::Revoked(entry) => self.merged(&entry.id(), entry).is_some(),
            Change::Deleted(Deletion { id, deleted_at }) => match self.entries.get(id) {
                Some(entry) => entry.made_at <= *deleted_at,
                None => self
                    .deletions
                    .get(id)
                    .is_none_or(|known| known < deleted_at),
            },
        }
    }

    /// Takes a record in. Whether it changes anything.
    pub(super) fn apply(&mut self, record: &Record) -> bool {
        match record {
            Record::Revoked(entry) => self.insert(entry),
            Record::Deleted(deletion) => self.delete(*deletion),
            Record::Expired(Expired { issuer, before }) => {
                self.note_expired(issuer.as_str().into(), *before)
            }
        }
    }

    /// What an entry becomes with what is known of its target. `None`: it changes nothing.
    fn merged(&self, id: &RevocationId, entry: &Revocation) -> Option<Revocation> {
        let deleted_at = self.deletions.get(id);
        if deleted_at.is_some_and(|deleted_at| entry.made_at <= *deleted_at) {
            return None;
        }
        let Some(known) = self.entries.get(id) else {
            return Some(entry.clone());
        };
        let mut merged = known.clone();
        merged.merge(entry);
        (merged != *known).then_some(merged)
    }

    fn insert(&mut self, entry: &Revocation) -> bool {
        let id = entry.id();
        let Some(merged) = self.merged(&id, entry) else {
            return false;
        };
        self.deletions.remove(&id);
        self.set_scope(&merged.target, Some(Scope::of(&merged)));
        self.entries.insert(id, merged);
        true
    }

    fn delete(&mut self, deletion: Deletion) -> bool {
        if !self.is_changed_by(&Change::Deleted(deletion)) {
            return false;
        }
        self.remove(&deletion.id);
        self.deletions.insert(deletion.id, deletion.deleted_at);
        true
    }

    fn remove(&mut self, id: &RevocationId) -> Option<Revocation> {
        let entry = self.entries.remove(id)?;
        self.set_scope(&entry.target, None);
        Some(entry)
    }

    /// The names of what has expired at this second since 1970.
    pub(super) fn expired(&self, now: u64, keep_secs: u64) -> Vec<RevocationId> {
        let has_expired = |entry: &Revocation| {
            let expires_at = entry.expires_at(keep_secs);
            expires_at.is_some_and(|expires_at| expires_at <= now)
        };
        let expired = self.entries.iter().filter(|(_, entry)| has_expired(entry));
        expired.map(|(id, _)| *id).collect()
    }

    /// Drops an entry, if it has expired. Whether it was there.
    pub(super) fn expire(&mut self, id: &RevocationId, now: u64, keep_secs: u64) -> bool {
        let expires_at = |entry: &Revocation| entry.expires_at(keep_secs);
        let due = self.entries.get(id).and_then(expires_at);
        if due.is_none_or(|due| due > now) {
            return false;
        }
        let Some(entry) = self.remove(id) else {
            return false;
        };
        // An explicit `until` was meant to end: nothing is kept for longer-lived tokens.
        if let (Target::Tokens(issuer, _), None) = (&entry.target, entry.until) {
            let before = entry.before.unwrap_or(entry.made_at / 1000);
            self.note_expired(issuer.clone(), before);
        }
        true
    }

    fn note_expired(&mut self, issuer: Arc<str>, before: u64) -> bool {
        let known = self.expired.entry(issuer).or_default();
        let later = *known < before;
        *known = before.max(*known);
        later
    }

    /// Forgets deletions of entries that no node can have any more, and the oldest of more than
    /// `max`.
    pub(super) fn forget_deletions(&mut self, now: u64, keep_secs: u64, max: usize) {
        let oldest = now.saturating_sub(keep_secs).saturating_mul(1000);
        self.deletions.retain(|_, deleted_at| *deleted_at > oldest);
        let surplus = self.deletions.len().saturating_sub(max);
        if surplus > 0 {
            let mut times: Vec<u64> = self.deletions.values().copied().collect();
            times.sort_unstable();
            let oldest = times[surplus - 1];
            self.deletions.retain(|_, deleted_at| *deleted_at > oldest);
        }
    }

    /// Sets or removes what a target is found by.
    fn set_scope(&mut self, target: &Target, scope: Option<Scope>) {
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

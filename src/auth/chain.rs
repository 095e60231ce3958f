//! The authentication steps of a pipeline, joined into groups.
//!
//! Steps marked `optional` and the step after them form a group: the first step that authenticates
//! satisfies it. Groups are ANDed. A rejected credential ends the request at once, also in an
//! optional step, unless the step says `fallback_on = "failed"`: then the rest of its group may
//! try, but the group never passes as anonymous.

mod group;
mod recheck;

use std::sync::Arc;

use http::HeaderValue;
use jose::clock::{self, UnixTime};
use smallvec::SmallVec;

use super::error::{BuildCause, BuildError};
use super::extractor::{self, Found};
use super::identity::Identity;
use super::locations::{CredentialLocations, VerifiedLocations};
use super::outcome::{Denial, Reason};
use super::request::AuthRequest;
use super::shared::Shared;
use super::trace::Trace;
use crate::config::{CredentialLocation, Step, StepKind};

use group::Group;

pub(crate) use group::Member;
pub use recheck::RecheckOutcome;

/// The authentication steps of one pipeline, compiled. Built once per configuration.
#[derive(Debug)]
pub struct Chain {
    groups: Vec<Group>,
    /// Where credentials are looked for, each location once.
    locations: Vec<CredentialLocation>,
}

/// What a chain has found out about a request that it lets on.
#[derive(Debug, Default)]
pub struct Admission {
    /// What let it in, one for each group that yields an identity. Empty: it passes as anonymous.
    pub admitted: SmallVec<[Admitted; 2]>,
    /// Where the credentials stand that were verified.
    pub verified: VerifiedLocations,
    /// What the client's next proof has to hold: `DPoP-Nonce` (RFC 9449 section 8.2).
    pub nonce: Option<HeaderValue>,
}

/// A credential that let a request in.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// Whose it is.
    pub identity: Identity,
    /// The step that took it, by its number among the authentication steps of the pipeline.
    pub step: usize,
}

impl Admission {
    /// That of the first group that yields one. `None`: it passes as anonymous.
    pub fn identity(&self) -> Option<&Identity> {
        self.admitted.first().map(|admitted| &admitted.identity)
    }
}

impl Chain {
    /// Compiles the steps: reads key files, and registers key sets with `shared`, which fetches
    /// them later. Every step's error is reported.
    pub fn build(steps: &[Step], shared: &Shared) -> Result<Self, Vec<BuildError>> {
        Self::of_resource(steps, shared, None)
    }

    /// The same; its challenges point at `metadata`, where the resource describes itself (RFC 9728
    /// section 5).
    ///
    /// # Errors
    ///
    /// As [`Self::build`].
    pub fn of_resource(
        steps: &[Step],
        shared: &Shared,
        metadata: Option<&str>,
    ) -> Result<Self, Vec<BuildError>> {
        let mut members = Vec::new();
        let mut errors = Vec::new();
        for step in steps {
            match Member::build(step, shared) {
                Ok(Some(member)) => members.push((step, member)),
                Ok(None) => {}
                Err(cause) => errors.push(BuildError::new(&step.name, cause)),
            }
        }
        let mut groups = Vec::new();
        let mut group = Vec::new();
        let mut rest = members.into_iter().peekable();
        while let Some((step, member)) = rest.next() {
            let last = !member.optional || rest.peek().is_none();
            if last && member.fallback_on_failed {
                errors.push(BuildError::new(&step.name, BuildCause::NothingToFallBackOn));
            }
            group.push(member);
            if last {
                match Group::new(std::mem::take(&mut group), metadata) {
                    Some(group) => groups.push(group),
                    None => errors.push(BuildError::new(&step.name, BuildCause::Realm)),
                }
            }
        }
        if errors.is_empty() {
            let locations = locations(&groups);
            Ok(Self { groups, locations })
        } else {
            Err(errors)
        }
    }

    /// One step by itself, whatever group it would belong to.
    ///
    /// # Errors
    ///
    /// As [`Self::build`].
    pub fn alone(step: &Step, shared: &Shared) -> Result<Self, Vec<BuildError>> {
        let mut step = step.clone();
        if let StepKind::Auth(auth) = &mut step.kind {
            auth.fallback_on_failed = false;
        }
        Self::build(&[step], shared)
    }

    /// Whether there is no authentication step at all.
    pub fn is_open(&self) -> bool {
        self.groups.is_empty()
    }

    /// Adds what its steps read to the locations of its pipeline, by which [`Admission::verified`]
    /// goes from then on.
    pub fn add_locations(&mut self, locations: &mut CredentialLocations) {
        for member in self.groups.iter_mut().flat_map(|group| &mut group.members) {
            if let Some(location) = member.authenticator.location() {
                member.verified = locations.add(location, member.forward_credential);
            }
        }
    }

    /// Numbers its steps, from `next` on: [`Admitted::step`].
    pub fn number_steps(&mut self, next: &mut usize) {
        for member in self.groups.iter_mut().flat_map(|group| &mut group.members) {
            member.number = *next;
            *next += 1;
        }
    }

    /// Its steps.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Member> {
        self.groups.iter().flat_map(|group| &group.members)
    }

    /// Where it looks for credentials.
    pub fn locations(&self) -> impl Iterator<Item = &CredentialLocation> {
        self.locations.iter()
    }

    /// The names of its steps.
    pub fn steps(&self) -> impl Iterator<Item = &Arc<str>> {
        self.members().map(|member| &member.name)
    }

    /// Lets a request in, or says why not.
    ///
    /// # Errors
    ///
    /// The denial of the first group that does not let it pass.
    pub async fn admit(
        &self,
        request: &AuthRequest<'_>,
        trace: &mut Trace,
    ) -> Result<Admission, Denial> {
        self.admit_at(request, clock::now(), trace).await
    }

    /// The same, for those who want to know no more than who it is. `Ok(None)`: it passes as
    /// anonymous.
    ///
    /// # Errors
    ///
    /// As [`Self::admit`].
    pub async fn authenticate(
        &self,
        request: &AuthRequest<'_>,
    ) -> Result<Option<Identity>, Denial> {
        let admission = self.admit(request, &mut Trace::off()).await?;
        Ok(admission.identity().cloned())
    }

    /// Whether [`Chain::admit`] may take long for this request, because a password has to be
    /// hashed. Meanwhile it is worth watching whether the client still waits: dropping the future
    /// withdraws the work.
    pub fn may_wait(&self, request: &AuthRequest<'_>) -> bool {
        self.members()
            .any(|member| member.authenticator.may_wait(request))
    }

    pub(crate) async fn admit_at(
        &self,
        request: &AuthRequest<'_>,
        now: UnixTime,
        trace: &mut Trace,
    ) -> Result<Admission, Denial> {
        let mut admission = Admission::default();
        let Some(first) = self.groups.first() else {
            return Ok(admission);
        };
        if let Some(location) = self.repeated(request) {
            trace.detail(|| format!("{} is there more than once", extractor::named(location)));
            if let Some(member) = first.members.first() {
                trace.rejected(&member.name, Reason::Repeated);
            }
            return Err(first.deny(0, Reason::Repeated.into(), request, now));
        }
        for group in &self.groups {
            if let Some((identity, member)) = group.authenticate(request, now, trace).await? {
                admission.admitted.push(Admitted {
                    identity,
                    step: member.number,
                });
                admission.verified.add(member.verified);
                let nonce = member.authenticator.next_nonce(request, None, now);
                admission.nonce = admission.nonce.take().or(nonce);
            }
        }
        Ok(admission)
    }

    /// Where a credential comes more than once.
    fn repeated(&self, request: &AuthRequest<'_>) -> Option<&CredentialLocation> {
        let mut locations = self.locations.iter();
        locations.find(|location| extractor::find(location, request) == Found::Repeated)
    }
}

/// `Authorization` first: it may not be repeated, whether or not a step reads it.
fn locations(groups: &[Group]) -> Vec<CredentialLocation> {
    let mut locations = vec![CredentialLocation::Authorization];
    for member in groups.iter().flat_map(|group| &group.members) {
        if let Some(location) = member.authenticator.location()
            && !locations.contains(location)
        {
            locations.push(location.clone());
        }
    }
    locations
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod mixed_methods;

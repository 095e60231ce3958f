//! The authentication steps of a pipeline, joined into groups.
//!
//! Steps marked `optional` and the step after them form a group: the first step that authenticates
//! satisfies it. Groups are ANDed. A rejected credential ends the request at once, also in an
//! optional step, unless the step says `fallback_on = "failed"`: then the rest of its group may
//! try, but the group never passes as anonymous.

use std::sync::Arc;

use jose::clock::{self, UnixTime};

use super::api_key;
use super::basic;
use super::challenge::{Challenges, Scheme};
use super::error::{BuildCause, BuildError};
use super::identity::Identity;
use super::jwt;
use super::mutual_tls;
use super::outcome::{Denial, Outcome, Reason, Refusal};
use super::place::{self, Found};
use super::places::{Places, VerifiedPlaces};
use super::presented::Presented;
use super::shared::Shared;
use super::trace::Trace;
use crate::config::{AuthSettings, CredentialLocation, Step};

/// The authentication steps of one pipeline, compiled. Built once per configuration.
#[derive(Debug)]
pub struct Chain {
    groups: Vec<Group>,
    /// Where credentials are looked for, each place once.
    places: Vec<CredentialLocation>,
}

/// What a chain has found out about a request that it lets on.
#[derive(Debug, Default)]
pub struct Admission {
    /// That of the first group that yields one. `None`: it passes as anonymous.
    pub identity: Option<Identity>,
    /// Where the credentials stand that were verified.
    pub verified: VerifiedPlaces,
}

impl Chain {
    /// Compiles the steps: reads key files, and registers key sets with `shared`, which fetches
    /// them later. Every step's error is reported.
    pub fn build(steps: &[Step], shared: &Shared) -> Result<Self, Vec<BuildError>> {
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
                match Group::new(std::mem::take(&mut group)) {
                    Some(group) => groups.push(group),
                    None => errors.push(BuildError::new(&step.name, BuildCause::Realm)),
                }
            }
        }
        if errors.is_empty() {
            let places = places(&groups);
            Ok(Self { groups, places })
        } else {
            Err(errors)
        }
    }

    /// Whether there is no authentication step at all.
    pub fn is_open(&self) -> bool {
        self.groups.is_empty()
    }

    /// Adds what its steps read to the places of its pipeline, by which [`Admission::verified`]
    /// goes from then on.
    pub fn add_places(&mut self, places: &mut Places) {
        for member in self.groups.iter_mut().flat_map(|group| &mut group.members) {
            if let Some(place) = member.authenticator.place() {
                member.verified = places.add(place, member.forward_credential);
            }
        }
    }

    /// The names of its steps.
    pub fn steps(&self) -> impl Iterator<Item = &Arc<str>> {
        let members = self.groups.iter().flat_map(|group| &group.members);
        members.map(|member| &member.name)
    }

    /// Lets a request in, or says why not.
    ///
    /// # Errors
    ///
    /// The denial of the first group that does not let it pass.
    pub async fn admit(
        &self,
        request: &Presented<'_>,
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
    pub async fn authenticate(&self, request: &Presented<'_>) -> Result<Option<Identity>, Denial> {
        Ok(self.admit(request, &mut Trace::off()).await?.identity)
    }

    /// Whether [`Chain::admit`] may take long for this request, because a password has to be
    /// hashed. Meanwhile it is worth watching whether the client still waits: dropping the future
    /// withdraws the work.
    pub fn may_wait(&self, request: &Presented<'_>) -> bool {
        let mut members = self.groups.iter().flat_map(|group| &group.members);
        members.any(|member| member.authenticator.may_wait(request))
    }

    pub(crate) async fn admit_at(
        &self,
        request: &Presented<'_>,
        now: UnixTime,
        trace: &mut Trace,
    ) -> Result<Admission, Denial> {
        let mut admission = Admission::default();
        let Some(first) = self.groups.first() else {
            return Ok(admission);
        };
        if let Some(place) = self.repeated(request) {
            let refusal = Refusal::from(Reason::Repeated);
            if let Some(member) = first.members.first() {
                let why = || format!("{} is there more than once", place::named(place));
                trace.step(&member.name, || rejected(refusal, why()));
            }
            return Err(first.deny(refusal));
        }
        for group in &self.groups {
            if let Some((identity, verified)) = group.authenticate(request, now, trace).await? {
                admission.identity.get_or_insert(identity);
                admission.verified.add(verified);
            }
        }
        Ok(admission)
    }

    /// Where a credential comes more than once.
    fn repeated(&self, request: &Presented<'_>) -> Option<&CredentialLocation> {
        let mut places = self.places.iter();
        places.find(|place| place::find(place, request) == Found::Repeated)
    }
}

/// `Authorization` first: it counts whoever reads it.
fn places(groups: &[Group]) -> Vec<CredentialLocation> {
    let mut places = vec![CredentialLocation::Authorization];
    for member in groups.iter().flat_map(|group| &group.members) {
        if let Some(place) = member.authenticator.place()
            && !places.contains(place)
        {
            places.push(place.clone());
        }
    }
    places
}

/// Steps of which one is enough.
#[derive(Debug)]
struct Group {
    members: Vec<Member>,
    /// Whether it passes when nothing is presented: its last step is optional too.
    optional: bool,
    challenges: Challenges,
}

impl Group {
    /// `None`: a realm that no header can carry.
    fn new(members: Vec<Member>) -> Option<Self> {
        let challenges = Challenges::new(
            members
                .iter()
                .map(|member| (member.authenticator.scheme(), member.realm.as_str())),
        )?;
        Some(Self {
            optional: members.iter().all(|member| member.optional),
            members,
            challenges,
        })
    }

    async fn authenticate(
        &self,
        request: &Presented<'_>,
        now: UnixTime,
        trace: &mut Trace,
    ) -> Result<Option<(Identity, VerifiedPlaces)>, Denial> {
        let mut gravest: Option<Refusal> = None;
        for (index, member) in self.members.iter().enumerate() {
            let outcome = member.authenticate(request, now, trace).await;
            match outcome {
                Outcome::Authenticated(identity) => {
                    self.skip(index, request, trace);
                    return Ok(Some((identity, member.verified)));
                }
                Outcome::NotPresented => {}
                Outcome::Rejected(refusal) => {
                    log::debug!("{}: {}", member.name, refusal.reason.as_str());
                    if gravest.is_none_or(|known| known.reason.class() < refusal.reason.class()) {
                        gravest = Some(refusal);
                    }
                    // A credential that came twice could mean either: no other step makes that
                    // good.
                    if !member.fallback_on_failed || refusal.reason == Reason::Repeated {
                        self.skip(index, request, trace);
                        break;
                    }
                }
            }
        }
        match gravest {
            Some(refusal) => Err(self.deny(refusal)),
            None if self.optional => Ok(None),
            None => Err(self.deny(Reason::Missing.into())),
        }
    }

    /// Takes down that the rest of the group is passed over, since this member has decided.
    fn skip(&self, decided: usize, request: &Presented<'_>, trace: &mut Trace) {
        if !trace.is_on() {
            return;
        }
        let (decided, rest) = (&self.members[decided], &self.members[decided + 1..]);
        for member in rest {
            let place = member.authenticator.place();
            let unverified = place
                .filter(|place| Some(*place) != decided.authenticator.place())
                .filter(|place| place::find(place, request) != Found::Nothing);
            trace.step(&member.name, || match unverified {
                Some(place) => format!(
                    "skipped: {} has decided; what {} holds is not verified",
                    decided.name,
                    place::named(place)
                ),
                None => format!("skipped: {} has decided", decided.name),
            });
        }
    }

    fn deny(&self, refusal: Refusal) -> Denial {
        Denial {
            reason: refusal.reason,
            challenges: self.challenges.of(refusal.reason.class()),
            retry_after: refusal.retry_after,
        }
    }
}

/// One step of a group.
#[derive(Debug)]
struct Member {
    name: Arc<str>,
    optional: bool,
    fallback_on_failed: bool,
    forward_credential: bool,
    /// What it verifies by letting a request on.
    verified: VerifiedPlaces,
    realm: String,
    authenticator: Authenticator,
}

impl Member {
    async fn authenticate(
        &self,
        request: &Presented<'_>,
        now: UnixTime,
        trace: &mut Trace,
    ) -> Outcome {
        let outcome = self.authenticator.authenticate(request, now).await;
        trace.step(&self.name, || {
            let place = self.authenticator.place();
            match &outcome {
                Outcome::Authenticated(identity) => authenticated(identity, place),
                Outcome::NotPresented => not_presented(request, place),
                Outcome::Rejected(refusal) => {
                    let why = self.authenticator.why(request, refusal.reason, now);
                    rejected(*refusal, why.unwrap_or_default())
                }
            }
        });
        outcome
    }

    /// `None`: not an authentication step.
    fn build(step: &Step, shared: &Shared) -> Result<Option<Self>, BuildCause> {
        let Some(auth) = step.kind.auth() else {
            return Ok(None);
        };
        let authenticator = match &auth.settings {
            AuthSettings::Jwt(settings) => Authenticator::Jwt(jwt::Verifier::build(
                settings,
                &shared.key_sets,
                shared.tokens(),
            )?),
            AuthSettings::Basic(settings) => Authenticator::Basic(basic::Verifier::build(
                &step.name,
                settings,
                &shared.passwords,
            )?),
            AuthSettings::ApiKey(settings) => Authenticator::ApiKey(api_key::Verifier::build(
                &step.name,
                settings,
                &shared.key_failures,
            )?),
            AuthSettings::MutualTls(settings) => {
                Authenticator::MutualTls(mutual_tls::Verifier::new(settings))
            }
        };
        Ok(Some(Self {
            name: step.name.clone(),
            optional: auth.optional,
            fallback_on_failed: auth.fallback_on_failed,
            forward_credential: auth.forward_credential,
            verified: VerifiedPlaces::default(),
            realm: auth.realm.clone(),
            authenticator,
        }))
    }
}

fn authenticated(identity: &Identity, place: Option<&CredentialLocation>) -> String {
    let subject = identity.subject().and_then(|subject| subject.to_str().ok());
    let subject = subject.unwrap_or("nobody by name");
    match place {
        Some(place) => format!("authenticated as {subject} by {}", place::named(place)),
        None => format!("authenticated as {subject}"),
    }
}

fn not_presented(request: &Presented<'_>, place: Option<&CredentialLocation>) -> String {
    match place {
        None => "nothing presented: no client certificate".to_owned(),
        Some(place) if place::find(place, request) == Found::Nothing => {
            format!("nothing presented: no {}", place::named(place))
        }
        Some(place) => format!(
            "nothing presented: what {} holds is of another kind",
            place::named(place)
        ),
    }
}

fn rejected(refusal: Refusal, why: String) -> String {
    match why.as_str() {
        "" => format!("rejected: {}", refusal.reason.as_str()),
        why => format!("rejected: {}: {why}", refusal.reason.as_str()),
    }
}

/// What examines one kind of credential.
#[derive(Debug)]
enum Authenticator {
    /// `jwt-auth`.
    Jwt(jwt::Verifier),
    /// `basic-auth`.
    Basic(basic::Verifier),
    /// `api-key`.
    ApiKey(api_key::Verifier),
    /// `mutual-tls`.
    MutualTls(mutual_tls::Verifier),
}

impl Authenticator {
    fn scheme(&self) -> Scheme {
        match self {
            Self::Jwt(_) => Scheme::Bearer,
            Self::Basic(_) => Scheme::Basic,
            Self::ApiKey(_) => Scheme::ApiKey,
            Self::MutualTls(_) => Scheme::ClientCertificate,
        }
    }

    /// Where in the request it looks for its credential; `None`: a certificate is no part of a
    /// request.
    fn place(&self) -> Option<&CredentialLocation> {
        match self {
            Self::Jwt(verifier) => Some(verifier.place()),
            Self::Basic(_) => Some(&CredentialLocation::Authorization),
            Self::ApiKey(verifier) => Some(verifier.place()),
            Self::MutualTls(_) => None,
        }
    }

    async fn authenticate(&self, request: &Presented<'_>, now: UnixTime) -> Outcome {
        match self {
            Self::Jwt(verifier) => verifier.authenticate(request, now).await,
            Self::Basic(verifier) => verifier.authenticate(request).await,
            Self::ApiKey(verifier) => verifier.authenticate(request, now),
            Self::MutualTls(verifier) => verifier.authenticate(request, now),
        }
    }

    /// What in a credential that was rejected does not fit.
    fn why(&self, request: &Presented<'_>, reason: Reason, now: UnixTime) -> Option<String> {
        match self {
            Self::Jwt(verifier) => verifier.why(request, reason, now),
            Self::Basic(_) | Self::ApiKey(_) | Self::MutualTls(_) => None,
        }
    }

    fn may_wait(&self, request: &Presented<'_>) -> bool {
        match self {
            Self::Basic(_) => basic::Verifier::may_wait(request.headers),
            Self::Jwt(_) | Self::ApiKey(_) | Self::MutualTls(_) => false,
        }
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod mixed;

//! Steps of which one is enough, and what each of them tells `explain`.

use std::sync::Arc;

use jose::clock::UnixTime;

use crate::auth::authenticator::Authenticator;
use crate::auth::challenge::{Challenges, Offer};
use crate::auth::error::BuildCause;
use crate::auth::extractor::{self, Found};
use crate::auth::identity::Identity;
use crate::auth::locations::VerifiedLocations;
use crate::auth::outcome::{Denial, Outcome, Reason, Refusal};
use crate::auth::request::AuthRequest;
use crate::auth::revocation::Revocations;
use crate::auth::shared::Shared;
use crate::auth::trace::Trace;
use crate::config::{CredentialLocation, Step};

/// Steps of which one is enough.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) members: Vec<Member>,
    /// Whether it passes when nothing is presented: its last step is optional too.
    pub(super) optional: bool,
    challenges: Challenges,
}

impl Group {
    /// `metadata` is where the resource describes itself. `None`: a realm that no header can carry.
    pub(super) fn new(members: Vec<Member>, metadata: Option<&str>) -> Option<Self> {
        let offers = members.iter().map(Member::offers).collect::<Vec<_>>();
        let challenges = Challenges::new(&offers, metadata)?;
        Some(Self {
            optional: members.iter().all(|member| member.optional),
            members,
            challenges,
        })
    }

    pub(super) async fn authenticate(
        &self,
        request: &AuthRequest<'_>,
        now: UnixTime,
        trace: &mut Trace,
    ) -> Result<Option<(Identity, &Member)>, Denial> {
        let mut gravest: Option<(usize, Refusal)> = None;
        for (index, member) in self.members.iter().enumerate() {
            let outcome = member.authenticate(request, now, trace).await;
            match outcome {
                Outcome::Authenticated(identity) => {
                    self.skip(index, request, trace);
                    return Ok(Some((identity, member)));
                }
                Outcome::NotPresented => {}
                Outcome::Rejected(refusal) => {
                    let class = refusal.reason.class();
                    if gravest.is_none_or(|(_, known)| known.reason.class() < class) {
                        gravest = Some((index, refusal));
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
            Some((index, refusal)) => Err(self.deny(index, refusal, request, now)),
            None if self.optional => Ok(None),
            None => Err(self.deny(0, Reason::Missing.into(), request, now)),
        }
    }

    /// Takes down that the rest of the group is passed over, since this member has decided.
    fn skip(&self, decided: usize, request: &AuthRequest<'_>, trace: &mut Trace) {
        if !trace.is_recording() {
            return;
        }
        let (decided, rest) = (&self.members[decided], &self.members[decided + 1..]);
        for member in rest {
            let location = member.authenticator.location();
            let unverified = location
                .filter(|location| Some(*location) != decided.authenticator.location())
                .filter(|location| extractor::find(location, request) != Found::Nothing);
            trace.step(&member.name, || match unverified {
                Some(location) => format!(
                    "skipped: {} has decided; what {} holds is not verified",
                    decided.name,
                    extractor::named(location)
                ),
                None => format!("skipped: {} has decided", decided.name),
            });
        }
    }

    /// The denial that a refusal by the member with this index becomes.
    pub(super) fn deny(
        &self,
        member: usize,
        refusal: Refusal,
        request: &AuthRequest<'_>,
        now: UnixTime,
    ) -> Denial {
        let member_of = |index: usize| self.members.get(index);
        Denial {
            reason: refusal.reason,
            challenges: self.challenges.of(refusal.reason.class(), member),
            retry_after: refusal.retry_after,
            nonce: member_of(member).and_then(|member| {
                let authenticator = &member.authenticator;
                authenticator.next_nonce(request, Some(refusal.reason), now)
            }),
        }
    }
}

/// One step of a group.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: Arc<str>,
    /// Among the authentication steps of the pipeline.
    pub(crate) number: usize,
    pub(super) optional: bool,
    pub(super) fallback_on_failed: bool,
    pub(super) forward_credential: bool,
    pub(crate) ends_streams: bool,
    pub(crate) ends_downloads: bool,
    /// What it verifies by letting a request on.
    pub(super) verified: VerifiedLocations,
    realm: String,
    pub(super) authenticator: Authenticator,
    /// Asked about whatever it lets in.
    revocations: Revocations,
}

impl Member {
    fn offers(&self) -> Vec<Offer<'_>> {
        self.authenticator.offers(&self.realm)
    }

    async fn authenticate(
        &self,
        request: &AuthRequest<'_>,
        now: UnixTime,
        trace: &mut Trace,
    ) -> Outcome {
        let outcome = match self.authenticator.authenticate(request, now, trace).await {
            Outcome::Authenticated(identity) if self.revocations.is_revoked(&identity) => {
                Outcome::Rejected(Reason::Revoked.into())
            }
            outcome => outcome,
        };
        let location = self.authenticator.location();
        match &outcome {
            Outcome::Authenticated(identity) => {
                trace.step(&self.name, || {
                    authenticated(identity, location) + self.ends()
                });
            }
            Outcome::NotPresented => trace.step(&self.name, || not_presented(request, location)),
            Outcome::Rejected(refusal) => trace.rejected(&self.name, refusal.reason),
        }
        outcome
    }

    /// How the step treats responses that outlive the credential; empty for the default.
    fn ends(&self) -> &'static str {
        match (self.ends_streams, self.ends_downloads) {
            (true, false) => "",
            (true, true) => "; every response ends with the credential",
            (false, _) => "; streams outlive the credential",
        }
    }

    /// `None`: not an authentication step.
    pub(super) fn build(step: &Step, shared: &Shared) -> Result<Option<Self>, BuildCause> {
        let Some(auth) = step.kind.auth() else {
            return Ok(None);
        };
        Ok(Some(Self {
            name: step.name.clone(),
            number: 0,
            optional: auth.optional,
            fallback_on_failed: auth.fallback_on_failed,
            forward_credential: auth.forward_credential,
            ends_streams: auth.ends_streams,
            ends_downloads: auth.ends_downloads,
            verified: VerifiedLocations::default(),
            realm: auth.realm.clone(),
            authenticator: Authenticator::build(&step.name, &auth.settings, shared)?,
            revocations: shared.revocations().clone(),
        }))
    }
}

fn authenticated(identity: &Identity, location: Option<&CredentialLocation>) -> String {
    let subject = identity.subject().and_then(|subject| subject.to_str().ok());
    let subject = subject.unwrap_or("nobody by name");
    match location {
        Some(location) => format!(
            "authenticated as {subject} by {}",
            extractor::named(location)
        ),
        None => format!("authenticated as {subject}"),
    }
}

fn not_presented(request: &AuthRequest<'_>, location: Option<&CredentialLocation>) -> String {
    match location {
        None => "nothing presented: no client certificate".to_owned(),
        Some(location) if extractor::find(location, request) == Found::Nothing => {
            format!("nothing presented: no {}", extractor::named(location))
        }
        Some(location) => format!(
            "nothing presented: what {} holds is of another kind",
            extractor::named(location)
        ),
    }
}

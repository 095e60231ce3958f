//! What key sets, issuers and credentials come to.

use super::families::{Families, Labels, count, flag, size};
use crate::gateway::{IssuerStatus, KeySetStatus, Live, SharedStoreStatus};

/// Names for labels: without their queries, two URLs may look the same; two samples must not.
fn distinct<'a>(names: impl Iterator<Item = &'a String> + Clone) -> Vec<String> {
    let numbered = |(place, name): (usize, &String)| match names
        .clone()
        .take(place)
        .filter(|it| *it == name)
        .count()
    {
        0 => name.clone(),
        before => format!("{name}#{}", before + 1),
    };
    names.clone().enumerate().map(numbered).collect()
}

pub(super) fn key_sets(all: &mut Families, sets: &[KeySetStatus]) {
    let urls = distinct(sets.iter().map(|set| &set.url));
    let of_sets = |value: &dyn Fn(&KeySetStatus) -> Option<f64>| -> Vec<_> {
        let sets = sets.iter().zip(&urls);
        sets.filter_map(|(set, url)| Some((vec![("url", url.clone())], value(set)?)))
            .collect()
    };
    all.gauge(
        "harmony_jwks_age_seconds",
        "Seconds since the keys in use were fetched.",
        of_sets(&|set| set.age.map(|age| age.as_secs_f64())),
    );
    all.gauge(
        "harmony_jwks_keys",
        "Keys in use; 0: no token of this issuer can be verified.",
        of_sets(&|set| Some(size(set.keys))),
    );
    all.counter(
        "harmony_jwks_fetches_total",
        "Fetches of a key set.",
        of_sets(&|set| Some(count(set.fetches.0))),
    );
    all.counter(
        "harmony_jwks_fetch_failures_total",
        "Fetches of a key set that failed.",
        of_sets(&|set| Some(count(set.fetches.1))),
    );
    all.gauge(
        "harmony_jwks_last_fetch_successful",
        "Whether the last fetch of a key set succeeded; absent before the first.",
        of_sets(&|set| (set.fetches.0 > 0).then(|| flag(set.last_error.is_none()))),
    );
}

pub(super) fn issuers(all: &mut Families, issuers: &[IssuerStatus]) {
    let names = distinct(issuers.iter().map(|issuer| &issuer.issuer));
    let of_issuers = |value: &dyn Fn(&IssuerStatus) -> Option<f64>| -> Vec<_> {
        let issuers = issuers.iter().zip(&names);
        issuers
            .filter_map(|(one, name)| Some((vec![("issuer", name.clone())], value(one)?)))
            .collect()
    };
    all.gauge(
        "harmony_discovery_age_seconds",
        "Seconds since the discovery document in use was fetched; absent where there is none.",
        of_issuers(&|issuer| issuer.age.map(|age| age.as_secs_f64())),
    );
    all.counter(
        "harmony_discovery_fetches_total",
        "Fetches of a discovery document.",
        of_issuers(&|issuer| Some(count(issuer.fetches.0))),
    );
    all.counter(
        "harmony_discovery_fetch_failures_total",
        "Fetches of a discovery document that failed, or brought one that is not believed.",
        of_issuers(&|issuer| Some(count(issuer.fetches.1))),
    );
    all.gauge(
        "harmony_discovery_last_fetch_successful",
        "Whether the last fetch of a discovery document succeeded; absent before the first.",
        of_issuers(&|issuer| (issuer.fetches.0 > 0).then(|| flag(issuer.last_error.is_none()))),
    );
}

pub(super) fn credentials(all: &mut Families, live: &Live) {
    token_cache(all, live);
    introspections(all, live);
    revocations(all, live);
    rate_limits(all, live);
    shared_store(all, live);
    proofs(all, live);
    passwords(all, live);
}

fn result(name: &str) -> Labels {
    vec![("result", name.to_owned())]
}

fn token_cache(all: &mut Families, live: &Live) {
    let tokens = live.auth().token_cache();
    all.counter(
        "harmony_token_cache_lookups_total",
        "Look-ups of verified tokens.",
        [
            (result("hit"), count(tokens.hits)),
            (result("miss"), count(tokens.misses)),
        ],
    );
    all.gauge(
        "harmony_token_cache_entries",
        "Verified tokens in the cache.",
        [(vec![], count(tokens.entries))],
    );
    all.gauge(
        "harmony_token_cache_bytes",
        "Approximate size of the cache of verified tokens.",
        [(vec![], count(tokens.bytes))],
    );
}

fn introspections(all: &mut Families, live: &Live) {
    let questions = live.auth().introspections();
    all.counter(
        "harmony_introspections_total",
        "Questions to issuers about tokens; turned_away: too many were under way.",
        [
            (result("active"), count(questions.active)),
            (result("inactive"), count(questions.inactive)),
            (result("failed"), count(questions.failed)),
            (result("turned_away"), count(questions.turned_away)),
        ],
    );
    all.gauge(
        "harmony_introspections_in_flight",
        "Questions to issuers about tokens that are under way.",
        [(vec![], count(questions.in_flight))],
    );
}

fn rate_limits(all: &mut Families, live: &Live) {
    let limiters = live.limiters().status();
    all.gauge(
        "harmony_rate_limit_keys",
        "Keys under which rate limits count.",
        [(vec![], count(limiters.keys as u64))],
    );
    all.counter(
        "harmony_rate_limit_keys_forgotten_total",
        "Keys that rate limits forgot before their window was over, the least used first, because \
         there were too many.",
        [(vec![], count(limiters.forgotten))],
    );
}

fn shared_store(all: &mut Families, live: &Live) {
    let store = live.shared_store().map(|store| store.status());
    let of_store = |number: fn(&SharedStoreStatus) -> f64| {
        let sample = store.as_ref().map(|status| (vec![], number(status)));
        sample.into_iter()
    };
    all.gauge(
        "harmony_shared_store_up",
        "Whether the store of [shared] is connected and answers in time; absent without one.",
        of_store(|status| flag(status.up)),
    );
    all.counter(
        "harmony_shared_store_questions_total",
        "Questions to the store of [shared].",
        of_store(|status| count(status.questions)),
    );
    all.counter(
        "harmony_shared_store_late_total",
        "Questions to the store of [shared] without an answer within 20 ms.",
        of_store(|status| count(status.late)),
    );
}

fn proofs(all: &mut Families, live: &Live) {
    let proofs = live.auth().proofs();
    all.gauge(
        "harmony_dpop_proofs",
        "DPoP proofs that are remembered, so that none is used twice.",
        [(vec![], count(proofs.remembered))],
    );
    all.counter(
        "harmony_dpop_proofs_refused_total",
        "DPoP proofs that came again, or that there was no room to remember.",
        [
            (
                vec![("reason", "replayed".to_owned())],
                count(proofs.replayed),
            ),
            (
                vec![("reason", "no_room".to_owned())],
                count(proofs.turned_away),
            ),
        ],
    );
}

fn passwords(all: &mut Families, live: &Live) {
    let passwords = live.auth().passwords();
    all.counter(
        "harmony_password_hashes_total",
        "Passwords that were hashed.",
        [(vec![], count(passwords.hashed))],
    );
    all.gauge(
        "harmony_password_hash_queue_length",
        "Passwords that wait to be hashed.",
        [(vec![], count(passwords.waiting))],
    );
}

fn revocations(all: &mut Families, live: &Live) {
    let list = live.auth().revocations().status();
    all.gauge(
        "harmony_revocations",
        "Revocations that are kept.",
        [(vec![], size(list.entries))],
    );
    all.gauge(
        "harmony_revocations_limit",
        "Revocations that may be kept.",
        [(vec![], size(list.max))],
    );
    for (name, help, value) in [
        (
            "harmony_revocations_turned_away_total",
            "Revocations that found no room.",
            list.turned_away,
        ),
        (
            "harmony_revocation_failures_total",
            "Changes of the list of revocations that could not be written.",
            list.failed,
        ),
        (
            "harmony_revoked_credentials_denied_total",
            "Credentials that were denied because they were revoked.",
            list.denied,
        ),
    ] {
        all.counter(name, help, [(vec![], count(value))]);
    }
    let notices = live.auth().receivers().into_iter().flat_map(|receiver| {
        let results = [
            ("accepted", receiver.accepted),
            ("refused", receiver.refused),
            ("turned_away", receiver.turned_away),
        ];
        results.map(|(result, times)| {
            let labels = vec![
                ("service", receiver.service.to_owned()),
                ("result", result.to_owned()),
            ];
            (labels, count(times))
        })
    });
    all.counter(
        "harmony_revocation_notices_total",
        "Posts to endpoints that are told of revocations, by how they ended.",
        notices,
    );
}

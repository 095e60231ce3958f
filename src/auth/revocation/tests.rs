//! The list as a whole: entries in any order, on several nodes, and what an identity remembers.

use http::HeaderValue;

use super::*;
use crate::auth::identity::{AuthMethod, Content, Credential, TokenIds};

fn token(token_id: &str, subject: &str, issued_at: Option<f64>) -> Identity {
    Identity::new(Content {
        method: AuthMethod::Jwt,
        subject: Some(HeaderValue::from_str(subject).unwrap()),
        headers: Vec::new(),
        valid_until: None,
        credential: Credential::Token(TokenIds {
            issuer: Some("i".into()),
            token_id: Some(token_id.into()),
            issued_at,
            ..TokenIds::default()
        }),
        claims: None,
        key_scopes: Box::default(),
    })
}

fn entry(selector: TokenSelector, made_at: u64) -> Revocation {
    Revocation {
        target: Target::Tokens("i".into(), selector),
        before: None,
        until: None,
        made_at,
    }
}

fn subject(before: u64, made_at: u64) -> Revocation {
    Revocation {
        before: Some(before),
        ..entry(TokenSelector::Subject("alice".into()), made_at)
    }
}

fn list() -> (tempfile::TempDir, Revocations) {
    let home = tempfile::tempdir().unwrap();
    let list = Revocations::open(Some(home.path().join("state"))).unwrap();
    (home, list)
}

/// What counts of a list, whatever its order.
fn content(list: &Revocations) -> Vec<String> {
    let told = list
        .snapshot()
        .into_iter()
        .map(|change| format!("{change:?}"));
    let mut told: Vec<_> = told.collect();
    told.sort();
    told
}

#[tokio::test]
async fn an_identity_remembers_the_list_in_which_nothing_named_it() {
    let (_home, list) = list();
    let identity = token("t", "alice", Some(10.0));
    assert!(!list.is_revoked(&identity));
    assert_eq!(identity.clear_in(), 0);
    let mut changes = list.changes();
    list.revoke(vec![entry(TokenSelector::TokenId("x".into()), 1)])
        .await
        .unwrap();
    assert!(changes.has_changed().unwrap());
    assert_eq!(*changes.borrow_and_update(), 1);
    assert!(!list.is_revoked(&identity.clone()));
    assert_eq!(identity.clear_in(), 1, "of all its clones");
    let ids = list
        .revoke(vec![entry(TokenSelector::TokenId("t".into()), 1)])
        .await
        .unwrap();
    assert!(list.is_revoked(&identity) && list.is_revoked(&identity));
    assert!(list.delete(ids[0]).await.unwrap());
    assert!(!list.is_revoked(&identity));
    assert!(!list.delete(ids[0]).await.unwrap());
    assert_eq!((list.status().denied, *changes.borrow_and_update()), (2, 3));
}

#[tokio::test]
async fn entries_for_one_target_become_one_that_revokes_more() {
    let (_home, list) = list();
    list.revoke(vec![subject(10, 1), subject(5, 2)])
        .await
        .unwrap();
    assert_eq!(list.status().entries, 1);
    let old = token("t", "alice", Some(10.9));
    assert!(list.is_revoked(&old), "iat counts in whole seconds");
    assert!(!list.is_revoked(&token("t", "alice", Some(11.0))));
    assert!(!list.is_revoked(&token("t", "bob", Some(1.0))));
    assert!(list.is_revoked(&token("t", "alice", None)));
    list.revoke(vec![Revocation {
        before: None,
        ..subject(0, 3)
    }])
    .await
    .unwrap();
    assert!(list.is_revoked(&token("t", "alice", Some(1e9))));
}

#[tokio::test]
async fn changes_come_in_any_order_and_more_than_once() {
    let revoked = |made_at| Change::Revoked(subject(10, made_at));
    let deleted = |deleted_at| {
        let id = subject(0, 0).id();
        Change::Deleted(Deletion { id, deleted_at })
    };
    let other = Change::Revoked(entry(TokenSelector::All, 7));
    let changes = [revoked(1), deleted(2), revoked(3), other, deleted(1)];
    let mut found = Vec::new();
    for turn in 0..changes.len() {
        let list = Revocations::open(None).unwrap();
        let mut changes = changes.to_vec();
        changes.rotate_left(turn);
        for change in changes.iter().chain(changes.iter().rev()) {
            list.merge_remote(vec![change.clone()]).await.unwrap();
        }
        assert!(list.is_revoked(&token("t", "alice", Some(10.0))));
        let another = Revocations::open(None).unwrap();
        another.merge_remote(list.snapshot()).await.unwrap();
        assert_eq!(content(&another), content(&list));
        found.push(content(&list));
    }
    found.dedup();
    assert_eq!(found.len(), 1, "{found:#?}");
}

#[tokio::test]
async fn what_is_changed_here_can_be_followed_and_what_is_taken_in_is_kept() {
    let (home, list) = list();
    let mut followed = list.local_changes();
    let ids = list.revoke(vec![subject(10, 1)]).await.unwrap();
    list.revoke(vec![subject(10, 1)]).await.unwrap();
    list.delete(ids[0]).await.unwrap();
    list.merge_remote(vec![Change::Revoked(entry(TokenSelector::All, 7))])
        .await
        .unwrap();
    let first = followed.try_recv().unwrap();
    assert!(matches!(&first[..], [Change::Revoked(entry)] if *entry == subject(10, 1)));
    let second = followed.try_recv().unwrap();
    assert!(matches!(&second[..], [Change::Deleted(deletion)] if deletion.id == ids[0]));
    assert!(
        followed.try_recv().is_err(),
        "neither what is known nor what others did"
    );
    let again = Revocations::open(Some(home.path().join("state"))).unwrap();
    assert_eq!(content(&again), content(&list));
    let json = serde_json::to_string(&list.snapshot()).unwrap();
    let read: Vec<Change> = serde_json::from_str(&json).unwrap();
    assert_eq!(read, list.snapshot());
}

#[tokio::test]
async fn what_was_deleted_may_be_revoked_again() {
    let (_home, list) = list();
    let ids = list.revoke(vec![subject(10, 5)]).await.unwrap();
    list.delete(ids[0]).await.unwrap();
    list.revoke(vec![subject(10, 5)]).await.unwrap();
    assert!(list.is_revoked(&token("t", "alice", Some(10.0))));
}

#[tokio::test]
async fn two_processes_follow_each_other() {
    let (home, one) = list();
    let two = Revocations::open(Some(home.path().join("state"))).unwrap();
    one.revoke(vec![subject(10, 1)]).await.unwrap();
    two.revoke(vec![entry(TokenSelector::All, 7)])
        .await
        .unwrap();
    one.maintain(false).unwrap();
    assert_eq!(content(&one), content(&two));
    assert_eq!(one.status().entries, 2);
}

#[tokio::test]
async fn without_a_state_directory_nothing_is_promised() {
    let list = Revocations::open(None).unwrap();
    let refused = list.revoke(vec![subject(10, 1)]).await;
    assert!(matches!(
        refused,
        Err(RevokeError::Journal(JournalError::NoStateDir))
    ));
    assert_eq!(list.status().entries, 0);
}

#[tokio::test]
async fn dropped_entries_leave_their_time_behind() {
    let (home, list) = list();
    let now = clock::now() as u64;
    list.set_limits(RevocationLimits {
        keep: Duration::from_secs(60),
        max_entries: 10,
    });
    let made_at = (now - 61) * 1000;
    let ended = Revocation {
        until: Some(now - 1),
        ..entry(TokenSelector::Session("s".into()), 1)
    };
    list.revoke(vec![subject(now - 100, made_at), ended])
        .await
        .unwrap();
    list.sweep();
    assert_eq!(list.status().entries, 0);
    let at = |issued_at| list.is_revoked(&token("t", "bob", issued_at));
    assert!(at(Some((now - 100) as f64)) && !at(Some((now - 99) as f64)) && !at(None));
    let again = Revocations::open(Some(home.path().join("state"))).unwrap();
    again.set_limits(RevocationLimits {
        keep: Duration::from_secs(60),
        max_entries: 10,
    });
    again.sweep();
    assert!(again.is_revoked(&token("t", "bob", Some((now - 100) as f64))));
}

fn taken_in(numbers: std::ops::Range<u64>) -> Vec<Change> {
    let of = |number: u64| entry(TokenSelector::TokenId(number.to_string().into()), 1);
    numbers.map(|number| Change::Revoked(of(number))).collect()
}

#[tokio::test]
async fn of_what_others_revoked_as_much_holds_as_there_is_room_for() {
    for (_home, list) in [(None, Revocations::open(None).unwrap()), {
        let (home, list) = list();
        (Some(home), list)
    }] {
        list.set_limits(RevocationLimits {
            keep: Duration::from_secs(60),
            max_entries: 3,
        });
        list.merge_remote(taken_in(0..2)).await.unwrap();
        for _ in 0..2 {
            let taken = list.merge_remote(taken_in(0..5)).await;
            assert!(matches!(taken, Err(RevokeError::Full { max: 3, .. })));
            assert_eq!(list.status().entries, 3);
        }
        assert_eq!(list.status().turned_away, 4);
        assert!(list.is_revoked(&token("2", "alice", None)));
        assert!(!list.is_revoked(&token("3", "alice", None)));
    }
}

#[tokio::test]
async fn what_others_revoked_holds_though_it_cannot_be_written_and_is_written_later() {
    let (home, list) = list();
    list.merge_remote(taken_in(0..1)).await.unwrap();
    let lock = home.path().join("state/revocations.lock");
    std::fs::remove_file(&lock).unwrap();
    std::fs::create_dir(&lock).unwrap();
    for _ in 0..2 {
        let taken = list.merge_remote(taken_in(1..3)).await;
        assert!(matches!(taken, Err(RevokeError::Journal(_))), "{taken:?}");
    }
    assert!(list.is_revoked(&token("1", "alice", None)));
    std::fs::remove_dir(&lock).unwrap();
    list.merge_remote(taken_in(1..3)).await.unwrap();
    let again = Revocations::open(Some(home.path().join("state"))).unwrap();
    assert_eq!(content(&again), content(&list));
    assert_eq!(again.status().entries, 3);
}

/// A process that hangs while it writes.
#[tokio::test]
async fn whoever_holds_the_lock_holds_up_changes_for_so_long_only() {
    let (home, list) = list();
    list.revoke(vec![subject(10, 1)]).await.unwrap();
    let lock = std::fs::File::open(home.path().join("state/revocations.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let (begun, entries) = (Instant::now(), || vec![entry(TokenSelector::All, 7)]);
    let all = tokio::join!(list.revoke(entries()), list.revoke(entries()));
    for refused in [all.0, all.1] {
        let locked = matches!(refused, Err(RevokeError::Journal(JournalError::Locked)));
        assert!(locked, "{refused:?}");
    }
    assert!(begun.elapsed() < 2 * LOCK_TIMEOUT + Duration::from_secs(2));
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::Unlock).unwrap();
    list.revoke(entries()).await.unwrap();
}

#[tokio::test]
async fn what_is_left_behind_by_dropped_entries_is_bounded() {
    let (_home, list) = list();
    let now = clock::now() as u64;
    list.set_limits(RevocationLimits {
        keep: Duration::from_secs(60),
        max_entries: 2,
    });
    let of_issuer = |number: u64| Revocation {
        target: Target::Tokens(number.to_string().into(), TokenSelector::All),
        ..subject(now - 100, (now - 61) * 1000)
    };
    for number in 0..4 {
        list.revoke(vec![of_issuer(number)]).await.unwrap();
        list.sweep();
    }
    let refused = list.revoke(vec![of_issuer(4)]).await;
    let full = matches!(refused, Err(RevokeError::Full { max: 2, entries: 2 }));
    assert!(full, "{refused:?}");
    let taken = list.merge_remote(vec![Change::Revoked(of_issuer(4))]).await;
    assert!(matches!(taken, Err(RevokeError::Full { .. })));
    assert_eq!((list.status().entries, list.records().len()), (0, 4));
}

#[tokio::test]
async fn pages_are_in_the_order_of_names_and_make_up_the_whole_list() {
    let (_home, list) = list();
    let count = 2 * commit::LOCK_BATCH as u64 + 7;
    list.merge_remote(taken_in(0..count)).await.unwrap();
    let ids: Vec<_> = list
        .snapshot()
        .into_iter()
        .map(|change| match change {
            Change::Revoked(entry) => entry.id(),
            Change::Deleted(deletion) => deletion.id,
        })
        .collect();
    assert!(ids.is_sorted() && ids.len() as u64 == count);
    let page = list.page(Some(ids[3]), 2);
    assert_eq!(
        page.iter().map(Revocation::id).collect::<Vec<_>>(),
        ids[4..6]
    );
    assert!(list.page(ids.last().copied(), 2).is_empty());
}

#[tokio::test]
async fn a_token_that_is_bound_to_a_revoked_certificate_is_revoked() {
    let (_home, list) = list();
    let bound = |issuer: Option<&str>, fingerprint| {
        Identity::new(Content {
            method: AuthMethod::Jwt,
            subject: None,
            headers: Vec::new(),
            valid_until: None,
            credential: Credential::Token(TokenIds {
                issuer: issuer.map(Into::into),
                certificate: Some(Box::new(fingerprint)),
                ..TokenIds::default()
            }),
            claims: None,
            key_scopes: Box::default(),
        })
    };
    let target = Target::Certificate([7; 32]);
    list.revoke(vec![Revocation::new(target, None, None)])
        .await
        .unwrap();
    assert!(list.is_revoked(&bound(Some("i"), [7; 32])));
    assert!(list.is_revoked(&bound(None, [7; 32])));
    assert!(!list.is_revoked(&bound(Some("i"), [8; 32])));
}

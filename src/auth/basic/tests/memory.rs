//! What is remembered of passwords: the right ones, the wrong ones, and how many wait.

use std::time::Duration;

use super::*;

#[tokio::test]
async fn a_good_password_is_hashed_once() {
    let shared = testing::shared();
    let user = hashed("a", "b", 4);
    let chain = build(&shared, vec![user.clone()], 10);
    for _ in 0..3 {
        assert_eq!(word(&chain, "a:b").await, "a");
        assert_eq!(shared.passwords().hashed, 1);
    }
    // Another chain over the same state remembers it too; over another state nobody does.
    assert_eq!(
        word(&build(&shared, vec![user.clone()], 10), "a:b").await,
        "a"
    );
    assert_eq!(shared.passwords().hashed, 1);
    let other = testing::shared();
    assert_eq!(word(&build(&other, vec![user], 10), "a:b").await, "a");
    assert_eq!(other.passwords().hashed, 1);
    // The same password under another hash is another credential, and a wrong one is hashed every
    // time.
    let chain = build(&shared, vec![hashed("a", "b", 4)], 10);
    assert_eq!(word(&chain, "a:b").await, "a");
    assert_eq!(shared.passwords().hashed, 2);
    for times in 3..5 {
        assert_eq!(word(&chain, "a:c").await, "wrong_password");
        assert_eq!(shared.passwords().hashed, times);
    }
}

#[tokio::test]
async fn requests_that_come_together_share_one_hash() {
    let shared = testing::shared();
    let chain = Arc::new(build(&shared, vec![hashed("a", "b", 8)], 2));
    let asked: Vec<_> = (0..100)
        .map(|_| {
            let chain = chain.clone();
            tokio::spawn(async move { word(&chain, "a:b").await })
        })
        .collect();
    for answer in asked {
        assert_eq!(answer.await.unwrap(), "a");
    }
    assert_eq!(shared.passwords().hashed, 1);
}

#[tokio::test]
async fn who_leaves_is_not_hashed_for() {
    let shared = testing::shared();
    let chain = build(&shared, vec![hashed("a", "b", 10)], 0);
    let impatient = async |user_pass: &str| {
        let asked = ask(&chain, user_pass);
        assert!(
            tokio::time::timeout(Duration::from_millis(1), asked)
                .await
                .is_err()
        );
    };
    for index in 0..10 {
        impatient(&format!("a:{index}")).await;
    }
    assert_eq!(word(&chain, "a:b").await, "a");
    // The one that had begun, and one for each further thread.
    assert!(shared.passwords().hashed < 10);
}

#[tokio::test]
async fn what_is_removed_is_refused_at_once() {
    let shared = testing::shared();
    let (a, b) = (hashed("a", "one", 4), hashed("b", "two", 4));
    let chain = build(&shared, vec![a.clone(), b.clone()], 10);
    assert_eq!(word(&chain, "a:one").await, "a");
    assert_eq!(word(&chain, "b:two").await, "b");
    let without = build(&shared, vec![b.clone()], 10);
    assert_eq!(word(&without, "a:one").await, "unknown_user");
    assert_eq!(word(&without, "b:two").await, "b");
    let changed = build(&shared, vec![hashed("a", "three", 4), b], 10);
    assert_eq!(word(&changed, "a:one").await, "wrong_password");
    assert_eq!(word(&changed, "a:three").await, "a");
    let clear = build(&shared, vec![plain("a", "four")], 10);
    assert_eq!(word(&clear, "a:four").await, "a");
    let clear = build(&shared, vec![plain("a", "five")], 10);
    assert_eq!(word(&clear, "a:four").await, "wrong_password");
    // The chain of before still serves its requests.
    assert_eq!(word(&chain, "a:one").await, "a");
}

#[tokio::test]
async fn too_many_failures() {
    let shared = testing::shared();
    let users = || vec![plain("a", "b"), plain("c", "d")];
    let chain = build(&shared, users(), 3);
    assert_eq!(word(&chain, "a:b").await, "a");
    for index in 0..3 {
        assert_eq!(word(&chain, &format!("a:{index}")).await, "wrong_password");
    }
    // Over the limit: an unknown user, a wrong password and a good one that was not seen before get
    // the same.
    for user_pass in ["x:y", "a:z", "c:d"] {
        let denial = ask(&chain, user_pass).await.unwrap_err();
        assert_eq!(
            (denial.status(), denial.reason()),
            (429, Reason::TooManyFailures)
        );
        assert!(denial.challenges().is_empty());
        assert!((1..=60).contains(&denial.retry_after().unwrap()));
    }
    // A good one that this address used passes, and so does another client. What that one used is
    // still unknown here.
    assert_eq!(word(&chain, "a:b").await, "a");
    assert_eq!(ask_from(&chain, "c:d", "192.0.2.2").await.unwrap(), "c");
    assert_eq!(word(&chain, "c:d").await, "too_many_failures");
    // What cannot be a credential is not counted, nor does it get in anyone's way.
    assert_eq!(word(&chain, "nonsense").await, "malformed");
    // A reload forgives nothing.
    assert_eq!(
        word(&build(&shared, users(), 3), "x:y").await,
        "too_many_failures"
    );
    // 0 switches it off.
    let unlimited = build(&shared, users(), 0);
    for index in 0..50 {
        assert_eq!(
            word(&unlimited, &format!("a:{index}")).await,
            "wrong_password"
        );
    }
}

#[tokio::test]
async fn over_the_limit_right_and_wrong_are_one() {
    let shared = testing::shared();
    let chain = build(&shared, vec![hashed("a", "b", 4), plain("c", "d")], 3);
    let (user, guesser) = ("192.0.2.1", "2001:db8::1");
    for user_pass in ["a:b", "c:d"] {
        assert!(ask_from(&chain, user_pass, user).await.is_ok());
    }
    // Spread over users, and over addresses of one network of 64 bits.
    for (user_pass, client) in [
        ("a:0", guesser),
        ("c:1", "2001:db8::2"),
        ("x:2", "2001:db8::ffff:0:0:3"),
    ] {
        assert!(ask_from(&chain, user_pass, client).await.is_err());
    }
    let hashed_before = shared.passwords().hashed;
    for user_pass in ["a:b", "c:d", "a:0", "a:9", "x:y"] {
        let denial = ask_from(&chain, user_pass, guesser).await.unwrap_err();
        assert_eq!(denial.reason(), Reason::TooManyFailures, "{user_pass}");
    }
    assert_eq!(shared.passwords().hashed, hashed_before);
    assert!(ask_from(&chain, "a:b", user).await.is_ok());
    assert!(ask_from(&chain, "a:b", "2001:db8:0:1::1").await.is_ok());
    assert_eq!(
        shared.passwords().hashed,
        hashed_before,
        "what is right is hashed once, whoever uses it"
    );
    // Who used it may go on even where others guess behind the same address.
    for user_pass in ["a:7", "a:8", "a:9"] {
        assert!(ask_from(&chain, user_pass, user).await.is_err());
    }
    assert!(ask_from(&chain, "a:b", user).await.is_ok(), "used before");
    assert!(ask_from(&chain, "c:d", user).await.is_ok(), "used before");
}

#[tokio::test]
async fn clients_without_an_address_are_counted_together_and_not_remembered() {
    let chain = build(&testing::shared(), vec![plain("a", "b")], 2);
    let ask = async |user_pass: &str| {
        let headers = basic(user_pass);
        let request = AuthRequest::of(&headers);
        chain.authenticate(&request).await.map(|_| ())
    };
    assert!(ask("a:b").await.is_ok());
    for index in 0..2 {
        assert!(ask(&format!("a:{index}")).await.is_err());
    }
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let denial = ask("a:b").await.unwrap_err();
    assert_eq!(denial.reason(), Reason::TooManyFailures);
    assert_eq!(
        word(&chain, "a:b").await,
        "a",
        "who has one is not among them"
    );
}

#[tokio::test]
async fn a_full_queue_is_503() {
    let chain = Arc::new(build(&testing::shared(), vec![hashed("a", "b", 10)], 0));
    assert_eq!(word(&chain, "a:b").await, "a");
    let mut asked = tokio::task::JoinSet::new();
    for index in 0..600 {
        let chain = chain.clone();
        asked.spawn(async move { ask(&chain, &format!("a:{index}")).await.unwrap_err() });
    }
    let mut full = 0;
    while full < 10 {
        let denial = asked.join_next().await.unwrap().unwrap();
        match denial.reason() {
            Reason::HashQueueFull => {
                full += 1;
                assert_eq!((denial.status(), denial.retry_after()), (503, Some(5)));
                assert!(denial.challenges().is_empty());
            }
            reason => assert_eq!(reason, Reason::WrongPassword),
        }
    }
    // Meanwhile, who has been let in before gets in.
    assert_eq!(word(&chain, "a:b").await, "a");
}

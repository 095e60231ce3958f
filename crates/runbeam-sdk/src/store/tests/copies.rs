//! More than one copy of a token: in several stores, or left by somebody else.

use super::*;

#[tokio::test]
async fn a_token_in_another_store_is_found() {
    let machine = Machine::with_keyring();
    machine
        .open(StoreKind::Keyring, None)
        .await
        .save(&token("one"), None)
        .await
        .unwrap();
    // The variable is set now: the file is the choice.
    let store = machine.open(StoreKind::Auto, Some(&new_key())).await;
    assert_eq!(store.location(), None);
    assert_eq!(name(&store).await.as_deref(), Some("one"));
    assert_eq!(store.location().as_deref(), Some("keyring"));
    assert!(store.description().starts_with("encrypted file"));
    store.save(&token("two"), None).await.unwrap();
    assert_eq!(store.location().as_ref(), Some(&store.description()));
    assert!(machine.keyring.holds().is_none() && machine.has_file());

    let machine = Machine::without_keyring();
    machine
        .auto()
        .await
        .save(&token("one"), None)
        .await
        .unwrap();
    machine.keyring.fails_with(None);
    let store = machine.auto().await;
    assert_eq!(
        (store.description().as_str(), name(&store).await.as_deref()),
        ("keyring", Some("one"))
    );
    store.save(&token("two"), None).await.unwrap();
    assert!(machine.keyring.holds().is_some() && !machine.has_file());
}

#[tokio::test]
async fn a_stale_token_does_not_come_back() {
    let machine = Machine::with_keyring();
    let store = machine.auto().await;
    store
        .save(&issued("old", "2026-01-01T00:00:00Z"), None)
        .await
        .unwrap();
    // The keyring is locked when the token is renewed: the file takes it.
    machine.keyring.fails_with(Some(KeyringError::Locked));
    store
        .save(&issued("new", "2026-01-02T00:00:00Z"), None)
        .await
        .unwrap();
    assert!(store.description().starts_with("encrypted file"));
    assert_eq!(name(&store).await.as_deref(), Some("new"));
    // It opens again, with the old token in it.
    machine.keyring.fails_with(None);
    assert!(machine.keyring.holds().is_some());
    let restarted = machine.auto().await;
    assert_eq!(restarted.description(), "keyring");
    assert_eq!(name(&restarted).await.as_deref(), Some("new"));
    restarted.clear().await.unwrap();
    assert_eq!(
        (
            name(&restarted).await,
            machine.has_file(),
            machine.keyring.holds()
        ),
        (None, false, None)
    );
}

#[tokio::test]
async fn a_keyring_that_was_asked_for_is_not_replaced_by_a_file() {
    let machine = Machine::with_keyring();
    let store = machine.open(StoreKind::Keyring, None).await;
    store.save(&token("one"), None).await.unwrap();
    machine.keyring.fails_with(Some(KeyringError::TimedOut));
    for error in [
        store.save(&token("two"), None).await.unwrap_err(),
        store.load().await.unwrap_err(),
        store.clear().await.unwrap_err(),
    ] {
        assert!(
            matches!(error, StorageError::Keyring(KeyringError::TimedOut)),
            "{error}"
        );
    }
    assert!(!machine.has_file());
    machine.keyring.fails_with(None);
    assert_eq!(name(&store).await.as_deref(), Some("one"));
}

#[tokio::test]
async fn damage_in_one_store_does_not_hide_the_other() {
    let machine = Machine::with_keyring();
    machine
        .open(StoreKind::File, None)
        .await
        .save(&token("file"), None)
        .await
        .unwrap();
    machine.keyring.put(b"mt_secret, not JSON");
    let store = machine.auto().await;
    assert_eq!(name(&store).await.as_deref(), Some("file"));
    fs::write(machine.state().join("auth.json"), "not age").unwrap();
    let error = store.load().await.unwrap_err().to_string();
    assert!(!error.contains("mt_secret"), "{error}");
    machine
        .keyring
        .put(&token::to_json(&token("keyring")).unwrap());
    assert_eq!(name(&store).await.as_deref(), Some("keyring"));
}

#[tokio::test]
async fn what_the_library_left_is_read_once() {
    let keys = EncryptionKeys::generate();
    let json = r#"{
        "machine_token": "mt_left",
        "expires_at": "2099-01-01T00:00:00+00:00",
        "gateway_id": "id",
        "abilities": [],
        "issued_at": "2025-01-01T00:00:00+00:00"
    }"#;
    for (row, variable) in [("key in the variable", true), ("key beside it", false)] {
        let machine = Machine::without_keyring();
        let left = machine.leave(json, &keys);
        if !variable {
            let text = base64::Engine::encode(
                &base64::engine::general_purpose::STANDARD,
                keys.first().as_bytes(),
            );
            fs::write(
                machine.home.path().join(".runbeam/edge/encryption.key"),
                text,
            )
            .unwrap();
        }
        let variable = keys.first();
        let variable = (row == "key in the variable").then_some(variable.as_str());
        let store = machine.open(StoreKind::Auto, variable).await;
        let token = store.load().await.unwrap().unwrap();
        assert_eq!(
            (token.machine_token.as_str(), token.gateway_code.as_str()),
            ("mt_left", "edge"),
            "{row}"
        );
        assert!(machine.has_file(), "{row}: it is ours now");
        fs::write(&left, "no longer looked at").unwrap();
        assert_eq!(
            name(&machine.open(StoreKind::Auto, variable).await)
                .await
                .as_deref(),
            Some("mt_left"),
            "{row}"
        );
        store.clear().await.unwrap();
        assert!(
            !left.exists() && name(&store).await.is_none(),
            "{row}: it does not come back"
        );
    }
    // One that cannot be read is no obstacle.
    let machine = Machine::without_keyring();
    machine.leave(json, &keys);
    assert_eq!(name(&machine.auto().await).await, None);
}

#[tokio::test]
async fn another_processs_token_is_noticed() {
    let machine = Machine::without_keyring();
    let (agent, other) = (machine.auto().await, machine.auto().await);
    assert!(!agent.changed().await);
    assert_eq!(name(&agent).await, None);
    assert!(!agent.changed().await);
    for what in ["one", "two"] {
        other.save(&token(what), None).await.unwrap();
        assert!(
            agent.changed().await && agent.changed().await,
            "until it is loaded"
        );
        assert_eq!(name(&agent).await.as_deref(), Some(what));
        assert!(!agent.changed().await);
    }
    agent.save(&token("own"), None).await.unwrap();
    assert!(!agent.changed().await && other.changed().await);
    fs::write(machine.state().join("auth.json"), "damaged").unwrap();
    assert!(agent.changed().await);
    assert!(
        agent.load().await.is_err() && !agent.changed().await,
        "said once"
    );
    other.clear().await.unwrap();
    assert!(agent.changed().await && !other.changed().await);
    assert_eq!(name(&agent).await, None);
}

#[tokio::test]
async fn a_change_of_the_keyring_is_noticed_at_intervals() {
    let machine = Machine::with_keyring();
    let agent = machine.auto().await;
    assert!(!agent.changed().await);
    machine.keyring.put(&token::to_json(&token("one")).unwrap());
    assert!(!agent.changed().await, "asked a moment ago");
    *lock(&agent.last_seen) = LastSeen::default();
    assert!(agent.changed().await);
    assert_eq!(name(&agent).await.as_deref(), Some("one"));
    assert!(!agent.changed().await);
}

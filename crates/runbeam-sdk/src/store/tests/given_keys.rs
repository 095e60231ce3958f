//! Keys that come with a token, and tokens that no key opens.

use super::*;

#[tokio::test]
async fn a_key_that_came_with_the_token() {
    let machine = Machine::with_keyring();
    let store = machine.auto().await;
    store.save(&token("one"), None).await.unwrap();
    let given = new_key();
    store.save(&token("two"), Some(&given)).await.unwrap();
    assert!(machine.has_file() && machine.keyring.holds().is_none());
    assert!(store.description().starts_with("encrypted file"));
    // The restart reads it, and stays there.
    let restarted = machine.auto().await;
    assert_eq!(name(&restarted).await.as_deref(), Some("two"));
    restarted.save(&token("three"), None).await.unwrap();
    let keys = EncryptionKeys::parse(&given).unwrap();
    assert!(
        keys.decrypt(&fs::read(machine.state().join("auth.json")).unwrap())
            .is_ok()
    );
    assert!(machine.keyring.holds().is_none());
}

#[tokio::test]
async fn a_given_key_that_is_none_leaves_the_old_token() {
    let machine = Machine::without_keyring();
    let store = machine.auto().await;
    store.save(&token("one"), None).await.unwrap();
    let error = store
        .save(&token("two"), Some("hunter2 hunter2"))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("encryption_key: ") && !error.contains("hunter"),
        "{error}"
    );
    assert_eq!(name(&store).await.as_deref(), Some("one"));
    store.save(&token("two"), Some(" ")).await.unwrap();
    assert_eq!(name(&store).await.as_deref(), Some("two"));
}

#[tokio::test]
async fn the_variable_wins_over_a_given_key() {
    let machine = Machine::without_keyring();
    let (variable, given) = (new_key(), new_key());
    let store = machine.open(StoreKind::Auto, Some(&variable)).await;
    store.save(&token("one"), Some(&given)).await.unwrap();
    assert!(!machine.state().join("encryption.key").exists());
    let sealed = fs::read(machine.state().join("auth.json")).unwrap();
    assert!(
        EncryptionKeys::parse(&variable)
            .unwrap()
            .decrypt(&sealed)
            .is_ok()
    );
    assert!(
        EncryptionKeys::parse(&given)
            .unwrap()
            .decrypt(&sealed)
            .is_err()
    );
}

#[tokio::test]
async fn a_token_that_no_key_opens_is_an_error_until_it_is_replaced() {
    let machine = Machine::without_keyring();
    let (old, new) = (new_key(), new_key());
    machine
        .open(StoreKind::Auto, Some(&old))
        .await
        .save(&token("one"), None)
        .await
        .unwrap();
    let store = machine.open(StoreKind::Auto, Some(&new)).await;
    assert!(matches!(
        store.load().await,
        Err(StorageError::NoMatchingKey { .. })
    ));
    let rotated = machine
        .open(StoreKind::Auto, Some(&format!("{new},{old}")))
        .await;
    assert_eq!(name(&rotated).await.as_deref(), Some("one"));
    store.save(&token("two"), None).await.unwrap();
    assert_eq!(name(&store).await.as_deref(), Some("two"));
}

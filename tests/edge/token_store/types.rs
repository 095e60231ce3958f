//! Tokens of other types beside the machine token, and a key that the program gives.

use std::fs;

use runbeam_sdk::{
    EncryptionKeys, MachineToken, RunbeamError, UserToken, clear_token_as, load_token,
    load_token_as, save_token, save_token_as, save_token_with_key,
};

use super::child::{INSTANCE, command, run, token};

/// What the child does.
pub async fn side_by_side() -> Result<(), RunbeamError> {
    let user = UserToken::new("1|plaintext", Some(7), None);
    let loaded_user = async || load_token_as::<UserToken>(INSTANCE, "user_auth").await;
    save_token(INSTANCE, &token("one")).await?;
    save_token_as(INSTANCE, "user_auth", &user).await?;
    assert_eq!(loaded_user().await?, Some(user.clone()));
    assert_eq!(load_token_as::<MachineToken>(INSTANCE, "auth").await?, Some(token("one")));
    assert_eq!(load_token_as::<UserToken>(INSTANCE, "other").await?, None);
    for bad in ["", "../x"] {
        assert!(load_token_as::<UserToken>(INSTANCE, bad).await.is_err(), "{bad:?}");
        assert!(save_token_as(INSTANCE, bad, &user).await.is_err(), "{bad:?}");
    }
    // The key becomes the instance's, and the other token stays readable.
    let key = EncryptionKeys::generate().first();
    save_token_with_key(INSTANCE, &token("two"), &key).await?;
    assert_eq!(load_token(INSTANCE).await?, Some(token("two")));
    assert_eq!(loaded_user().await?, Some(user));
    clear_token_as(INSTANCE, "user_auth").await?;
    assert_eq!(loaded_user().await?, None);
    assert_eq!(load_token(INSTANCE).await?, Some(token("two")));
    Ok(())
}

#[test]
fn tokens_of_several_types_are_kept_apart() {
    let home = tempfile::tempdir().unwrap();
    let ran = run(&mut command(home.path(), "types"));
    assert_eq!(ran.outcome, "done", "{}", ran.log);
    assert!(!ran.log.contains("plaintext"), "{}", ran.log);
    let directory = home.path().join(".runbeam").join(INSTANCE);
    let key = fs::read_to_string(directory.join("encryption.key")).unwrap();
    assert!(key.starts_with("# given with a request\n"), "its first line tells whose it is");
    assert!(!directory.join("user_auth.token.json").exists());
}

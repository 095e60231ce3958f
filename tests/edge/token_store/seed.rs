//! The documentation's lines about the token store, as they stand there. They run in a child: where
//! the token goes depends on the environment.

use super::child::token as made;

/// "Instance Isolation".
#[allow(clippy::print_stdout, reason = "as the documentation has it")]
pub async fn instance_isolation() -> Result<(), Box<dyn std::error::Error>> {
    let token = made("isolated");
    use runbeam_sdk::{MachineToken, clear_token, load_token, save_token};
    // Each instance_id gets separate storage at ~/.runbeam/<instance_id>/
    let instance_id = "harmony-production";
    // Save token
    save_token(instance_id, &token).await?;
    assert!(load_token("harmony-staging").await?.is_none());
    // Load token
    if let Some(token) = load_token(instance_id).await? {
        println!("Loaded token for gateway: {}", token.gateway_code);
        assert_eq!(token, made("isolated"));
        let _: MachineToken = token;
    } else {
        return Err("no token".into());
    }
    // Clear token
    clear_token(instance_id).await?;
    assert!(load_token(instance_id).await?.is_none());
    Ok(())
}

#[test]
fn instances_are_kept_apart() {
    let home = tempfile::tempdir().unwrap();
    let ran = super::child::run(&mut super::child::command(home.path(), "seed"));
    assert_eq!(ran.outcome, "done", "{}", ran.log);
    assert!(home.path().join(".runbeam/harmony-production/encryption.key").exists());
    assert!(!home.path().join(".runbeam/harmony-production/auth.json").exists());
}

/// `save_token`, `load_token` from many tasks: whole tokens, and no error.
pub async fn at_once() -> Result<(), Box<dyn std::error::Error>> {
    let tasks: Vec<_> = (0..12)
        .map(|number| {
            tokio::spawn(async move {
                runbeam_sdk::save_token("shared", &made(&number.to_string())).await.unwrap();
                let found = runbeam_sdk::load_token("shared").await.unwrap().unwrap();
                assert_eq!(found, made(found.gateway_id.strip_prefix("id-").unwrap()));
            })
        })
        .collect();
    for task in tasks {
        task.await?;
    }
    Ok(())
}

#[test]
fn tasks_may_share_an_instance() {
    let home = tempfile::tempdir().unwrap();
    let ran = super::child::run(&mut super::child::command(home.path(), "at-once"));
    assert_eq!(ran.outcome, "done", "{}", ran.log);
    assert_eq!(
        ran.log.matches("the machine token is kept in").count(),
        2,
        "once for each place: {}",
        ran.log
    );
}

//! Failed passwords and API keys of all nodes: counted where they happen, and looked at where the
//! next one does. Nobody waits for it.

use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use redis::Script;

use super::SharedStore;
use crate::auth::SharedFailures;

/// Argument: the period (ms), which begins with the first failure. Answers: failures in it.
static COUNT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local failures = redis.call('INCR', KEYS[1])
        if failures == 1 then
            redis.call('PEXPIRE', KEYS[1], ARGV[1])
        end
        return failures
        ",
    )
});

#[async_trait]
impl SharedFailures for SharedStore {
    async fn count(&self, of: &[u8], period: Duration) -> Option<u32> {
        let key = self.key("failures", of);
        let period = u64::try_from(period.as_millis()).ok()?;
        let answer = self.query("failures", |mut connection| async move {
            let mut call = COUNT.key(key);
            call.arg(period).invoke_async::<u32>(&mut connection).await
        });
        answer.await
    }
}

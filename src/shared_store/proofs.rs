//! Proofs of possession that were used at any node (RFC 9449 section 11.1).

use std::pin::Pin;
use std::time::Duration;

use redis::cmd;
use tokio::time::timeout;

use super::{REQUEST_TIMEOUT, SharedStore};
use crate::auth::{ProofId, ProofStore};

/// A little more than the budget, so that a late answer is noticed before it is given up.
const TIMEOUT: Duration = REQUEST_TIMEOUT.saturating_add(Duration::from_millis(2));

impl ProofStore for SharedStore {
    fn first_use(
        &self,
        id: ProofId,
        keep: Duration,
    ) -> Pin<Box<dyn Future<Output = Option<bool>> + Send + '_>> {
        Box::pin(async move {
            let mut set = cmd("SET");
            set.arg(self.key("proof", id.bytes())).arg(1);
            set.arg("NX").arg("PX").arg(keep.as_millis().to_string());
            let answer = self.query("proof", async |mut connection| {
                set.query_async::<Option<String>>(&mut connection).await
            });
            // What is there is not set again.
            let set = timeout(TIMEOUT, answer).await.ok()??;
            Some(set.is_some())
        })
    }
}

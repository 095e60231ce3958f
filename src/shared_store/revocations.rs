//! The list of revocations of all nodes, as a stream of changes.
//!
//! Every node keeps the whole list itself, and changes may be taken in more than once and in any
//! order. So a node that connects reads the stream from its beginning, and adds what it knows and
//! the stream does not: after a restart of an empty store, all of it. It does so again from time to
//! time, since the stream keeps the latest changes, and not those that hold longest.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::time::Duration;

use redis::{Cmd, RedisResult, cmd, pipe};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::SharedStore;
use crate::auth::{Change, Revocations, RevokeError};
use crate::common::sha256;

/// How often other nodes' changes are looked for.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// How long what could not be kept on disk, or published, waits for the next try.
const RETRY: Duration = Duration::from_secs(1);
/// After how many seconds the stream is read from its beginning again: not by all nodes at once.
const FULL_READ_SECS: std::ops::Range<u64> = 450..750;
/// How many changes the stream keeps at least, about; and more than a list has entries.
const MIN_STREAM_LEN: usize = 262_144;
/// How many are read or added at once.
const BATCH: usize = 500;

/// What stands in the stream: the id of an entry, and its fields.
type Entries = Vec<(String, HashMap<String, String>)>;

/// Stands for a change: the stream may hold very many.
type Fingerprint = [u8; 16];

/// Why the stream is to be read from its beginning again.
struct ResyncNeeded;

impl SharedStore {
    /// Publishes what is revoked on this node, and takes in what is on others, until `stopping`.
    pub async fn follow_revocations(
        &self,
        revocations: &Revocations,
        mut stopping: watch::Receiver<bool>,
    ) {
        let mut up_count = self.0.up_count.subscribe();
        let follow = async {
            loop {
                // Whoever connects has missed what happened meanwhile.
                if !self.is_up() && up_count.changed().await.is_err() {
                    return;
                }
                up_count.borrow_and_update();
                let begun = Instant::now();
                let _ = self.exchange(revocations, &up_count).await;
                // A store that refuses to be written is not read again and again.
                let failed_at_once = begun.elapsed() < RETRY;
                sleep(if failed_at_once { RETRY } else { POLL_INTERVAL }).await;
            }
        };
        tokio::select! {
            () = follow => {}
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
    }

    async fn exchange(
        &self,
        revocations: &Revocations,
        up_count: &watch::Receiver<u64>,
    ) -> Result<(), ResyncNeeded> {
        let mut local_changes = revocations.local_changes();
        let mut published = HashSet::new();
        let mut next = "-".to_owned();
        while !self
            .catch_up(revocations, &mut next, Some(&mut published))
            .await?
        {
            sleep(RETRY).await;
        }
        let missing = revocations.snapshot();
        let missing = missing.iter().filter_map(text);
        let missing = missing.filter(|text| !published.contains(&fingerprint(text)));
        let missing: Vec<_> = missing.collect();
        self.publish(revocations, &missing).await?;
        drop((published, missing));
        // One for all turns of the loop: steady changes here put off no look at those of others.
        let mut polls = interval(POLL_INTERVAL);
        polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut full_read = pin!(sleep(Duration::from_secs(fastrand::u64(FULL_READ_SECS))));
        loop {
            tokio::select! {
                changes = local_changes.recv() => match changes {
                    Ok(changes) => {
                        let changes: Vec<_> = changes.iter().filter_map(text).collect();
                        self.publish(revocations, &changes).await?;
                    }
                    Err(RecvError::Lagged(_) | RecvError::Closed) => return Err(ResyncNeeded),
                },
                _ = polls.tick() => {
                    if up_count.has_changed().unwrap_or(true) {
                        return Err(ResyncNeeded);
                    }
                    if !self.catch_up(revocations, &mut next, None).await? {
                        polls.reset_after(RETRY);
                    }
                }
                () = full_read.as_mut() => return Err(ResyncNeeded),
            }
        }
    }

    /// Merges all that stands from `next` on, and adds it to `seen`. `false`: some could not be
    /// kept, and `next` is where it stands.
    async fn catch_up(
        &self,
        revocations: &Revocations,
        next: &mut String,
        mut seen: Option<&mut HashSet<Fingerprint>>,
    ) -> Result<bool, ResyncNeeded> {
        loop {
            let mut range = cmd("XRANGE");
            range.arg(self.stream()).arg(&*next).arg("+");
            range.arg("COUNT").arg(BATCH);
            let entries: Entries = self.command(range).await?;
            let Some((id, _)) = entries.last() else {
                return Ok(true);
            };
            let next_id = next_id(id).ok_or(ResyncNeeded)?;
            let texts = entries
                .into_iter()
                .filter_map(|(_, mut fields)| fields.remove("change"));
            let texts: Vec<String> = texts.collect();
            // What no version of ours has written is passed over.
            let changes = texts
                .iter()
                .filter_map(|text| serde_json::from_str(text).ok());
            let changes: Vec<Change> = changes.collect();
            match revocations.merge_remote(changes).await {
                // Of what is next_id it, deletions may make room; it is read again with all.
                Ok(()) | Err(RevokeError::Full { .. }) => {}
                Err(RevokeError::Journal(_) | RevokeError::Stopping) => return Ok(false),
            }
            *next = next_id;
            if let Some(seen) = &mut seen {
                seen.extend(texts.iter().map(|text| fingerprint(text)));
            }
        }
    }

    async fn publish(
        &self,
        revocations: &Revocations,
        changes: &[String],
    ) -> Result<(), ResyncNeeded> {
        let stream = self.stream();
        let kept = MIN_STREAM_LEN.max(revocations.status().max.saturating_mul(2));
        for page in changes.chunks(BATCH) {
            let mut all = pipe();
            for change in page {
                let add = all
                    .cmd("XADD")
                    .arg(&stream)
                    .arg("MAXLEN")
                    .arg("~")
                    .arg(kept);
                add.arg("*").arg("change").arg(change).ignore();
            }
            let added = self.query_in_background("revocations", |mut connection| async move {
                all.query_async::<()>(&mut connection).await
            });
            added.await.ok_or(ResyncNeeded)?;
        }
        Ok(())
    }

    async fn command(&self, command: Cmd) -> Result<Entries, ResyncNeeded> {
        let answer = self.query_in_background("revocations", |mut connection| async move {
            let answer: RedisResult<Entries> = command.query_async(&mut connection).await;
            answer
        });
        answer.await.ok_or(ResyncNeeded)
    }

    fn stream(&self) -> String {
        format!("{}:revocations", self.0.key_prefix)
    }
}

/// The first id next_id one; the ranges of Redis 6.0 have no `(`.
fn next_id(id: &str) -> Option<String> {
    let (millis, number) = id.split_once('-')?;
    let (millis, number) = (millis.parse::<u64>().ok()?, number.parse::<u64>().ok()?);
    Some(match number.checked_add(1) {
        Some(next) => format!("{millis}-{next}"),
        None => format!("{}-0", millis.checked_add(1)?),
    })
}

fn fingerprint(text: &str) -> Fingerprint {
    let mut fingerprint = Fingerprint::default();
    fingerprint.copy_from_slice(&sha256(&[text.as_bytes()])[..16]);
    fingerprint
}

fn text(change: &Change) -> Option<String> {
    serde_json::to_string(change).ok()
}

#[cfg(test)]
mod tests {
    use super::next_id;

    #[test]
    fn the_next_id_of_a_stream() {
        let cases = [
            ("1-0", Some("1-1")),
            ("1700000000000-41", Some("1700000000000-42")),
            ("1-18446744073709551615", Some("2-0")),
            ("18446744073709551615-18446744073709551615", None),
            ("1", None),
        ];
        for (id, next) in cases {
            assert_eq!(next_id(id).as_deref(), next, "{id}");
        }
    }
}

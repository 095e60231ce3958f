//! The list of revocations of all nodes, as a stream of changes.
//!
//! Every node keeps the whole list itself, and changes may be taken in more than once and in any
//! order. So a node that connects reads the stream from its beginning, and adds what it knows and
//! the stream does not: after a restart of an empty store, all of it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use redis::{Cmd, RedisResult, cmd, pipe};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

use super::SharedStore;
use crate::auth::{Change, Revocations};

/// How often other nodes' changes are looked for.
const LOOK: Duration = Duration::from_millis(200);
/// How many changes the stream keeps, about: more than a list has entries.
const KEPT: usize = 262_144;
/// How many are read or added at once.
const PAGE: usize = 500;

/// What stands in the stream: the id of an entry, and its fields.
type Entries = Vec<(String, HashMap<String, String>)>;

/// Why the stream is to be read from its beginning again.
struct Interrupted;

impl SharedStore {
    /// Publishes what is revoked on this node, and takes in what is on others, until `stopping`.
    pub async fn follow_revocations(
        &self,
        revocations: &Revocations,
        mut stopping: watch::Receiver<bool>,
    ) {
        let mut went_up = self.0.went_up.subscribe();
        let follow = async {
            loop {
                // Whoever connects has missed what happened meanwhile.
                if !self.is_up() && went_up.changed().await.is_err() {
                    return;
                }
                went_up.borrow_and_update();
                let _ = self.exchange(revocations, &went_up).await;
                tokio::time::sleep(LOOK).await;
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
        went_up: &watch::Receiver<u64>,
    ) -> Result<(), Interrupted> {
        let mut made_here = revocations.changes_made_here();
        let mut published = HashSet::new();
        let mut last = "-".to_owned();
        self.catch_up(revocations, &mut last, &mut published)
            .await?;
        let missing = revocations.snapshot();
        let missing = missing.iter().filter_map(text);
        let missing: Vec<_> = missing.filter(|text| !published.contains(text)).collect();
        self.publish(&missing).await?;
        drop((published, missing));
        loop {
            tokio::select! {
                changes = made_here.recv() => match changes {
                    Ok(changes) => {
                        let changes: Vec<_> = changes.iter().filter_map(text).collect();
                        self.publish(&changes).await?;
                    }
                    Err(RecvError::Lagged(_) | RecvError::Closed) => return Err(Interrupted),
                },
                () = tokio::time::sleep(LOOK) => {
                    if went_up.has_changed().unwrap_or(true) {
                        return Err(Interrupted);
                    }
                    self.catch_up(revocations, &mut last, &mut HashSet::new()).await?;
                }
            }
        }
    }

    /// Takes in all that stands behind `last`.
    async fn catch_up(
        &self,
        revocations: &Revocations,
        last: &mut String,
        seen: &mut HashSet<String>,
    ) -> Result<(), Interrupted> {
        loop {
            let mut range = cmd("XRANGE");
            range.arg(self.stream()).arg(&*last).arg("+");
            range.arg("COUNT").arg(PAGE);
            let entries: Entries = self.command(range).await?;
            let Some((id, _)) = entries.last() else {
                return Ok(());
            };
            *last = format!("({id}");
            let texts = entries
                .into_iter()
                .filter_map(|(_, mut fields)| fields.remove("change"));
            let texts: Vec<String> = texts.collect();
            // What no version of ours has written is passed over.
            let changes = texts
                .iter()
                .filter_map(|text| serde_json::from_str(text).ok());
            let changes: Vec<Change> = changes.collect();
            if let Err(error) = revocations.take_in(changes).await {
                log::error!("revocations of other nodes: {error}");
            }
            seen.extend(texts);
        }
    }

    async fn publish(&self, changes: &[String]) -> Result<(), Interrupted> {
        let stream = self.stream();
        for page in changes.chunks(PAGE) {
            let mut all = pipe();
            for change in page {
                let add = all
                    .cmd("XADD")
                    .arg(&stream)
                    .arg("MAXLEN")
                    .arg("~")
                    .arg(KEPT);
                add.arg("*").arg("change").arg(change).ignore();
            }
            let added = self
                .ask(|mut connection| async move { all.query_async::<()>(&mut connection).await });
            added.await.ok_or(Interrupted)?;
        }
        Ok(())
    }

    async fn command(&self, command: Cmd) -> Result<Entries, Interrupted> {
        let answer = self.ask(|mut connection| async move {
            let answer: RedisResult<Entries> = command.query_async(&mut connection).await;
            answer
        });
        answer.await.ok_or(Interrupted)
    }

    fn stream(&self) -> String {
        format!("{}:revocations", self.0.key_prefix)
    }
}

fn text(change: &Change) -> Option<String> {
    serde_json::to_string(change).ok()
}

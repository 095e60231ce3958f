//! The counts of shared rate limits.
//!
//! A node reports what it has spent and leases the right to spend a little more. A lease counts
//! only once it is reported as spent, so unused leases cost nothing: all nodes together let at most
//! `max_requests` requests pass, plus one lease per node.

use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use redis::Script;

use super::SharedStore;
use crate::policy::{Budgets, Lease, LeaseRequest};

/// A window begins with the first request of the fleet, by the clock of the store. One that a node
/// knows to run goes on if the store has lost it.
///
/// Arguments: most, window (ms), what to lend at most, spent, begin of the window that it was spent
/// in (ms; 0: none). Answers: lent, spent by all, begin (ms), rest of the window (ms).
static LEND: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local most, window, lease = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
        local spent, begun = tonumber(ARGV[4]), tonumber(ARGV[5])
        local time = redis.call('TIME')
        local now = time[1] * 1000 + math.floor(time[2] / 1000)
        begun = math.min(begun, now)
        local runs = begun > 0 and begun + window > now
        local known = redis.call('HMGET', KEYS[1], 'begun', 'spent')
        local since, all = tonumber(known[1]), tonumber(known[2])
        if not since or since + window <= now then
            since, all = (runs and begun) or now, 0
        end
        if runs then
            all = all + spent
        end
        local rest = since + window - now
        redis.call('HSET', KEYS[1], 'begun', since, 'spent', all)
        redis.call('PEXPIRE', KEYS[1], rest)
        return { math.max(0, math.min(lease, most - all)), all, since, rest }
        ",
    )
});

#[async_trait]
impl Budgets for SharedStore {
    fn is_up(&self) -> bool {
        Self::is_up(self)
    }

    async fn lease(&self, request: &LeaseRequest) -> Option<Lease> {
        let key = self.key("limit", &request.key);
        let window = u64::try_from(request.window.as_millis()).ok()?;
        let answer = self.query("rate limit", |mut connection| async move {
            let mut call = LEND.key(key);
            call.arg(request.most).arg(window).arg(request.lease());
            call.arg(request.spent).arg(request.begun);
            call.invoke_async::<[u64; 4]>(&mut connection).await
        });
        let [granted, used, begun, rest] = answer.await?;
        let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Some(Lease {
            granted: number(granted),
            used: number(used),
            begun,
            rest: Duration::from_millis(rest),
        })
    }
}

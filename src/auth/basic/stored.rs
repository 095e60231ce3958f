//! What a password is compared with, and the comparison itself. It may take long: not for an async
//! worker.

use std::fmt;
use std::hint::black_box;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use zeroize::Zeroizing;

use crate::config::{self, Secret};

/// What a user's password is compared with. A clone shares it.
#[derive(Clone)]
pub(super) enum StoredPassword {
    /// A bcrypt hash, and the cost that it was made with.
    Bcrypt { hash: Arc<Secret>, cost: u32 },
    /// The digest of a password that stood in the configuration as it is, under a key that lives as
    /// long as the process.
    Digest([u8; 32]),
}

impl StoredPassword {
    /// A bcrypt hash. `None`: it is not one.
    pub(super) fn bcrypt(hash: &str) -> Option<Self> {
        let (hash, cost) = config::bcrypt_hash(hash)?;
        let hash = Arc::new(hash);
        Some(Self::Bcrypt { hash, cost })
    }

    /// What an unknown user's password is compared with: nothing passes, and it takes as long as
    /// the costliest hash of the step.
    pub(super) fn decoy(max_cost: Option<u32>) -> Self {
        let Some(cost) = max_cost else {
            return Self::Digest([0; 32]);
        };
        // Any salt and any result do. That a password has this very one is no more likely than
        // finding a hash's password by chance, and the decoy has no identity to give.
        let (salt, result) = (".".repeat(22), ".".repeat(31));
        let hash = Arc::new(Secret::new(format!("$2b${cost:02}${salt}{result}")));
        Self::Bcrypt { hash, cost }
    }

    /// The cost of a bcrypt hash.
    pub(super) fn cost(&self) -> Option<u32> {
        match self {
            Self::Bcrypt { cost, .. } => Some(*cost),
            Self::Digest(_) => None,
        }
    }

    /// What tells it from any other, for the key of a cache.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Bcrypt { hash, .. } => hash.expose().as_bytes(),
            Self::Digest(digest) => digest,
        }
    }
}

impl fmt::Debug for StoredPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// One comparison, ready to be made elsewhere.
pub(super) struct Check {
    pub(super) stored: StoredPassword,
    pub(super) password: Zeroizing<String>,
    /// Of a plain password, the digest that [`StoredPassword::Digest`] is compared with.
    pub(super) digest: [u8; 32],
    /// The cost of the costliest hash of the step.
    pub(super) max_cost: Option<u32>,
}

impl Check {
    /// Whether the password is the one. A wrong one takes as long as it would against the costliest
    /// hash of the step.
    pub(super) fn run(&self) -> bool {
        let passed = match &self.stored {
            StoredPassword::Bcrypt { hash, .. } => {
                bcrypt::verify(self.password.as_bytes(), hash.expose()).unwrap_or(false)
            }
            StoredPassword::Digest(stored) => verify_slices_are_equal(stored, &self.digest).is_ok(),
        };
        if let (false, Some(max_cost)) = (passed, self.max_cost) {
            // Costs are powers of two: 2^c and 2^c, 2^(c+1) ... 2^(max_cost-1) make 2^max_cost.
            match self.stored.cost() {
                Some(cost) => (cost..max_cost).for_each(burn_time),
                None => burn_time(max_cost),
            }
        }
        passed
    }
}

/// Takes the time of one hash.
pub(super) fn burn_time(cost: u32) {
    black_box(bcrypt::bcrypt(cost, black_box([0; 16]), b"\0"));
}

#[cfg(test)]
mod tests {
    use rustix::time::{ClockId, clock_gettime};

    use super::*;

    /// By the core's own clock, which other work on the machine does not disturb: medians over 200
    /// tries differ by less than 5 %.
    #[test]
    fn every_wrong_password_takes_the_same_work() {
        let hash = |cost| StoredPassword::bcrypt(&bcrypt::hash("right", cost).unwrap()).unwrap();
        let max_cost = Some(6);
        let checks = [
            StoredPassword::decoy(max_cost),
            hash(6),
            hash(4),
            StoredPassword::Digest([1; 32]),
        ]
        .map(|stored| Check {
            stored,
            password: Zeroizing::new("wrong".to_owned()),
            digest: [2; 32],
            max_cost,
        });
        let now = || std::time::Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
        let mut spread = Vec::new();
        while spread.len() < 5 && spread.last().is_none_or(|spread| *spread >= 1.05) {
            let mut times = [const { Vec::new() }; 4];
            for _ in 0..200 {
                for (check, times) in checks.iter().zip(&mut times) {
                    let started = now();
                    assert!(!check.run());
                    times.push(now() - started);
                }
            }
            let medians = times.map(|mut times| {
                times.sort();
                times[100].as_secs_f64()
            });
            println!("{medians:?}");
            let least = medians.iter().copied().fold(f64::INFINITY, f64::min);
            let most = medians.iter().copied().fold(0.0, f64::max);
            spread.push(most / least);
        }
        assert!(
            spread.last().is_some_and(|spread| *spread < 1.05),
            "{spread:?}"
        );
    }
}

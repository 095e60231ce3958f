//! Weighted round robin: an order of turns in which each member comes as often as its weight says,
//! spread evenly.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The order, and whose turn it is.
#[derive(Debug)]
pub(super) struct WeightedRoundRobin {
    order: Box<[usize]>,
    next: AtomicUsize,
}

impl WeightedRoundRobin {
    /// An order for members with these weights, none of them 0.
    pub(super) fn new(weights: &[u32]) -> Self {
        let divisor = weights.iter().copied().fold(0, greatest_common_divisor);
        let weights: Vec<i64> = weights
            .iter()
            .map(|weight| i64::from(weight / divisor.max(1)))
            .collect();
        let total: i64 = weights.iter().sum();
        let mut credit = vec![0; weights.len()];
        // Each gains its weight in every round; who has most goes, and pays for all (nginx calls it
        // smooth).
        let order = (0..total)
            .filter_map(|_| {
                for (credit, weight) in credit.iter_mut().zip(&weights) {
                    *credit += weight;
                }
                // The first of several equals.
                let most = (0..credit.len()).rev().max_by_key(|&index| credit[index])?;
                credit[most] -= total;
                Some(most)
            })
            .collect();
        Self {
            order,
            next: AtomicUsize::new(0),
        }
    }

    /// The member whose turn it is, until one is accepted. A turn that is not accepted is lost, so
    /// that the others share it evenly.
    pub(super) fn find(&self, mut accept: impl FnMut(usize) -> bool) -> Option<usize> {
        for _ in 0..self.order.len() {
            let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.order.len();
            if let Some(&index) = self.order.get(turn)
                && accept(index)
            {
                return Some(index);
            }
        }
        // Other requests took turns in between, so some member may not have been asked.
        self.order.iter().copied().find(|&index| accept(index))
    }
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

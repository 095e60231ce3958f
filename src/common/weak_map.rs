//! Values that live as long as somebody uses them, by key.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// What is shared by those that know the same key, and forgotten with the last of them. It outlives
/// the snapshots of the configuration, so that a reload finds what the one before used.
#[derive(Debug)]
pub(crate) struct WeakMap<K, V>(Mutex<Entries<K, V>>);

#[derive(Debug)]
struct Entries<K, V> {
    values: HashMap<K, Weak<V>>,
    /// How many there are when those that nobody uses are next looked for: a configuration with
    /// many names is not to look at all of them for each.
    full: usize,
}

impl<K, V> Default for WeakMap<K, V> {
    fn default() -> Self {
        Self(Mutex::new(Entries {
            values: HashMap::new(),
            full: 0,
        }))
    }
}

impl<K: Eq + Hash, V> WeakMap<K, V> {
    /// The value of this key, made now where nobody uses one. `make` must not use the map.
    pub(crate) fn get_or_make(&self, key: K, make: impl FnOnce(&K) -> Arc<V>) -> Arc<V> {
        let mut entries = self.lock();
        let Entries { values, full } = &mut *entries;
        if let Some(value) = values.get(&key).and_then(Weak::upgrade) {
            return value;
        }
        if values.len() >= *full {
            values.retain(|_, value| value.strong_count() > 0);
            *full = 2 * values.len() + 16;
        }
        let value = make(&key);
        values.insert(key, Arc::downgrade(&value));
        value
    }

    /// What is in use, in no order.
    pub(crate) fn values(&self) -> Vec<Arc<V>> {
        self.lock()
            .values
            .values()
            .filter_map(Weak::upgrade)
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Entries<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lives_as_long_as_it_is_used() {
        let map = WeakMap::<u32, u32>::default();
        let one = map.get_or_make(1, |_| Arc::new(10));
        assert!(Arc::ptr_eq(&one, &map.get_or_make(1, |_| Arc::new(11))));
        drop(one);
        assert_eq!(*map.get_or_make(1, |_| Arc::new(12)), 12);
        assert!(map.values().is_empty());
        let used: Vec<_> = (0..100)
            .map(|n| map.get_or_make(n, |n| Arc::new(*n)))
            .collect();
        assert_eq!(map.values().len(), 100);
        drop(used);
        for n in 100..1000 {
            map.get_or_make(n, |n| Arc::new(*n));
        }
        assert!(
            map.lock().values.len() <= 16 + 200,
            "what nobody uses is forgotten"
        );
    }
}

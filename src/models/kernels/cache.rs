//! What lanes of one kernel on one fold share, kept for as long as its neighbours in the queue may want it.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Which fold, and the bits of which kernel function.
pub type Key = (usize, [u64; 3]);

/// The things used last, the newest at the end.
pub struct Cache<T> {
    entries: Mutex<Vec<(Key, Arc<OnceLock<T>>)>>,
}

/// Something cached; what it holds lives for as long as it does.
pub struct Held<T>(Arc<OnceLock<T>>);

impl<T> Default for Cache<T> {
    fn default() -> Cache<T> {
        Cache { entries: Mutex::default() }
    }
}

impl<T> Cache<T> {
    /// Finds an entry, or makes room for it among at most `room`. Whoever asks first fills it, by [`Held::get`].
    pub fn find(&self, key: Key, room: usize) -> Held<T> {
        // An entry is whole or not filled, so a panic elsewhere leaves nothing half done.
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = match entries.iter().position(|(other, _)| *other == key) {
            Some(place) => entries.remove(place),
            None => (key, Arc::default()),
        };
        let held = Held(entry.1.clone());
        let surplus = (entries.len() + 1).saturating_sub(room.max(1));
        entries.drain(..surplus);
        entries.push(entry);
        held
    }
}

impl<T> Held<T> {
    /// What is held. Others that want the same wait meanwhile: `fill` must not wait for other threads.
    pub fn get(&self, fill: impl FnOnce() -> T) -> &T {
        self.0.get_or_init(fill)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_makes_room() {
        let cache = Cache::default();
        let key = |fold| (fold, [0; 3]);
        assert_eq!(*cache.find(key(0), 2).get(|| 10), 10);
        assert_eq!(*cache.find(key(1), 2).get(|| 11), 11);
        assert_eq!(*cache.find(key(0), 2).get(|| 20), 10, "it is still there");
        assert_eq!(*cache.find(key(2), 2).get(|| 12), 12);
        assert_eq!(*cache.find(key(0), 2).get(|| 20), 10);
        assert_eq!(*cache.find(key(1), 2).get(|| 21), 21, "it had to go");
    }
}

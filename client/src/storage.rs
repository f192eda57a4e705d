//! Where a client keeps what it must know after a restart of the app.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

mod file;

pub use file::{File, OpenError};

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// Keeps keys and their values for [`Builder::storage`](crate::Builder::storage).
///
/// One storage belongs to one app, user and device, and serves one client at a time. Keys are short; a value is at most
/// a message long. The methods are called from the client's task and from the app's own, with a lock held: they may
/// block for as long as a small write to a local file takes, no longer. A change that returned outlives the process; what
/// of it outlives a power cut is up to the storage.
///
/// ```
/// use quail_client::storage::{Memory, Storage};
///
/// let mut storage = Memory::default();
/// let mut same = storage.clone();
/// storage.put(b"key", b"value")?;
/// assert_eq!(same.load()?, [(b"key".to_vec(), b"value".to_vec())]);
/// same.remove(b"key")?;
/// assert!(storage.load()?.is_empty());
/// # std::io::Result::Ok(())
/// ```
pub trait Storage: Send {
    /// Everything that is kept, in any order. Called once at each connect.
    fn load(&mut self) -> io::Result<Vec<Entry>>;

    /// Keeps `value` under `key`, in place of what was there.
    fn put(&mut self, key: &[u8], value: &[u8]) -> io::Result<()>;

    /// Forgets `key`. One that is not kept is no error.
    fn remove(&mut self, key: &[u8]) -> io::Result<()>;
}

/// Outlives the client, not the process: for tests, and for apps that make a client anew now and then. Clones share what
/// they keep.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<BTreeMap<Vec<u8>, Vec<u8>>>>);

impl Memory {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for Memory {
    fn load(&mut self) -> io::Result<Vec<Entry>> {
        Ok(self.entries().iter().map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.entries().insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) -> io::Result<()> {
        self.entries().remove(key);
        Ok(())
    }
}

//! Data store: values that services publish for each other.
//!
//! A key belongs to who published it: nobody else can change or delete it. What a client
//! publishes costs the store memory, so each may have so many keys and no more.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

use abi::protocols::ds::{Server, delete, publish, retrieve};
use abi::{Endpoint, Errno, Name};
use alloc::vec::Vec;

/// How many keys one client can have: its own mistakes must not use up what others need.
const KEYS_PER_OWNER: usize = 256;

/// All that has been published, in the order of keys.
#[derive(Debug, Default)]
pub struct Store {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    key: Name,
    value: u64,
    owner: Endpoint,
}

impl Store {
    /// Where a key is, or where it would be.
    fn find(&self, key: &Name) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| entry.key.cmp(key))
    }
}

impl Server for Store {
    fn publish(&mut self, caller: Endpoint, request: publish::Request) -> Result<publish::Reply, Errno> {
        let publish::Request { key, value, overwrite } = request;
        match self.find(&key) {
            Ok(_) if !overwrite => return Err(Errno::EEXIST),
            Ok(index) if self.entries[index].owner != caller => return Err(Errno::EPERM),
            Ok(index) => self.entries[index].value = value,
            Err(index) => {
                if self.entries.iter().filter(|entry| entry.owner == caller).count() >= KEYS_PER_OWNER {
                    return Err(Errno::ENOMEM);
                }
                self.entries.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
                self.entries.insert(index, Entry { key, value, owner: caller });
            }
        }
        Ok(publish::Reply {})
    }

    fn retrieve(&mut self, _: Endpoint, request: retrieve::Request) -> Result<retrieve::Reply, Errno> {
        let index = self.find(&request.key).map_err(|_| Errno::ENOENT)?;
        let Entry { value, owner, .. } = self.entries[index];
        Ok(retrieve::Reply { value, owner })
    }

    fn delete(&mut self, caller: Endpoint, request: delete::Request) -> Result<delete::Reply, Errno> {
        let index = self.find(&request.key).map_err(|_| Errno::ENOENT)?;
        if self.entries[index].owner != caller {
            return Err(Errno::EPERM);
        }
        self.entries.remove(index);
        Ok(delete::Reply {})
    }
}

#[cfg(test)]
mod tests;
